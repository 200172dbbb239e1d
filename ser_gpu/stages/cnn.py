"""EmotionCnn: the network that names the emotion of a spectrogram, or an ensemble of them.
To add a network, write it in a file of its own and name it in `NETWORKS` (CONTRIBUTING.md shows how)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_gpu.config import CnnConfig
from ser_gpu.errors import InputError
from ser_gpu.stages.speaker_norm import SpeakerLinear, SpeakerNorm2d


class ResidualBlock(nn.Module):
    """Average pooling, two 3x3 convolutions with batch normalisation beside a 1x1 shortcut, dropout of channels.
    Shape: [B, in_channels, H, W] -> [B, out_channels, H // pool[0], W // pool[1]].
    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016."""

    def __init__(self, in_channels: int, out_channels: int, pool: tuple[int, int], dropout: float):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm1 = SpeakerNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = SpeakerNorm2d(out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.pool = nn.AvgPool2d(pool)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(x)  # first, so that the convolutions have less to do
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)  # in place: new memory costs more than the comparison
        y = self.norm2(self.conv2(y)).add_(self.shortcut(x))
        return self.dropout(F.relu(y, inplace=True))


class ResidualCnn(nn.Module):
    """Classify a spectrogram as an image: a 5x5 stem, `depth` residual blocks, and pooling, dropout and a linear layer.
    The stem halves both axes; a block doubles the channels and halves both axes, the last one the bands alone. The
    flatten head takes F frames alone. Raises InputError where bands or frames are too few for the depth.
    Shape: [B, 1, M, F] -> [B, C]."""

    def __init__(self, config: CnnConfig, bands: int, frames: int, classes: int):
        super().__init__()
        stem = config.width // 2
        convolution = nn.Conv2d(1, stem, 5, stride=2, padding=2, bias=False)
        self.stem = nn.Sequential(convolution, SpeakerNorm2d(stem), nn.ReLU(inplace=True))
        widths = [stem, *(config.width * 2**level for level in range(config.depth))]
        pools = [(2, 2)] * (config.depth - 1) + [(2, 1)]
        blocks = zip(widths[:-1], widths[1:], pools, strict=True)
        self.blocks = nn.Sequential(*(ResidualBlock(*block, config.block_dropout) for block in blocks))
        height = (bands + 1) // 2 // 2**config.depth
        width = (frames + 1) // 2 // 2 ** (config.depth - 1)
        if height == 0 or width == 0:
            raise InputError(f"{bands} bands and {frames} frames are too few for {config.depth} blocks")
        cells = 1 if config.head == "gap" else height * width
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()) if config.head == "gap" else nn.Flatten()
        self.dropout = nn.Dropout(config.head_dropout)
        self.classify = SpeakerLinear(widths[-1] * cells, classes)

    def forward(self, spectrogram: Tensor) -> Tensor:
        return self.classify(self.dropout(self.features(spectrogram)))

    def features(self, spectrogram: Tensor) -> Tensor:
        """What the last layer classifies. Shape: [B, 1, M, F] -> [B, E]."""
        return self.pool(self.blocks(self.stem(spectrogram)))


# Name -> a class that is made from (CnnConfig, bands M, frames F, classes C) and maps [B, 1, M, F] to [B, C] logits
NETWORKS: dict[str, Callable[[CnnConfig, int, int, int], nn.Module]] = {"residual": ResidualCnn}


class EmotionCnn(nn.Module):
    """An ensemble of networks of one kind, one answer from each; their mean is the model's.
    Shape: [B, 1, M, F] -> [K, B, C] for K members.
    Raises InputError where `config.network` is not in `NETWORKS`, or does not fit this many bands and frames.
    Source: Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation, NeurIPS 2017."""

    def __init__(self, config: CnnConfig, bands: int, frames: int, classes: int):
        super().__init__()
        config.require(config.network in NETWORKS, "network", f"one of {', '.join(NETWORKS)}")
        make = NETWORKS[config.network]
        self.members = nn.ModuleList(make(config, bands, frames, classes) for _ in range(config.members))
        self.to(memory_format=torch.channels_last)  # faster on GPUs and CPUs alike

    def forward(self, spectrogram: Tensor) -> Tensor:
        spectrogram = spectrogram.contiguous(memory_format=torch.channels_last)
        return torch.stack([member(spectrogram) for member in self.members])

    def features(self, spectrogram: Tensor) -> Tensor:
        """Those of all members side by side. Shape: [B, 1, M, F] -> [B, E]. ValueError where a member gives none."""
        if not all(hasattr(member, "features") for member in self.members):
            raise InputError("this network gives no features: its class has no method `features`")
        spectrogram = spectrogram.contiguous(memory_format=torch.channels_last)
        return torch.cat([member.features(spectrogram) for member in self.members], dim=1)
