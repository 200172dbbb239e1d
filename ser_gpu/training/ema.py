"""MovingAverage: the exponential moving average of a model's weights."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """`AveragedModel` with an exponential moving average of weights and buffers, whose update never waits for the
    device: torch's own copies its counter there each time.

    Args:
        model: whose average it is; it begins as a copy, and the first update copies again.
        decay: the share of the average that an update keeps.
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
        averaged, copied = [], []
        for pair in pairs:
            (averaged if pair[0].is_floating_point() and self.n_averaged > 0 else copied).append(pair)
        if averaged:
            own, new = zip(*averaged, strict=True)
            torch._foreach_lerp_(own, new, 1.0 - self.decay)
        for own, new in copied:
            own.copy_(new)
        self.n_averaged += 1
