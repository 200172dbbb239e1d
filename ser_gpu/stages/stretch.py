"""Speed, PitchShift and TimeStretch: batched torch-audiomentations transforms with one continuous ratio a clip.

All three are one operation, a phase vocoder that changes the tempo and a resampling that changes both:

    output(t) = input((t - centre) * tempo + centre), with its pitch multiplied by `pitch`

Clips are stretched around their centre, where the trimmed speech is, and keep their length.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_audiomentations.utils.object_dict import ObjectDict

from ser_gpu.stages.batched import BatchedTransform

N_FFT = 1024
HOP = 256
_OVERSAMPLING = 4


class Speed(BatchedTransform):
    """Play faster or slower: pitch and tempo together, by one factor a clip. A resampling alone."""

    def __init__(self, min_speed: float, max_speed: float, p: float, sample_rate: int):
        super().__init__(p, sample_rate)
        self.min_speed, self.max_speed = min_speed, max_speed

    def randomize_parameters(self, samples=None, sample_rate=None, targets=None, target_rate=None):
        self.transform_parameters["speed"] = self.uniform(samples, self.min_speed, self.max_speed)

    def apply_transform(self, samples=None, sample_rate=None, targets=None, target_rate=None) -> ObjectDict:
        changed = change_speed(samples.squeeze(1), self.transform_parameters["speed"])
        return ObjectDict(samples=changed.unsqueeze(1))


class PitchShift(BatchedTransform):
    """Move the pitch by up to `semitones` up or down, a continuous amount a clip, and keep the tempo."""

    def __init__(self, semitones: float, p: float, sample_rate: int):
        super().__init__(p, sample_rate)
        self.semitones = semitones

    def randomize_parameters(self, samples=None, sample_rate=None, targets=None, target_rate=None):
        self.transform_parameters["semitones"] = self.uniform(samples, -self.semitones, self.semitones)

    def apply_transform(self, samples=None, sample_rate=None, targets=None, target_rate=None) -> ObjectDict:
        pitch = 2.0 ** (self.transform_parameters["semitones"] / 12.0)
        largest = 2.0 ** (self.semitones / 12.0)
        changed = change_pitch_and_tempo(samples.squeeze(1), pitch, torch.ones_like(pitch), largest)
        return ObjectDict(samples=changed.unsqueeze(1))


class TimeStretch(BatchedTransform):
    """Change the tempo by a factor a clip (above 1 is faster) and keep the pitch."""

    def __init__(self, min_stretch: float, max_stretch: float, p: float, sample_rate: int):
        super().__init__(p, sample_rate)
        self.min_stretch, self.max_stretch = min_stretch, max_stretch

    def randomize_parameters(self, samples=None, sample_rate=None, targets=None, target_rate=None):
        self.transform_parameters["tempo"] = self.uniform(samples, self.min_stretch, self.max_stretch)

    def apply_transform(self, samples=None, sample_rate=None, targets=None, target_rate=None) -> ObjectDict:
        tempo = self.transform_parameters["tempo"]
        longest = 1.0 / self.min_stretch
        changed = change_pitch_and_tempo(samples.squeeze(1), torch.ones_like(tempo), tempo, longest)
        return ObjectDict(samples=changed.unsqueeze(1))


def change_pitch_and_tempo(waveform: Tensor, pitch: Tensor, tempo: Tensor, longest: float) -> Tensor:
    """Multiply pitch and tempo by a factor each, around the centre of the clip.

    Args:
        longest: an upper bound of `pitch / tempo`, known on the host, that sizes the vocoder's output.

    Shape: [B, L], [B], [B] -> [B, L].
    """
    length = waveform.shape[-1]
    rate = tempo / pitch
    window = torch.hann_window(N_FFT, device=waveform.device, dtype=waveform.dtype)
    spectrogram = torch.stft(waveform, N_FFT, HOP, window=window, pad_mode="constant", return_complex=True)
    frames = math.ceil(spectrogram.shape[-1] * longest) + 1
    stretched = _overlap_add(phase_vocoder(spectrogram, rate, frames), window)
    time = torch.arange(length, device=waveform.device, dtype=torch.float64) - length / 2
    source = time * tempo.double()[:, None] + length / 2
    return _interpolate(stretched, source / rate.double()[:, None], passband=1.0 / pitch)


def change_speed(waveform: Tensor, speed: Tensor) -> Tensor:
    """Multiply pitch and tempo by the same factor, around the centre of the clip.

    Shape: [B, L], [B] -> [B, L].
    """
    length = waveform.shape[-1]
    time = torch.arange(length, device=waveform.device, dtype=torch.float64) - length / 2
    return _interpolate(waveform, time * speed.double()[:, None] + length / 2, passband=1.0 / speed)


def phase_vocoder(spectrogram: Tensor, rate: Tensor, frames: int) -> Tensor:
    """Read a spectrogram at another rate: interpolated magnitudes, accumulated phase differences.

    Since input and output have the same hop, the expected phase advance cancels, and the difference between
    neighbouring frames is all that accumulates. Frames past the end are zero.

    Shape: [B, K, N] complex, [B] -> [B, K, frames] complex.

    Source: Flanagan and Golden 1966; `torchaudio.functional.phase_vocoder`.
    """
    position = torch.arange(frames, device=rate.device, dtype=torch.float64) * rate.double()[:, None]
    position = position.clamp(max=spectrogram.shape[-1])
    left = position.floor()
    weight = (position - left).to(spectrogram.real.dtype)[:, None, :]
    left = left.long()[:, None, :].expand(-1, spectrogram.shape[1], -1)
    padded = F.pad(spectrogram, (0, 2))
    magnitude = padded.abs()
    angle = padded.angle()
    step = angle.diff(dim=2).gather(2, left[..., :-1])
    phase = torch.cat([angle[..., :1], step], dim=2).cumsum(dim=2)
    return torch.polar(torch.lerp(magnitude.gather(2, left), magnitude.gather(2, left + 1), weight), phase)


def _overlap_add(spectrogram: Tensor, window: Tensor) -> Tensor:
    """Inverse of a centred STFT by overlap-add; `torch.istft` would wait for the device.

    Shape: [B, K, N] -> [B, (N - 1) * HOP].
    """
    frames = spectrogram.shape[-1]
    length = N_FFT + HOP * (frames - 1)

    def add(columns: Tensor) -> Tensor:
        return F.fold(columns, (1, length), (1, N_FFT), stride=(1, HOP)).flatten(1)

    signal = add(torch.fft.irfft(spectrogram, n=N_FFT, dim=1) * window[:, None])
    weight = add(window.square()[None, :, None].expand(1, -1, frames))
    return (signal / weight.clamp(min=1e-8))[:, N_FFT // 2 : length - N_FFT // 2]


def _interpolate(waveform: Tensor, position: Tensor, passband: Tensor) -> Tensor:
    """Read a waveform between its samples: band limit, oversampling by FFT, then a cubic through four points.

    Args:
        position: in samples; outside the waveform the result is zero.
        passband: the share of the band that may stay, 1 or more for all of it; keeps a raised pitch from aliasing.

    Shape: [B, T], [B, L] float64, [B] -> [B, L].

    Source: Lagrange's interpolation formula.
    """
    length = waveform.shape[-1]
    spectrum = torch.fft.rfft(waveform)
    frequency = torch.linspace(0.0, 1.0, spectrum.shape[-1], device=waveform.device)
    spectrum = spectrum * (frequency <= passband[:, None])
    dense = torch.fft.irfft(spectrum, n=length * _OVERSAMPLING) * _OVERSAMPLING
    fine = position * _OVERSAMPLING
    whole = fine.floor()
    x = (fine - whole).to(waveform.dtype)
    index = whole.long()

    def tap(offset: int) -> Tensor:
        return dense.gather(1, (index + offset).clamp(0, dense.shape[-1] - 1))

    cubic = (
        tap(-1) * (-x * (x - 1) * (x - 2) / 6)
        + tap(0) * ((x + 1) * (x - 1) * (x - 2) / 2)
        + tap(1) * (-(x + 1) * x * (x - 2) / 2)
        + tap(2) * ((x + 1) * x * (x - 1) / 6)
    )
    return cubic.masked_fill((position < 0) | (position > length - 1), 0.0)
