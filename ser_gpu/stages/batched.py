"""BatchedTransform: what the transforms of this package share, on the base class of torch-audiomentations."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch_audiomentations.core.transforms_interface import BaseWaveformTransform
from torch_audiomentations.utils.object_dict import ObjectDict


class BatchedTransform(BaseWaveformTransform, ABC):
    """A torch-audiomentations transform, [B, 1, L] -> [B, 1, L], without a loop over clips or a wait for the device.
    The host computes always p * B clips of a batch, rounded up, and the device draws which; it also draws whether the
    clip of the fraction is used. The base class would read a mask back from the device for every batch."""

    supported_modes: ClassVar[set[str]] = {"per_example"}
    supports_multichannel = False

    def __init__(self, p: float, sample_rate: int):
        super().__init__(mode="per_example", p=p, sample_rate=sample_rate, output_type="dict")

    def forward(self, samples: Tensor, sample_rate=None, targets=None, target_rate=None) -> ObjectDict:
        output = ObjectDict(samples=samples, sample_rate=sample_rate, targets=targets, target_rate=target_rate)
        if not self.training or self.p == 0:
            return output
        if not self.are_parameters_frozen:
            chosen, used = choose(self.p, len(samples), samples.device)
            self.transform_parameters = {"chosen": chosen, "used": used, "drawn": self.draw(samples[chosen, 0])}
        chosen, used, drawn = (self.transform_parameters[name] for name in ("chosen", "used", "drawn"))
        before = samples[chosen]  # [N, 1, L]
        changed = self.change(before[:, 0], **drawn)[:, None]
        output.samples = samples.index_copy(0, chosen, torch.where(used[:, None, None], changed, before))
        return output

    def draw(self, waveform: Tensor) -> dict[str, Tensor]:
        """What is random, by name: [N, L] -> [N, ...] each. A frozen transform (`freeze_parameters`) keeps it."""
        return {}

    @abstractmethod
    def change(self, waveform: Tensor, **drawn: Tensor) -> Tensor:
        """What the transform does: [N, L] and what was drawn -> [N, L]."""


def choose(probability: float, batch: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which clips are computed, [N] in random order, and which of them are used, [N] bool: the last may not be."""
    expected = probability * batch
    count = math.ceil(expected - 1e-9)
    chosen = torch.rand(batch, device=device).argsort()[:count]
    rank = torch.arange(count, device=device)
    return chosen, rank + torch.rand(count, device=device) < expected


def uniform(shape: int | tuple[int, ...], low: float, high: float, device: torch.device) -> Tensor:
    """Uniformly distributed float32 numbers between `low` and `high`."""
    return torch.empty(shape, device=device).uniform_(low, high)
