"""BatchedTransform: what the transforms of this package share, in torch-audiomentations' own frame."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch_audiomentations.core.transforms_interface import BaseWaveformTransform
from torch_audiomentations.utils.object_dict import ObjectDict


class BatchedTransform(BaseWaveformTransform):
    """A torch-audiomentations transform without a loop over clips and without a wait for the device.

    The probability decides on the host how many clips of a batch are computed, always the same number, and a random
    order decides on the device which. Where that number is not whole, one clip more is computed, and a draw on the
    device decides whether it is used. The base class instead reads a mask back from the device, for every batch.

    A transform says in `change` what it does to N clips, and in `draw` what it draws for them before.

    Shape: samples [B, 1, L] -> [B, 1, L].
    """

    supported_modes: ClassVar[set[str]] = {"per_example"}
    supports_multichannel = False

    def __init__(self, p: float, sample_rate: int):
        super().__init__(mode="per_example", p=p, sample_rate=sample_rate, output_type="dict")

    def forward(self, samples: Tensor = None, sample_rate=None, targets=None, target_rate=None) -> ObjectDict:
        output = ObjectDict(samples=samples, sample_rate=sample_rate, targets=targets, target_rate=target_rate)
        if not self.training or self.p == 0:
            return output
        if not self.are_parameters_frozen:
            chosen, used = choose(self.p, len(samples), samples.device)
            self.transform_parameters = {"chosen": chosen, "used": used, **self.draw(samples[chosen, 0])}
        drawn = dict(self.transform_parameters)
        chosen, used = drawn.pop("chosen"), drawn.pop("used")
        before = samples[chosen]  # [N, 1, L]
        changed = self.change(before[:, 0], **drawn)[:, None]
        output.samples = samples.index_copy(0, chosen, torch.where(used[:, None, None], changed, before))
        return output

    def draw(self, waveform: Tensor) -> dict[str, Tensor]:
        """What is random, by name; a frozen transform (`freeze_parameters`) keeps it.

        Shape: [N, L] -> [N, ...] each.
        """
        return {}

    def change(self, waveform: Tensor, **drawn: Tensor) -> Tensor:
        """Shape: [N, L] and what was drawn -> [N, L]."""
        raise NotImplementedError


def choose(probability: float, batch: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which clips of a batch are computed, in random order, and which of those are used: all, but for the last one.

    Shape: -> [N] int64, [N] bool; N is `probability * batch`, rounded up.
    """
    expected = probability * batch
    count = math.ceil(expected - 1e-9)
    chosen = torch.rand(batch, device=device).argsort()[:count]
    rank = torch.arange(count, device=device)
    return chosen, rank + torch.rand(count, device=device) < expected


def uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    """One draw a clip.

    Shape: -> [count] float32.
    """
    return torch.empty(count, device=device).uniform_(low, high)
