"""ResidualCnn: residual 2-D convolutions on the log-mel spectrogram, then a pooling and a linear layer."""

import torch.nn.functional as F
from torch import Tensor, nn

from ser_gpu.config import CnnConfig
from ser_gpu.errors import InputError
from ser_gpu.stages.speaker_norm import SpeakerLinear, SpeakerNorm2d


class ResidualBlock(nn.Module):
    """Average pooling, then two 3x3 convolutions with batch normalisation beside a 1x1 shortcut, dropout of channels.

    Shape: [B, in_channels, H, W] -> [B, out_channels, H // pool[0], W // pool[1]].

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

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
        x = self.pool(x)  # before the convolutions, which then do a quarter of their work
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)  # in place: new memory takes longer than the comparison
        y = self.norm2(self.conv2(y)).add_(self.shortcut(x))
        return self.dropout(F.relu(y, inplace=True))


class ResidualCnn(nn.Module):
    """Classify a spectrogram as an image.

    A 5x5 stem that halves bands and frames, `depth` residual blocks that double the channels and halve both axes (the
    last one the bands alone), and a head: a pooling, dropout, linear.

    Args:
        config: width, depth, dropout, head.
        bands: M.
        frames: F; the flatten head is built for this many.
        classes: C.

    Shape: [B, 1, M, F] -> [B, C].

    Raises:
        ValueError: too few bands or frames for the depth.
    """

    def __init__(self, config: CnnConfig, bands: int, frames: int, classes: int):
        super().__init__()
        stem = config.width // 2
        self.stem = nn.Sequential(
            nn.Conv2d(1, stem, 5, stride=2, padding=2, bias=False), SpeakerNorm2d(stem), nn.ReLU(inplace=True)
        )
        widths = [stem, *(config.width * 2**level for level in range(config.depth))]
        pools = [(2, 2)] * (config.depth - 1) + [(2, 1)]
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(before, after, pool, config.block_dropout)
                for before, after, pool in zip(widths[:-1], widths[1:], pools, strict=True)
            )
        )
        height = (bands + 1) // 2 // 2**config.depth
        width = (frames + 1) // 2 // 2 ** (config.depth - 1)
        if height == 0 or width == 0:
            raise InputError(f"{bands} bands and {frames} frames are too few for {config.depth} blocks")
        self.pool = GlobalAveragePooling() if config.head == "gap" else nn.Flatten()
        self.dropout = nn.Dropout(config.head_dropout)
        cells = 1 if config.head == "gap" else height * width
        self.classify = SpeakerLinear(widths[-1] * cells, classes)

    def forward(self, spectrogram: Tensor) -> Tensor:
        x = self.blocks(self.stem(spectrogram))
        return self.classify(self.dropout(self.pool(x)))


class GlobalAveragePooling(nn.Module):
    """Mean over bands and frames.

    Shape: [B, C, H, W] -> [B, C].

    Source: Lin et al., Network In Network, ICLR 2014.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))
