"""Warp, and its special cases Speed, PitchShift and TimeStretch: batched, with one continuous ratio a clip.

All are one operation, a phase vocoder that changes the tempo and a resampling that changes both tempo and pitch:

    output(t) = input((t - shift - centre) * tempo + centre), with its pitch multiplied by `pitch`

Clips are stretched around their centre, where the trimmed speech is, and keep their length.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from ser_gpu.stages.batched import BatchedTransform, choose, uniform
from ser_gpu.stages.mel import map_chunks

N_FFT = 1024
HOP = 256
_OVERSAMPLING = 4


class Warp(BatchedTransform):
    """Speed, pitch, tempo and place of a clip, drawn apart and applied together: one vocoder, one resampling.

    Args:
        sample_rate: Hz.
        speed: ratios of the slowest and the fastest; moves pitch and tempo together.
        speed_p: probability with which a clip's speed changes.
        semitones: the pitch moves by up to so much, up or down, and the tempo stays.
        pitch_p: probability of that.
        stretch: tempo ratios of the slowest and the fastest; the pitch stays.
        stretch_p: probability of that.
        shift_seconds: the clip moves by up to so much, earlier or later; zeros come in.
        shift_p: probability of that.
        p: probability of the whole transform.

    Clips whose pitch and tempo keep together do not pass the vocoder.
    """

    def __init__(
        self,
        sample_rate: int,
        speed: tuple[float, float] = (1.0, 1.0),
        speed_p: float = 0.0,
        semitones: float = 0.0,
        pitch_p: float = 0.0,
        stretch: tuple[float, float] = (1.0, 1.0),
        stretch_p: float = 0.0,
        shift_seconds: float = 0.0,
        shift_p: float = 0.0,
        p: float = 1.0,
    ):
        either = 1 - (1 - pitch_p) * (1 - stretch_p)
        if speed_p == shift_p == 0:
            p, pitch_p, stretch_p, either = p * either, *(q / max(either, 1e-9) for q in (pitch_p, stretch_p, either))
        super().__init__(p, sample_rate)
        self.speed, self.speed_p = speed, speed_p
        self.semitones, self.pitch_p = semitones, pitch_p
        self.stretch, self.stretch_p = stretch, stretch_p
        self.shift_seconds, self.shift_p = shift_seconds, shift_p
        self.vocoder_p = either

    def draw(self, waveform: Tensor) -> dict[str, Tensor]:
        batch, device = len(waveform), waveform.device
        _, vocoded = choose(self.vocoder_p, batch, device)
        count = len(vocoded)
        # Of the clips in the vocoder a share is pitched, from one end of [0, 1], and a share stretched, from the other;
        # where the shares overlap, both. So each keeps its own probability.
        share = torch.rand(count, device=device)
        pitched = vocoded & (share * self.vocoder_p < self.pitch_p)
        stretched = vocoded & ((1 - share) * self.vocoder_p < self.stretch_p)
        semitones = uniform(count, -self.semitones, self.semitones, device)
        speed = uniform(batch, *self.speed, device)
        shift = uniform(batch, -self.shift_seconds, self.shift_seconds, device) * self.sample_rate
        return {
            "pitch": torch.where(pitched, 2.0 ** (semitones / 12.0), 1.0),
            "stretch": torch.where(stretched, uniform(count, *self.stretch, device), 1.0),
            "speed": torch.where(torch.rand(batch, device=device) < self.speed_p, speed, 1.0),
            "shift": torch.where(torch.rand(batch, device=device) < self.shift_p, shift, 0.0),
        }

    def change(self, waveform: Tensor, pitch: Tensor, stretch: Tensor, speed: Tensor, shift: Tensor) -> Tensor:
        count = len(pitch)  # of the clips that pass the vocoder, which are the first ones
        longest = 2.0 ** (self.semitones / 12.0) / self.stretch[0]
        changed = [
            change_pitch_and_tempo(
                waveform[:count], speed[:count] * pitch, speed[:count] * stretch, longest, shift[:count]
            ),
            change_speed(waveform[count:], speed[count:], shift[count:]),
        ]
        return torch.cat([part for part in changed if len(part) > 0])


class Speed(Warp):
    """Play faster or slower: pitch and tempo together, by one ratio a clip. A resampling alone."""

    def __init__(self, min_speed: float, max_speed: float, p: float, sample_rate: int):
        super().__init__(sample_rate, speed=(min_speed, max_speed), speed_p=1.0, p=p)


class PitchShift(Warp):
    """Move the pitch by up to `semitones` up or down, a continuous amount a clip, and keep the tempo."""

    def __init__(self, semitones: float, p: float, sample_rate: int):
        super().__init__(sample_rate, semitones=semitones, pitch_p=1.0, p=p)


class TimeStretch(Warp):
    """Change the tempo by a ratio a clip (above 1 is faster) and keep the pitch."""

    def __init__(self, min_stretch: float, max_stretch: float, p: float, sample_rate: int):
        super().__init__(sample_rate, stretch=(min_stretch, max_stretch), stretch_p=1.0, p=p)


def change_pitch_and_tempo(
    waveform: Tensor, pitch: Tensor, tempo: Tensor, longest: float, shift: Tensor | None = None
) -> Tensor:
    """Multiply pitch and tempo by a ratio each, around the centre of the clip, and move it.

    Args:
        longest: an upper bound of `pitch / tempo`, known on the host, that sizes the vocoder's output.
        shift: samples; left out, the clip stays in its place.

    Shape: [B, L], [B], [B], [B] -> [B, L].
    """
    if len(waveform) == 0:
        return waveform
    rate = tempo / pitch
    stretched = map_chunks(partial(_vocode, longest=longest), waveform, rate)
    return _resample(stretched, tempo, shift, rate, waveform.shape[-1], passband=1.0 / pitch)


def change_speed(waveform: Tensor, speed: Tensor, shift: Tensor | None = None) -> Tensor:
    """Multiply pitch and tempo by the same ratio, around the centre of the clip, and move it.

    Shape: [B, L], [B], [B] -> [B, L].
    """
    if len(waveform) == 0:
        return waveform
    return _resample(waveform, speed, shift, torch.ones_like(speed), waveform.shape[-1], passband=1.0 / speed)


def _vocode(waveform: Tensor, rate: Tensor, longest: float) -> Tensor:
    """Change the tempo alone.

    Shape: [B, L], [B] -> [B, about L * longest].
    """
    window = torch.hann_window(N_FFT, device=waveform.device, dtype=waveform.dtype)
    spectrogram = torch.stft(waveform, N_FFT, HOP, window=window, pad_mode="constant", return_complex=True)
    frames = math.ceil(spectrogram.shape[-1] * longest) + 1
    return _overlap_add(phase_vocoder(spectrogram, rate, frames), window)


def phase_vocoder(spectrogram: Tensor, rate: Tensor, frames: int) -> Tensor:
    """Read a spectrogram at another rate: interpolated magnitudes, accumulated phase differences.

    Since input and output have the same hop, the expected phase advance cancels, and the difference between
    neighbouring frames is all that accumulates: as a product of unit phasors, without a sine or an arctangent. Frames
    past the end are zero.

    Shape: [B, K, N] complex, [B] -> [B, K, frames] complex.

    Source: Flanagan and Golden 1966; `torchaudio.functional.phase_vocoder`.
    """
    # a frame is a row in memory, as torch.stft leaves it; an empty cell gets the phase 0
    smallest = torch.finfo(spectrogram.dtype).tiny ** 0.5
    source = F.pad(spectrogram.transpose(1, 2), (0, 0, 0, 2)) + smallest
    batch, rows, _ = source.shape
    position = torch.arange(frames, device=rate.device, dtype=torch.float64) * rate.double()[:, None]
    position = position.clamp(max=rows - 2)
    left = position.floor()
    weight = (position - left).to(source.real.dtype).unsqueeze(2)
    first_row = torch.arange(batch, device=rate.device)[:, None] * rows
    row = left.long() + first_row

    def read(values: Tensor, row: Tensor) -> Tensor:
        return values.flatten(0, 1).index_select(0, row.flatten()).unflatten(0, (batch, -1))

    magnitude = (source * source.conj()).real.sqrt()
    phasor = source * magnitude.reciprocal()
    step = phasor[:, 1:] * phasor[:, :-1].conj()
    steps = read(F.pad(step, (0, 0, 0, 1)), row)[:, :-1]
    phase = torch.cat([phasor[:, :1], steps], dim=1).cumprod(dim=1)
    loudness = torch.lerp(read(magnitude, row), read(magnitude, row + 1), weight)
    return (loudness * phase).transpose(1, 2)


def _overlap_add(spectrogram: Tensor, window: Tensor) -> Tensor:
    """Inverse of a centred STFT by overlap-add; `torch.istft` would wait for the device.

    Shape: [B, K, N] -> [B, (N - 1) * HOP].
    """

    def add(frames: Tensor) -> Tensor:
        blocks = frames.unflatten(2, (-1, HOP))
        batch, count, overlap, _ = blocks.shape
        total = blocks.new_zeros(batch, count + overlap - 1, HOP)
        for i in range(overlap):
            total[:, i : i + count] += blocks[:, :, i]
        return total.flatten(1)

    frames = torch.fft.irfft(spectrogram.transpose(1, 2), n=N_FFT) * window
    weight = add(window.square().expand(1, frames.shape[1], -1)).clamp(min=1e-8)
    return (add(frames) / weight)[:, N_FFT // 2 : -(N_FFT // 2)]


def _resample(
    waveform: Tensor, tempo: Tensor, shift: Tensor | None, rate: Tensor, length: int, passband: Tensor
) -> Tensor:
    """Read a waveform, whose tempo the vocoder has changed by `rate`, at the places where the output comes from.

    The band is limited and the waveform oversampled by one FFT; then a cubic goes through the four points around each
    place. Outside the waveform the result is zero.

    Args:
        length: L, samples of the output.
        passband: the share of the band that may stay, 1 or more for all of it; keeps a raised pitch from aliasing.

    Shape: [B, T], [B], [B], [B], [B] -> [B, L].

    Source: Newton's interpolation formula.
    """
    size = next_fast_len(waveform.shape[-1], real=True)
    spectrum = torch.fft.rfft(waveform, n=size)
    frequency = torch.linspace(0.0, 1.0, spectrum.shape[-1], device=waveform.device)
    share = (frequency <= passband[:, None]).to(waveform.dtype)
    if size % 2 == 0:
        share[:, -1] /= 2  # half the sample rate is one bin here and two in the denser spectrum
    dense = torch.fft.irfft(spectrum * share, n=size * _OVERSAMPLING) * _OVERSAMPLING

    centre = length / 2
    late = 0.0 if shift is None else shift.double()
    step = tempo.double() / rate.double()
    first = centre / rate.double() - (late + centre) * step
    return map_chunks(partial(_interpolate, samples=waveform.shape[-1], length=length), dense, first, step)


def _interpolate(dense: Tensor, first: Tensor, step: Tensor, samples: int, length: int) -> Tensor:
    """Values at `first + n * step`, in samples before the oversampling.

    Shape: [B, D], [B] float64, [B] float64 -> [B, length].
    """
    time = torch.arange(length, device=dense.device, dtype=torch.float64)
    position = torch.addcmul(first[:, None], time, step[:, None])
    fine = position * _OVERSAMPLING
    whole = fine.floor()
    x = (fine - whole).to(dense.dtype)
    index = whole.long().clamp(0, dense.shape[-1] - 3)
    before, here, after, later = (dense.gather(1, (index + offset).clamp(min=0)) for offset in (-1, 0, 1, 2))
    slope = here - before
    curve = (after - here - slope) / 2
    bend = (later - 3 * after + 3 * here - before) / 6
    cubic = before + (x + 1) * (slope + x * (curve + (x - 1) * bend))
    return cubic.masked_fill((position < 0) | (position > samples - 1), 0.0)
