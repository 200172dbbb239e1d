"""VoiceActivity: does somebody speak in this window? It guards `predict`, since the network answers for any sound."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PERIODICITY = 7.8
FLUCTUATION_DB = 1.5

_FRAME_SECONDS, _HOP_SECONDS = 0.100, 0.020
_BAND_HZ = (100.0, 1_500.0)
_ENVELOPE_HZ = 150.0
_PITCH_HZ = (55.0, 450.0)
_VOICED_FRAMES = 5
_LOUD_DB = 25.0
_STEADY_SECONDS = 0.5


class VoiceActivity(nn.Module):
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

    def forward(self, waveform: Tensor) -> Tensor:
        if len(waveform) == 0:  # an FFT on the CPU (MKL) refuses an empty batch
            return torch.zeros(0, dtype=torch.bool, device=waveform.device)
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
        size = 2 * self.frame_length
        window = torch.hann_window(self.frame_length, device=frames.device, dtype=frames.dtype)
        amplitude = torch.fft.rfft(frames * window, size).abs()
        hertz = torch.fft.rfftfreq(size, 1 / self.sample_rate, device=frames.device, dtype=frames.dtype)
        reach = round(_ENVELOPE_HZ * size / self.sample_rate)
        envelope = F.avg_pool1d(amplitude, 2 * reach + 1, 1, reach, count_include_pad=False)
        in_band = (hertz > _BAND_HZ[0]) & (hertz < _BAND_HZ[1])
        white = amplitude / envelope.clamp(min=torch.finfo(torch.float32).tiny)
        white = (white - white[..., in_band].mean(dim=2, keepdim=True)) * in_band
        correlation = torch.fft.irfft(white, size)
        shortest, longest = (round(self.sample_rate / hertz) for hertz in reversed(_PITCH_HZ))
        typical = white.square().sum(dim=2).mul(2).sqrt() / size
        return correlation[..., shortest:longest].amax(dim=2) / typical.clamp(min=1e-9)

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
