"""Pitch, tempo and place of a clip moved in its spectrogram, which is cheaper than in its waveform."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ser_gpu.config import AugmentConfig, MelConfig

_HERTZ_PER_MEL = 200.0 / 3.0
_KNEE_HERTZ = 1_000.0
_KNEE_MEL = _KNEE_HERTZ / _HERTZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0


class MoveSpectrogram(nn.Module):
    """Read bands and frames from other places: another pitch, another tempo, a shift, one of each for all pictures of a
    clip.

    Every band reads where its centre frequency was before the pitch moved; above the highest band the highest one
    goes on. Frames from outside the clip are silent. A vocoder's phases, which the network does not see, are not
    computed.

    Args:
        mels: frequency range of each picture; number of bands, hop and floor, which they have in common.

    Shape:
        - decibels: [B, P, M, F]; pitch and tempo (factors) and shift (frames): [B]
        - output: [B, P, M, F]

    Source: Jaitly and Hinton, Vocal Tract Length Perturbation improves speech recognition, ICML workshop 2013, for the
    bands.
    """

    def __init__(self, mels: Sequence[MelConfig]):
        super().__init__()
        self.floor_db = -mels[0].top_db
        bands = mels[0].n_mels
        low, high = hertz_to_mel(torch.tensor([[mel.f_min, mel.f_max] for mel in mels])).split(1, dim=1)
        step = (high - low) / (bands + 1)
        self.register_buffer("lowest", low, persistent=False)
        self.register_buffer("step", step, persistent=False)
        self.register_buffer("centre", mel_to_hertz(low + step * torch.arange(1, bands + 1)), persistent=False)

    def forward(self, decibels: Tensor, pitch: Tensor, tempo: Tensor, shift: Tensor) -> Tensor:
        return self._move_frames(self._move_bands(decibels, pitch), tempo, shift)

    def _move_bands(self, decibels: Tensor, pitch: Tensor) -> Tensor:
        source = hertz_to_mel(self.centre / pitch[:, None, None])
        place = (source - self.lowest) / self.step - 1.0
        return _read(decibels, place.clamp(0, decibels.shape[2] - 1).unsqueeze(3), dim=2)

    def _move_frames(self, decibels: Tensor, tempo: Tensor, shift: Tensor) -> Tensor:
        last = decibels.shape[3] - 1
        frame = torch.arange(last + 1, device=decibels.device)
        place = (frame - shift[:, None] - last / 2) * tempo[:, None] + last / 2
        outside = (place < 0) | (place > last)
        read = _read(decibels, place.clamp(0, last)[:, None, None], dim=3)
        return read.masked_fill(outside[:, None, None], self.floor_db)


class SpectrogramWarp(nn.Module):
    """What `Warp` does to a waveform, done to its decibels, in `train()` only.

    Speed, pitch, tempo and shift are drawn from the same ranges with the same probabilities.

    Args:
        config: ranges and probabilities.
        mels: of the pictures, as in `MoveSpectrogram`.
        sample_rate: Hz.

    Shape: [B, P, M, F] dB -> [B, P, M, F] dB.
    """

    def __init__(self, config: AugmentConfig, mels: Sequence[MelConfig], sample_rate: int):
        super().__init__()
        self.config = config
        self.frames_per_second = sample_rate / mels[0].hop
        self.move = MoveSpectrogram(mels)

    def forward(self, decibels: Tensor) -> Tensor:
        if not (self.training and self.config.enabled and self.config.warp == "spectrogram"):
            return decibels
        return self.move(decibels, *self._draw(len(decibels), decibels.device))

    def _draw(self, batch: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Factors of pitch and tempo, and frames of shift, one of each a clip."""
        c = self.config

        def drawn(probability: float, low: float, high: float, otherwise: float) -> Tensor:
            value = torch.empty(batch, device=device).uniform_(low, high)
            return torch.where(torch.rand(batch, device=device) < probability, value, otherwise)

        speed = drawn(c.speed_probability, c.min_speed, c.max_speed, 1.0)
        octaves = drawn(c.pitch_probability, -c.pitch_semitones / 12.0, c.pitch_semitones / 12.0, 0.0)
        stretch = drawn(c.stretch_probability, c.min_stretch, c.max_stretch, 1.0)
        seconds = drawn(c.shift_probability, -c.shift_seconds, c.shift_seconds, 0.0)
        return speed * 2.0**octaves, speed * stretch, seconds * self.frames_per_second


def _read(decibels: Tensor, place: Tensor, dim: int) -> Tensor:
    """Values between the cells of one axis, by a straight line.

    Shape: [B, P, M, F], a place for each cell or for all along an axis of size one -> [B, P, M, F].
    """
    place = place.expand_as(decibels)
    left = place.floor().clamp(max=decibels.shape[dim] - 2)
    cell = left.long()
    return torch.lerp(decibels.gather(dim, cell), decibels.gather(dim, cell + 1), place - left)


def hertz_to_mel(hertz: Tensor) -> Tensor:
    """Slaney's mel scale: straight up to 1 kHz, logarithmic above; as `librosa.hz_to_mel` and nnAudio have it.

    Source: Slaney, Auditory Toolbox, 1998.
    """
    above = _KNEE_MEL + (hertz / _KNEE_HERTZ).clamp(min=1.0).log() / _LOG_STEP
    return torch.where(hertz < _KNEE_HERTZ, hertz / _HERTZ_PER_MEL, above)


def mel_to_hertz(mel: Tensor) -> Tensor:
    """The inverse of `hertz_to_mel`."""
    above = _KNEE_HERTZ * ((mel - _KNEE_MEL).clamp(min=0.0) * _LOG_STEP).exp()
    return torch.where(mel < _KNEE_MEL, mel * _HERTZ_PER_MEL, above)
