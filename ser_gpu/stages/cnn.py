"""EmotionCnn: residual 2-D convolutions on the log-mel spectrogram, then a pooling; one network or several."""

from itertools import cycle

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_gpu.config import CnnConfig


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation beside a 1x1 shortcut, average pooling before or after, dropout of
    channels.

    Shape: [B, in_channels, H, W] -> [B, out_channels, H // pool[0], W // pool[1]].

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

    def __init__(self, in_channels: int, out_channels: int, pool: tuple[int, int], pool_first: bool, dropout: float):
        super().__init__()
        self.pool_first = pool_first
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.pool = nn.AvgPool2d(pool)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.pool_first:
            x = self.pool(x)
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))
        return self.dropout(y if self.pool_first else self.pool(y))


class EmotionCnn(nn.Module):
    """One answer from each member of an ensemble of networks of one shape; their mean is the model's.

    Each member sees one of the clip's pictures; they take them in turn.

    Args:
        config: of each network, how many `members` there are, and the pictures.
        bands, frames, classes: as in `ResidualCnn`.

    Shape: [B, P, M, F] -> [K, B, C] for K members.

    Source: Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles,
    NeurIPS 2017.
    """

    def __init__(self, config: CnnConfig, bands: int, frames: int, classes: int):
        super().__init__()
        self.members = nn.ModuleList(ResidualCnn(config, bands, frames, classes) for _ in range(config.members))
        self.to(memory_format=torch.channels_last)  # faster on GPUs and processors alike

    def forward(self, spectrogram: Tensor) -> Tensor:
        pictures = [each.contiguous(memory_format=torch.channels_last) for each in spectrogram.split(1, dim=1)]
        return torch.stack([member(picture) for member, picture in zip(self.members, cycle(pictures), strict=False)])


class ResidualCnn(nn.Module):
    """Classify a spectrogram as an image.

    A 5x5 stem that halves the frames, `depth` residual blocks that double the channels and halve both axes (the last
    one the bands alone), and a head: a pooling, dropout, linear.

    Args:
        config: width, depth, band stride, dropout, head.
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
            nn.Conv2d(1, stem, 5, stride=(config.band_stride, 2), padding=2, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
        )
        widths = [stem, *(config.width * 2**level for level in range(config.depth))]
        pools = [(2, 2)] * (config.depth - 1) + [(2, 1)]
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(before, after, pool, config.pool_first, config.block_dropout)
                for before, after, pool in zip(widths[:-1], widths[1:], pools, strict=True)
            )
        )
        height = -(-bands // config.band_stride) // 2**config.depth
        width = (frames + 1) // 2 // 2 ** (config.depth - 1)
        if height == 0 or width == 0:
            raise ValueError(f"{bands} bands and {frames} frames are too few for {config.depth} blocks")
        self.pool = _pooling(config.head, widths[-1])
        self.dropout = nn.Dropout(config.head_dropout)
        cells = {"gap": 1, "attention": 1, "statistics": 2, "flatten": height * width}
        self.classify = nn.Linear(widths[-1] * cells[config.head], classes)

    def forward(self, spectrogram: Tensor) -> Tensor:
        x = self.blocks(self.stem(spectrogram))
        return self.classify(self.dropout(self.pool(x)))


def _pooling(head: str, channels: int) -> nn.Module:
    if head == "attention":
        return AttentivePooling(channels)
    return {"gap": GlobalAveragePooling, "statistics": StatisticsPooling, "flatten": nn.Flatten}[head]()


class GlobalAveragePooling(nn.Module):
    """Mean over bands and frames.

    Shape: [B, C, H, W] -> [B, C].

    Source: Lin et al., Network In Network, ICLR 2014.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class StatisticsPooling(nn.Module):
    """Mean and standard deviation over frames of the mean over bands.

    Shape: [B, C, H, W] -> [B, 2 C].

    Source: Snyder et al., Deep Neural Network Embeddings for Text-Independent Speaker Verification, Interspeech 2017.
    """

    def forward(self, x: Tensor) -> Tensor:
        frames = x.mean(dim=2)
        variance = frames.float().var(dim=2, correction=0)
        return torch.cat([frames.mean(dim=2), (variance + 1e-5).sqrt().to(frames.dtype)], dim=1)


class AttentivePooling(nn.Module):
    """Mean over frames of the mean over bands, weighted by a learned score of each frame.

    Shape: [B, C, H, W] -> [B, C].

    Source: Okabe et al., Attentive Statistics Pooling for Deep Speaker Embedding, Interspeech 2018.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.score = nn.Conv1d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.mean(dim=2)
        return (frames * self.score(frames).softmax(dim=2)).sum(dim=2)
