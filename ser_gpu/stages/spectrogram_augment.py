"""Augmentation of the spectrogram: pitch, tempo and shift; gains of bands; masks; mixup; nothing in `eval()`."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_gpu.config import AugmentConfig, MelConfig
from ser_gpu.stages.mel import Float32Module

_HERTZ_PER_MEL = 200.0 / 3.0
_KNEE_HERTZ = 1_000.0
_KNEE_MEL = _KNEE_HERTZ / _HERTZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0
_GAIN_KNOTS = 6


class MoveSpectrogram(Float32Module):
    """Change pitch, tempo and place by reading other bands and frames.
    The highest band continues above itself; frames from outside the clip are silent, or repeat it, as in `TrimConfig`.
    Shape: [B, 1, M, F], ratios of pitch and tempo and frames of shift [B], or [1] for all, which is faster -> same.
    Source, for the bands: Jaitly and Hinton, Vocal Tract Length Perturbation, ICML workshop 2013."""

    def __init__(self, mel: MelConfig, fill: str = "silence"):
        super().__init__()
        self.floor_db, self.fill = -mel.top_db, fill
        lowest, highest = hertz_to_mel(torch.tensor([mel.f_min, mel.f_max], dtype=torch.float32))
        step = (highest - lowest) / (mel.n_mels + 1)
        self.register_buffer("lowest", lowest, persistent=False)
        self.register_buffer("step", step, persistent=False)
        self.register_buffer("centre", mel_to_hertz(lowest + step * torch.arange(1, mel.n_mels + 1)), persistent=False)

    def bands(self, decibels: Tensor, pitch: Tensor) -> Tensor:
        """Change the pitch alone."""
        place = (hertz_to_mel(self.centre / pitch[:, None]) - self.lowest) / self.step - 1.0  # [B, M]
        return _read(decibels, place.clamp(0, decibels.shape[2] - 1)[:, None, :, None], dim=2)

    def frames(self, decibels: Tensor, tempo: Tensor, shift: Tensor) -> Tensor:
        """Change tempo and place alone."""
        last = decibels.shape[3] - 1
        frame = torch.arange(last + 1, device=decibels.device)
        place = (frame - shift[:, None] - last / 2) * tempo[:, None] + last / 2
        outside = (place < 0) | (place > last)
        if self.fill == "repeat":
            return _read(decibels, torch.where(outside, place.remainder(last), place)[:, None, None], dim=3)
        read = _read(decibels, place.clamp(0, last)[:, None, None], dim=3)
        return read.masked_fill(outside[:, None, None], self.floor_db)


class SpectrogramAugmentation(nn.Module):
    """What acts in training alone, by the settings of augmentation."""

    def __init__(self, config: AugmentConfig):
        super().__init__()
        self.config = config


class SpectrogramWarp(SpectrogramAugmentation):
    """What `Warp` does to a waveform, done to its decibels, without phases. Shape: [B, 1, M, F] -> the same."""

    def __init__(self, config: AugmentConfig, mel: MelConfig, sample_rate: int, fill: str = "silence"):
        super().__init__(config)
        self.frames_per_second = sample_rate / mel.hop
        self.move = MoveSpectrogram(mel, fill)

    def forward(self, decibels: Tensor) -> Tensor:
        if not (self.training and self.config.enabled and self.config.warp == "spectrogram"):
            return decibels
        c, batch, device = self.config, len(decibels), decibels.device

        def drawn(probability: float, low: float, high: float, otherwise: float) -> Tensor:
            value = torch.empty(batch, device=device).uniform_(low, high)
            return torch.where(torch.rand(batch, device=device) < probability, value, otherwise)

        speed = drawn(c.speed_probability, c.min_speed, c.max_speed, 1.0)
        octaves = drawn(c.pitch_probability, -c.pitch_semitones / 12.0, c.pitch_semitones / 12.0, 0.0)
        stretch = drawn(c.stretch_probability, c.min_stretch, c.max_stretch, 1.0)
        seconds = drawn(c.shift_probability, -c.shift_seconds, c.shift_seconds, 0.0)
        pitched = self.move.bands(decibels, speed * 2.0**octaves)
        return self.move.frames(pitched, speed * stretch, seconds * self.frames_per_second)


class BandGain(SpectrogramAugmentation):
    """Another microphone, another larynx: a gain of each mel band, smooth over the bands.
    Shape: [B, 1, M, F] -> the same. Source: Nam et al., FilterAugment, ICASSP 2022 (the linear kind)."""

    def forward(self, decibels: Tensor) -> Tensor:
        if not (self.training and self.config.enabled):
            return decibels
        batch, _, bands, _ = decibels.shape
        knots = self.config.band_gain_db * torch.randn(batch, 1, _GAIN_KNOTS, device=decibels.device)
        gains = F.interpolate(knots, size=bands, mode="linear", align_corners=True).unsqueeze(3)
        applied = torch.rand(batch, 1, 1, 1, device=decibels.device) < self.config.band_gain_probability
        return decibels + torch.where(applied, gains, 0.0)


class SpectrogramMask(SpectrogramAugmentation):
    """SpecAugment: replace some bands and frames of each clip by its mean, which is zero.
    Shape: [B, 1, M, F] -> the same. Source: Park et al., SpecAugment, Interspeech 2019."""

    def forward(self, spectrogram: Tensor) -> Tensor:
        if not (self.training and self.config.enabled):
            return spectrogram
        batch, _, bands, frames = spectrogram.shape
        band = _random_spans(batch, bands, self.config.band_masks, self.config.band_width, spectrogram.device)
        frame = _random_spans(batch, frames, self.config.frame_masks, self.config.frame_width, spectrogram.device)
        return spectrogram.masked_fill(band[:, None, :, None] | frame[:, None, None, :], 0.0)


class Mixup(SpectrogramAugmentation):
    """Blend clips and labels with others of the batch, or of their group where a batch is `groups` equal groups.
    Shape: [B, 1, M, F], labels [B] int64 -> [B, 1, M, F], targets [B, C] float32 that sum to one.
    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018."""

    def __init__(self, config: AugmentConfig, classes: int):
        super().__init__(config)
        self.classes = classes

    def forward(self, spectrogram: Tensor, labels: Tensor, groups: int = 1) -> tuple[Tensor, Tensor]:
        c, batch, device = self.config, len(labels), labels.device
        targets = (labels[:, None] == torch.arange(self.classes, device=device)).float()  # `F.one_hot` would wait
        if not (self.training and c.enabled and c.mixup_probability > 0):
            return spectrogram, targets
        beta = torch.full((batch,), c.mixup_beta, device=device)
        weight = torch.distributions.Beta(beta, beta, validate_args=False).sample()
        weight = torch.where(torch.rand(batch, device=device) < c.mixup_probability, weight, 1.0)
        size = batch // groups
        partner = torch.rand(groups, size, device=device).argsort(dim=1)
        partner = (partner + size * torch.arange(groups, device=device)[:, None]).flatten()
        spectrogram = torch.lerp(spectrogram[partner], spectrogram, weight[:, None, None, None])
        return spectrogram, torch.lerp(targets[partner], targets, weight[:, None])


def hertz_to_mel(hertz: Tensor) -> Tensor:
    """Hz to the mel scale of Slaney's Auditory Toolbox (1998), as in librosa: linear to 1 kHz, logarithmic above."""
    above = _KNEE_MEL + (hertz / _KNEE_HERTZ).clamp(min=1.0).log() / _LOG_STEP
    return torch.where(hertz < _KNEE_HERTZ, hertz / _HERTZ_PER_MEL, above)


