"""The stages that need an FFT, as an exported graph has them: fixed kernels, any batch, any number of samples."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_gpu.stages import vad
from ser_gpu.stages.mel import FftMelPower


class StftMelPower(nn.Module):
    """`FftMelPower` with the squares taken of real numbers, since a graph cannot cut complex ones.

    Shape: [B, L] -> [B, M, F].
    """

    def __init__(self, fft: FftMelPower):
        super().__init__()
        self.config = fft.config
        self.bins = fft.bins
        self.register_buffer("window", fft.window.clone())
        self.register_buffer("mel_basis", fft.mel_basis[:, : fft.bins].clone())

    def forward(self, waveform: Tensor) -> Tensor:
        config = self.config
        stft = torch.stft(
            waveform,
            config.n_fft,
            config.hop,
            window=self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        return torch.matmul(self.mel_basis, torch.view_as_real(stft)[:, : self.bins].square().sum(dim=3))


class ConvolutionMelPower(nn.Module):
    """`FftMelPower` by a convolution with windowed cosines and sines, for runtimes without an STFT or with a slow one.

    Shape: [B, L] -> [B, M, F].
    """

    def __init__(self, fft: FftMelPower):
        super().__init__()
        self.config = fft.config
        self.bins = fft.bins
        self.register_buffer("kernels", _fourier_kernels(fft.window, range(fft.bins), fft.config.n_fft))
        self.register_buffer("mel_basis", fft.mel_basis[:, : fft.bins].clone())

    def forward(self, waveform: Tensor) -> Tensor:
        padding = self.config.n_fft // 2
        parts = F.conv1d(waveform[:, None], self.kernels, stride=self.config.hop, padding=padding).square()
        return torch.matmul(self.mel_basis, parts[:, : self.bins] + parts[:, self.bins :])


class ExportableVoiceActivity(nn.Module):
    """`ser_gpu.stages.vad.VoiceActivity` without an FFT and without a branch on the length.

    Zeros before and behind a clip are not part of it, so that clips of many lengths fit into one batch.

    Shape: [B, T] float32 -> [B] bool.
    """

    def __init__(self, activity: vad.VoiceActivity):
        super().__init__()
        self.activity = activity
        self.hop, self.frame_length = activity.hop, activity.frame_length
        self.steady_samples = vad._STEADY_SECONDS * activity.sample_rate
        length = activity.frame_length
        window = torch.hann_window(length, dtype=torch.float64)
        self.register_buffer("kernels", _fourier_kernels(window, activity.bins, 2 * length))
        self.register_buffer("mean", torch.full((1, 1, length), 1 / length))

    def forward(self, waveform: Tensor) -> Tensor:
        sound, samples = _without_padding(waveform)
        # frames of zeros behind the clip's own, so that there are always five
        padded = F.pad(sound, (0, self.frame_length + (vad._VOICED_FRAMES - 2) * self.hop))[:, None]
        own = (samples - self.frame_length).clamp(min=0) // self.hop + 1
        periodic = self._periodicity(padded)
        is_own = torch.arange(periodic.shape[1], device=waveform.device) < own[:, None]
        highest = periodic.masked_fill(~is_own, -torch.inf).topk(vad._VOICED_FRAMES, dim=1).values
        lowest = highest.gather(1, own.clamp(max=vad._VOICED_FRAMES)[:, None] - 1).squeeze(1)
        fluctuates = self._fluctuation_db(padded, is_own) > vad.FLUCTUATION_DB
        return (lowest > vad.PERIODICITY) & (fluctuates | (samples < self.steady_samples))

    def _periodicity(self, padded: Tensor) -> Tensor:
        """Shape: [B, 1, T] -> [B, N]."""
        parts = F.conv1d(padded, self.kernels, stride=self.hop).square()
        bins = len(self.activity.bins)
        return self.activity.periodicity((parts[:, :bins] + parts[:, bins:]).sqrt().transpose(1, 2))

    def _fluctuation_db(self, padded: Tensor, is_own: Tensor) -> Tensor:
        """Shape: [B, 1, T], [B, N] bool -> [B]."""
        power = F.conv1d(padded.square(), self.mean, stride=self.hop).squeeze(1).masked_fill(~is_own, 0.0)
        loud = power > power.amax(dim=1, keepdim=True) * 10 ** (-vad._LOUD_DB / 10)
        decibels = 10 * power.clamp(min=torch.finfo(torch.float32).tiny).log10()
        count = loud.sum(dim=1).clamp(min=1)
        mean = (decibels * loud).sum(dim=1) / count
        return (((decibels - mean[:, None]).square() * loud).sum(dim=1) / count).sqrt()


def _without_padding(waveform: Tensor) -> tuple[Tensor, Tensor]:
    """Each clip from its first sample that is not zero, and its number of samples up to the last such one.

    Shape: [B, T] -> [B, T], [B] int64.
    """
    is_sound = (waveform != 0).int()
    start = is_sound.argmax(dim=1)
    samples = waveform.shape[1] - is_sound.flip(1).argmax(dim=1) - start
    time = torch.arange(waveform.shape[1], device=waveform.device)
    source = (start[:, None] + time).clamp(max=waveform.shape[1] - 1)
    return waveform.gather(1, source).masked_fill(time >= samples[:, None], 0.0), samples


def _fourier_kernels(window: Tensor, bins: range, size: int) -> Tensor:
    """Windowed cosines, then sines, of some bins of an FFT of `size`.

    Shape: [N] -> [2 bins, 1, N] float32.
    """
    time = torch.arange(len(window), dtype=torch.float64)
    angle = 2 * torch.pi * torch.tensor(list(bins), dtype=torch.float64)[:, None] * time / size
    return (torch.cat([angle.cos(), angle.sin()]) * window.double()).float()[:, None]
