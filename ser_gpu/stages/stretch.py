"""Warp: a phase vocoder changes the tempo of clips, resampling both tempo and pitch, around the centre; length is kept.
output(t) = input((t - shift - centre) * tempo + centre), with its pitch multiplied by `pitch`."""

import math

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from ser_gpu.config import AugmentConfig
from ser_gpu.stages.batched import BatchedTransform, choose, uniform
from ser_gpu.stages.mel import map_chunks

N_FFT = 1024
HOP = 256
_OVERSAMPLING = 4


class Warp(BatchedTransform):
    """Speed, pitch, tempo and shift of each clip, drawn separately, applied together: one vocoder, one resampling."""

    def __init__(self, config: AugmentConfig, sample_rate: int):
        pitch_p, stretch_p = config.pitch_probability, config.stretch_probability
        vocoder_p = 1 - (1 - pitch_p) * (1 - stretch_p)
        # with the vocoder alone, only its clips are chosen: the others are not even resampled
        p = vocoder_p if config.speed_probability == config.shift_probability == 0 else 1.0
        super().__init__(p if config.warp == "waveform" else 0.0, sample_rate)  # else `SpectrogramWarp` does it
        self.config = config
        self.pitch_p, self.stretch_p, self.vocoder_p = (q / max(p, 1e-9) for q in (pitch_p, stretch_p, vocoder_p))

    def draw(self, waveform: Tensor) -> dict[str, Tensor]:
        c, batch, device = self.config, len(waveform), waveform.device
        _, vocoded = choose(self.vocoder_p, batch, device)
        count = len(vocoded)
        # pitched from one end of [0, 1], stretched from the other, both where they overlap: each keeps its probability
        share = torch.rand(count, device=device)
        pitched = vocoded & (share * self.vocoder_p < self.pitch_p)
        stretched = vocoded & ((1 - share) * self.vocoder_p < self.stretch_p)
        semitones = uniform(count, -c.pitch_semitones, c.pitch_semitones, device)
        speed = uniform(batch, c.min_speed, c.max_speed, device)
        shift = uniform(batch, -c.shift_seconds, c.shift_seconds, device) * self.sample_rate
        return {
            "pitch": torch.where(pitched, 2.0 ** (semitones / 12.0), 1.0),
            "stretch": torch.where(stretched, uniform(count, c.min_stretch, c.max_stretch, device), 1.0),
            "speed": torch.where(torch.rand(batch, device=device) < c.speed_probability, speed, 1.0),
            "shift": torch.where(torch.rand(batch, device=device) < c.shift_probability, shift, 0.0),
        }

    def change(self, waveform: Tensor, pitch: Tensor, stretch: Tensor, speed: Tensor, shift: Tensor) -> Tensor:
        count = len(pitch)  # only the first clips need the vocoder: pitch and tempo of the others are equal
        vocoded, ratio, place = waveform[:count], speed[:count], shift[:count]
        longest = 2.0 ** (self.config.pitch_semitones / 12.0) / self.config.min_stretch
        vocoded = change_pitch_and_tempo(vocoded, ratio * pitch, ratio * stretch, longest, place)
        return torch.cat([vocoded, change_speed(waveform[count:], speed[count:], shift[count:])])


def change_pitch_and_tempo(
    waveform: Tensor, pitch: Tensor, tempo: Tensor, longest: float, shift: Tensor | float = 0.0
) -> Tensor:
    """Multiply pitch and tempo by a ratio each, around the clip's centre, and move it by `shift` samples.
    `longest`, an upper bound of `pitch / tempo` known on the host, sizes the vocoder's output.
    Shape: [B, L], [B], [B], [B] -> [B, L]."""
    if len(waveform) == 0:
        return waveform
    window = torch.hann_window(N_FFT, device=waveform.device, dtype=waveform.dtype)

    def vocoded(waveform: Tensor, rate: Tensor) -> Tensor:
        spectrogram = torch.stft(waveform, N_FFT, HOP, window=window, pad_mode="constant", return_complex=True)
        frames = math.ceil(spectrogram.shape[-1] * longest) + 1
        return _overlap_add(phase_vocoder(spectrogram, rate, frames), window)

    rate = tempo / pitch
    return _resample(map_chunks(vocoded, waveform, rate), rate, pitch, tempo, shift, waveform.shape[-1])


def change_speed(waveform: Tensor, speed: Tensor, shift: Tensor | float = 0.0) -> Tensor:
    """As `change_pitch_and_tempo`, both by the same ratio. Shape: [B, L], [B], [B] -> [B, L]."""
    if len(waveform) == 0:
        return waveform
    return _resample(waveform, torch.ones_like(speed), speed, speed, shift, waveform.shape[-1])


def phase_vocoder(spectrogram: Tensor, rate: Tensor, frames: int) -> Tensor:
    """Read a spectrogram at another rate: magnitudes interpolated, phase differences accumulated, zero past the end.
    Input and output have the same hop, so the expected phase advance cancels: only the differences between
    neighbouring frames accumulate, as a product of unit phasors.
    Shape: [B, K, N] complex, [B] -> [B, K, frames] complex. Source: Flanagan and Golden 1966."""
    # [B, N + 2, K]: a frame is a row in memory, as torch.stft leaves it; an empty cell gets the phase 0
    smallest = torch.finfo(spectrogram.dtype).tiny ** 0.5
    source = F.pad(spectrogram.transpose(1, 2), (0, 0, 0, 2)) + smallest
    batch, rows, _ = source.shape
    time = torch.arange(frames, device=rate.device, dtype=torch.float64)
    position = (time * rate.double()[:, None]).clamp(max=rows - 2)
    left = position.floor()
    weight = (position - left).to(source.real.dtype).unsqueeze(2)
    row = left.long() + torch.arange(batch, device=rate.device)[:, None] * rows  # in the rows of all clips

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
    """Inverse of a centred STFT, [B, K, N] -> [B, (N - 1) * HOP]; `torch.istft` would wait for the device."""

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
    waveform: Tensor, rate: Tensor, pitch: Tensor, tempo: Tensor, shift: Tensor | float, length: int
) -> Tensor:
    """Read [B, T] where the output comes from, zero outside: [B, length]. Source: Newton's interpolation formula."""
    samples = waveform.shape[-1]
    size = next_fast_len(samples, real=True)
    spectrum = torch.fft.rfft(waveform, n=size)
    frequency = torch.linspace(0.0, 1.0, spectrum.shape[-1], device=waveform.device)
    # a raised pitch would alias, so the band is limited; then the cubic needs denser samples: one FFT does both
    passed = (frequency <= (1.0 / pitch)[:, None]).to(waveform.dtype)
    if size % 2 == 0:
        passed[:, -1] /= 2  # half the sample rate is one bin here and two in the denser spectrum
    dense = torch.fft.irfft(spectrum * passed, n=size * _OVERSAMPLING) * _OVERSAMPLING
    time = torch.arange(length, device=waveform.device, dtype=torch.float64)

    def interpolated(dense: Tensor, first: Tensor, step: Tensor) -> Tensor:
        position = torch.addcmul(first[:, None], time, step[:, None])  # in samples before the oversampling
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

    centre = length / 2
    step = tempo.double() / rate.double()  # the vocoder has changed the tempo by `rate` already
    return map_chunks(interpolated, dense, centre / rate.double() - centre * step - shift * step, step)