def mel_to_hertz(mel: Tensor) -> Tensor:
    """The inverse of `hertz_to_mel`."""
    above = _KNEE_HERTZ * ((mel - _KNEE_MEL).clamp(min=0.0) * _LOG_STEP).exp()
    return torch.where(mel < _KNEE_MEL, mel * _HERTZ_PER_MEL, above)


def _read(decibels: Tensor, place: Tensor, dim: int) -> Tensor:
    """Linear interpolation along one axis of [B, 1, M, F]; other axes of `place` may have size one, for all."""
    left = place.floor().clamp(max=decibels.shape[dim] - 2)
    cell = left.long()

    def values(cell: Tensor) -> Tensor:
        if cell.numel() == cell.shape[dim]:
            return decibels.index_select(dim, cell.flatten())
        return decibels.gather(dim, cell.expand_as(decibels))

    return torch.lerp(values(cell), values(cell + 1), place - left)


def _random_spans(batch: int, size: int, count: int, width: int, device: torch.device) -> Tensor:
    """True inside `count` spans of each clip, each 0 to `width` long, anywhere in `size`: [B, size] bool."""
    length = torch.rand(batch, 1, count, 1, device=device) * min(width, size)
    start = torch.rand(batch, 1, count, 1, device=device) * (size - length)
    position = torch.arange(size, device=device)
    return ((position >= start.floor()) & (position < (start + length).floor())).any(dim=2).squeeze(1)
