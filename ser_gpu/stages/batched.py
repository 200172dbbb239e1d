"""BatchedTransform: what the transforms of this package share, in torch-audiomentations' own frame."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch_audiomentations.core.transforms_interface import BaseWaveformTransform
from torch_audiomentations.utils.object_dict import ObjectDict


class BatchedTransform(BaseWaveformTransform):
    """A torch-audiomentations transform without a loop over clips and without a wait for the device.

    Its probability chooses how many clips of a batch are transformed (a fraction is rounded up or down at random, on
    the host), and a random order chooses which. The base class instead reads a device-side mask back, for every batch.

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
            count = math.floor(self.p * len(samples) + torch.rand(()).item())
            chosen = torch.rand(len(samples), device=samples.device).argsort()[:count]
            self.transform_parameters = {"chosen": chosen}
            self.randomize_parameters(samples[chosen], self.sample_rate)
        chosen = self.transform_parameters["chosen"]
        if len(chosen) > 0:
            changed = self.apply_transform(samples[chosen], self.sample_rate).samples
            output.samples = samples.index_copy(0, chosen, changed)
        return output

    def uniform(self, like: Tensor, low: float, high: float) -> Tensor:
        """One draw a clip.

        Shape: [B, 1, L] -> [B] float32.
        """
        return torch.empty(len(like), device=like.device).uniform_(low, high)
