"""EmotionCnn: the network that names the emotion of a spectrogram, or several of them side by side.

To add a network, write it in a file of its own and name it in `NETWORKS` (CONTRIBUTING.md shows how).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ser_gpu.config import CnnConfig
from ser_gpu.errors import InputError
from ser_gpu.stages.residual_cnn import ResidualCnn

# Name -> a class that is made from (CnnConfig, bands M, frames F, classes C) and maps [B, 1, M, F] to [B, C] logits
NETWORKS: dict[str, Callable[[CnnConfig, int, int, int], nn.Module]] = {
    "residual": ResidualCnn,
}


class EmotionCnn(nn.Module):
    """One answer from each member of an ensemble of networks of one kind; their mean is the model's.

    Args:
        config: of each network, and how many `members` there are.
        bands: M.
        frames: F, of one window.
        classes: C.

    Shape: [B, 1, M, F] -> [K, B, C] for K members.

    Raises:
        ValueError: `config.network` is not in `NETWORKS`, or does not fit this many bands and frames.

    Source: Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles,
    NeurIPS 2017.
    """

    def __init__(self, config: CnnConfig, bands: int, frames: int, classes: int):
        super().__init__()
        if config.network not in NETWORKS:
            raise InputError(f"CnnConfig.network must be one of {', '.join(NETWORKS)}, got {config.network!r}")
        make = NETWORKS[config.network]
        self.members = nn.ModuleList(make(config, bands, frames, classes) for _ in range(config.members))
        self.to(memory_format=torch.channels_last)  # faster on GPUs and CPUs alike

    def forward(self, spectrogram: Tensor) -> Tensor:
        spectrogram = spectrogram.contiguous(memory_format=torch.channels_last)
        return torch.stack([member(spectrogram) for member in self.members])
