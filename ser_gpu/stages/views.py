"""Views: a clip as it is, and as neighbours of its voice would have said it; the model's answer is their mean."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from ser_gpu.config import MelConfig, ViewsConfig
from ser_gpu.stages.spectrogram_warp import MoveSpectrogram


class Views(nn.Module):
    """Each clip at three pitches and three tempi: test-time augmentation without chance.

    Acts in `eval()` only, where it is enabled; else the clip is its one view.

    Args:
        config: how far the views are from the clip.
        mels: of the pictures, as in `MoveSpectrogram`.

    Shape: [B, P, M, F] dB -> [V B, P, M, F] dB, view by view, the clip itself first; V is 9 or 1.

    Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, NeurIPS 2012, for the
    mean over views.
    """

    def __init__(self, config: ViewsConfig, mels: Sequence[MelConfig]):
        super().__init__()
        self.config = config
        self.move = MoveSpectrogram(mels)
        up, faster = 2.0 ** (config.semitones / 12.0), config.tempo
        _, *others = product((1.0, up, 1.0 / up), (1.0, faster, 1.0 / faster))
        pitch, tempo = torch.tensor(others).unbind(dim=1)
        self.register_buffer("pitch", pitch, persistent=False)
        self.register_buffer("tempo", tempo, persistent=False)

    def forward(self, decibels: Tensor) -> Tensor:
        if self.training or not self.config.enabled:
            return decibels
        clips = len(decibels)
        pitch, tempo = (factor.repeat_interleave(clips) for factor in (self.pitch, self.tempo))
        others = self.move(decibels.repeat(len(self.pitch), 1, 1, 1), pitch, tempo, torch.zeros_like(pitch))
        return torch.cat([decibels, others])
