"""VoiceActivity: does somebody speak in this window? It guards `predict`, since the network answers for any sound."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ser_gpu.stages.mel import Float32Module, map_chunks

PERIODICITY = 7.8
FLUCTUATION_DB = 1.5

_FRAME_SECONDS, _HOP_SECONDS = 0.100, 0.020
_BAND_HZ = (100.0, 1_500.0)
_ENVELOPE_HZ = 150.0
_PITCH_HZ = (55.0, 450.0)
_VOICED_FRAMES = 5
_LOUD_DB = 25.0
_STEADY_SECONDS = 0.5


class VoiceActivity(Float32Module):
    """Tell speech from silence, noise of any colour, hum and tones, at any level.

    A window holds speech if five frames (a tenth of a second) are as periodic as a vowel, and if its loud frames
    fluctuate as syllables do. Periodicity is the highest peak of the autocorrelation of a frame, its spectrum whitened
    between 100 and 1,500 Hz so that coloured noise has none, in units of what an arbitrary autocorrelation of that
    spectrum has. Windows under half a second are too short to fluctuate and asked for periodicity alone.

    Both thresholds lie between what was measured: five frames of 800 noises of all colours reach 7.75 at most, each of
    1,440 clips of acted speech 8.08 at least, and a third of them in white noise at 5 dB 8.19 at least; white to pink
    noise and hum fluctuate by 0.8 dB, the same clips by 2.9 dB at least, and in that noise by 2.1 dB.

    Args:
        sample_rate: Hz.

    Shape: [B, T] float32 -> [B] bool.

    Source: Sondhi, New Methods of Pitch Extraction, IEEE Trans. Audio and Electroacoustics, 1968 (spectral flattening).
    """

    def __init__(self, sample_rate: int):
        super().__init__()
        self.sample_rate = sample_rate
        self.frame_length = round(_FRAME_SECONDS * sample_rate)
        self.hop = round(_HOP_SECONDS * sample_rate)
        size = 2 * self.frame_length
        hertz_per_bin = sample_rate / size
        in_band = [bin for bin in range(size // 2 + 1) if _BAND_HZ[0] < bin * hertz_per_bin < _BAND_HZ[1]]
        self.reach = round(_ENVELOPE_HZ / hertz_per_bin)
        # the envelope of the band needs the bins beside it
        self.bins = range(max(0, in_band[0] - self.reach), min(size // 2, in_band[-1] + self.reach) + 1)
        self.band = slice(in_band[0] - self.bins.start, in_band[-1] + 1 - self.bins.start)
        shortest, longest = (round(sample_rate / hertz) for hertz in reversed(_PITCH_HZ))
        lag = torch.arange(shortest, longest, dtype=torch.float64)
        angle = 2 * torch.pi * torch.tensor(in_band, dtype=torch.float64)[:, None] * lag / size
        # of the real and symmetric spectrum that an inverse FFT would take
        self.register_buffer("cosines", (angle.cos() * 2).float(), persistent=False)
        number = torch.arange(len(self.bins))
        near = (number[:, None] - number).abs() <= self.reach
        self.register_buffer("near", (near / near.sum(dim=0))[:, self.band].float(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        if len(waveform) == 0:  # an FFT on the CPU (MKL) refuses an empty batch
            return torch.zeros(0, dtype=torch.bool, device=waveform.device)
        return map_chunks(self._speaks, waveform)

    def _speaks(self, waveform: Tensor) -> Tensor:
        """Shape: [B, T] -> [B] bool."""
        frames = F.pad(waveform, (0, max(0, self.frame_length - waveform.shape[1]))).unfold(
            1, self.frame_length, self.hop
        )
        periodic = self._periodicity(frames)
        voiced = min(_VOICED_FRAMES, frames.shape[1])
        speaks = periodic.topk(voiced, dim=1).values[:, -1] > PERIODICITY
        if waveform.shape[1] < _STEADY_SECONDS * self.sample_rate:
            return speaks
        return speaks & (self._fluctuation_db(frames) > FLUCTUATION_DB)

    def _periodicity(self, frames: Tensor) -> Tensor:
        """Shape: [B, N, frame_length] -> [B, N]."""
        window = torch.hann_window(self.frame_length, device=frames.device, dtype=frames.dtype)
        spectrum = torch.fft.rfft(frames * window, 2 * self.frame_length)
        return self.periodicity(spectrum[..., self.bins.start : self.bins.stop].abs())

    def periodicity(self, amplitude: Tensor) -> Tensor:
        """Of frames by the amplitude of their `bins`, in units of the typical correlation.

        Shape: [B, N, bins] -> [B, N].
        """
        white = amplitude[..., self.band] / self._envelope(amplitude).clamp(min=torch.finfo(torch.float32).tiny)
        white = white - white.mean(dim=2, keepdim=True)
        typical = white.square().sum(dim=2).mul(2).sqrt()
        return torch.matmul(white, self.cosines).amax(dim=2) / typical.clamp(min=1e-9 * 2 * self.frame_length)

    def _envelope(self, amplitude: Tensor) -> Tensor:
        """The mean over the bins within reach of each one in the band.

        Shape: [B, N, bins] -> [B, N, band].
        """
        if torch.compiler.is_exporting():  # an exported file would be larger by the matrix
            return F.avg_pool1d(amplitude, 2 * self.reach + 1, 1, self.reach, count_include_pad=False)[..., self.band]
        return amplitude @ self.near  # a tenth of the time of the pooling

    def _fluctuation_db(self, frames: Tensor) -> Tensor:
        """Standard deviation of the level over the frames that are near the loudest one's.

        Shape: [B, N, frame_length] -> [B].
        """
        power = frames.square().mean(dim=2)
        loud = power > power.amax(dim=1, keepdim=True) * 10 ** (-_LOUD_DB / 10)
        decibels = 10 * power.clamp(min=torch.finfo(torch.float32).tiny).log10()
        count = loud.sum(dim=1).clamp(min=1)
        mean = (decibels * loud).sum(dim=1) / count
        return (((decibels - mean[:, None]).square() * loud).sum(dim=1) / count).sqrt()
