"""MovingAverage: the exponential moving average of a model's weights."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """`AveragedModel` with an exponential moving average of weights and buffers, whose update never waits for the
    device: torch's own copies its counter there each time.

    The average warms up: update n keeps `min(decay, (1 + n) / (10 + n))` of it, so that few steps do not end at weights
    that are still close to the random first ones.

    Args:
        model: whose average it is; it begins as a copy, and the first update copies again.
        decay: the largest share of the average that an update keeps.
    """

    def __init__(self, model: nn.Module, decay: float):
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move towards the model; whole numbers, such as counters, are copied."""
        pairs = zip(
            [*self.module.parameters(), *self.module.buffers()], [*model.parameters(), *model.buffers()], strict=True
        )
        updates = int(self.n_averaged)  # a counter on the CPU
        averaged, copied = [], []
        for pair in pairs:
            (averaged if pair[0].is_floating_point() and updates > 0 else copied).append(pair)
        if averaged:
            own, new = zip(*averaged, strict=True)
            torch._foreach_lerp_(own, new, 1.0 - min(self.decay, (1 + updates) / (10 + updates)))
        for own, new in copied:
            own.copy_(new)
        self.n_averaged += 1
