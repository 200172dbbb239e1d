"""TestTimeAugmentation: a clip as it is, and at other pitches and tempi; the model's answer is the mean over them."""

import torch
from torch import Tensor

from ser_gpu.config import MelConfig, TtaConfig
from ser_gpu.stages.mel import Float32Module
from ser_gpu.stages.spectrogram_augment import MoveSpectrogram


class TestTimeAugmentation(Float32Module):
    """Each clip at three pitches, and each of them at three tempi or one; the clip alone in `train()`.
    Shape: [B, 1, M, F] dB -> [V B, 1, M, F] dB, the clips themselves first, then one copy of all after the other; V is
    9, 3 where the ratio of the tempi is 1, or 1 where this is not enabled.
    Source, for the mean over copies: Krizhevsky et al., ImageNet Classification with Deep CNNs, NeurIPS 2012."""

    __test__ = False  # pytest would take it for a test

    def __init__(self, config: TtaConfig, mel: MelConfig, fill: str = "silence"):
        super().__init__()
        self.config = config
        self.move = MoveSpectrogram(mel, fill)
        up, faster = 2.0 ** (config.semitones / 12.0), config.tempo
        tempi = [] if faster == 1.0 else [faster, 1.0 / faster]
        self.register_buffer("pitch", torch.tensor([up, 1.0 / up], dtype=torch.float32), persistent=False)
        self.register_buffer("tempo", torch.tensor(tempi, dtype=torch.float32), persistent=False)

    @property
    def copies(self) -> int:
        """V: the number of copies of each clip in `eval()`, the clip itself included."""
        return (1 + len(self.pitch)) * (1 + len(self.tempo)) if self.config.enabled else 1

    def forward(self, decibels: Tensor) -> Tensor:
        if self.training or not self.config.enabled:
            return decibels
        copies = []
        for pitched in (decibels, *(self.move.bands(decibels, pitch) for pitch in self.pitch[:, None])):
            others = (self.move.frames(pitched, tempo, torch.zeros_like(tempo)) for tempo in self.tempo[:, None])
            copies += [pitched, *others]
        return torch.cat(copies)
