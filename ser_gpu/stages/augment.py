"""Randomness for training: the waveform chain (torch-audiomentations), gains and masks of the spectrogram, mixup.

Each module is the identity in `eval()`. All of it is drawn from torch's generators: the same seed, the same batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_gpu.config import AugmentConfig

_GAIN_KNOTS = 6


class WaveformAugment(nn.Module):
    """Speed, pitch, tempo and place, then the channel, then noise, as one torch-audiomentations `Compose`.

    The first four are left to `SpectrogramWarp` where the configuration says so. There is no gain: the spectrogram is
    relative to the clip's own peak. The chain is built with the first training
    batch, so that inference does not import it.

    Shape: [B, L] -> [B, L].
    """

    def __init__(self, config: AugmentConfig, sample_rate: int):
        super().__init__()
        self.config = config
        self.sample_rate = sample_rate
        self.chain: nn.Module | None = None

    def forward(self, waveform: Tensor) -> Tensor:
        if not (self.training and self.config.enabled):
            return waveform
        if self.chain is None:
            self.chain = build_chain(self.config, self.sample_rate)
        return self.chain(waveform.unsqueeze(1)).samples.squeeze(1)


def build_chain(config: AugmentConfig, sample_rate: int) -> nn.Module:
    """The waveform transforms as a torch-audiomentations `Compose`; users can put stock transforms beside them."""
    from torch_audiomentations import Compose

    from ser_gpu.stages.channel import RandomChannel
    from ser_gpu.stages.noise import AddNoise
    from ser_gpu.stages.stretch import Warp

    c = config
    warp = Warp(
        sample_rate,
        speed=(c.min_speed, c.max_speed),
        speed_p=c.speed_probability,
        semitones=c.pitch_semitones,
        pitch_p=c.pitch_probability,
        stretch=(c.min_stretch, c.max_stretch),
        stretch_p=c.stretch_probability,
        shift_seconds=c.shift_seconds,
        shift_p=c.shift_probability,
    )
    channel = RandomChannel(c.channel_colour_db, c.reverb_seconds, c.channel_probability, sample_rate)
    noise = AddNoise(c.min_snr_db, c.max_snr_db, c.min_noise_decay, c.max_noise_decay, c.noise_probability, sample_rate)
    transforms = [*([warp] if c.warp == "waveform" else []), *([channel] if c.channel_probability else []), noise]
    return Compose(transforms, output_type="dict")


class BandGain(nn.Module):
    """Another microphone, another larynx: a random gain of each mel band, smooth over the bands, drawn anew for each
    picture of a clip.

    Shape: [B, P, M, F] dB -> [B, P, M, F] dB.

    Source: Nam et al., FilterAugment, ICASSP 2022 (the linear kind).
    """

    def __init__(self, config: AugmentConfig):
        super().__init__()
        self.config = config

    def forward(self, decibels: Tensor) -> Tensor:
        if not (self.training and self.config.enabled):
            return decibels
        batch, pictures, bands, _ = decibels.shape
        knots = self.config.band_gain_db * torch.randn(batch, pictures, _GAIN_KNOTS, device=decibels.device)
        gains = F.interpolate(knots, size=bands, mode="linear", align_corners=True).unsqueeze(3)
        meets = torch.rand(batch, pictures, 1, 1, device=decibels.device) < self.config.band_gain_probability
        return decibels + torch.where(meets, gains, 0.0)


class SpectrogramMask(nn.Module):
    """SpecAugment: hide some mel bands and some frames of each picture of a clip behind its mean, which is zero.

    Shape: [B, P, M, F] -> [B, P, M, F].

    Source: Park et al., SpecAugment, Interspeech 2019.
    """

    def __init__(self, config: AugmentConfig):
        super().__init__()
        self.config = config

    def forward(self, spectrogram: Tensor) -> Tensor:
        if not (self.training and self.config.enabled):
            return spectrogram
        batch, pictures, bands, frames = spectrogram.shape
        each = (batch, pictures), spectrogram.device
        band = _random_spans(bands, self.config.band_masks, self.config.band_width, *each)
        frame = _random_spans(frames, self.config.frame_masks, self.config.frame_width, *each)
        return spectrogram.masked_fill(band[:, :, :, None] | frame[:, :, None, :], 0.0)


class Mixup(nn.Module):
    """Blend clips, and their labels, with others of the batch.

    Shape: spectrogram [B, P, M, F], labels [B] int64 -> [B, P, M, F], targets [B, C] float32 that sum to one.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.
    """

    def __init__(self, config: AugmentConfig, classes: int):
        super().__init__()
        self.config = config
        self.classes = classes

    def forward(self, spectrogram: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        targets = F.one_hot(labels, self.classes).float()
        if not (self.training and self.config.enabled and self.config.mixup_probability > 0):
            return spectrogram, targets
        batch = len(labels)
        beta = torch.full((batch,), self.config.mixup_beta, device=labels.device)
        weight = torch.distributions.Beta(beta, beta, validate_args=False).sample()
        mixed = torch.rand(batch, device=labels.device) < self.config.mixup_probability
        weight = torch.where(mixed, weight, 1.0)
        partner = torch.rand(batch, device=labels.device).argsort()
        spectrogram = torch.lerp(spectrogram[partner], spectrogram, weight[:, None, None, None])
        return spectrogram, torch.lerp(targets[partner], targets, weight[:, None])


def _random_spans(size: int, count: int, width: int, each: tuple[int, int], device: torch.device) -> Tensor:
    """True inside `count` spans for each picture, each 0 to `width` long, anywhere in `size`.

    Shape: -> [B, P, size] bool.
    """
    length = torch.rand(*each, count, 1, device=device) * min(width, size)
    start = torch.rand(*each, count, 1, device=device) * (size - length)
    position = torch.arange(size, device=device)
    return ((position >= start.floor()) & (position < (start + length).floor())).any(dim=2)
