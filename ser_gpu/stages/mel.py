"""LogMel: from a waveform to a normalised log-mel spectrogram; and what the other float32 stages share with it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_gpu.config import MelConfig
from ser_gpu.errors import InputError

_SMALLEST_POWER = 1e-10
_SMALLEST_VARIANCE = 1e-6
_CACHE_BYTES = 2**20


class Float32Module(nn.Module):
    """A module whose floating-point buffers and parameters follow the model's device, but keep their own dtype.
    `model.half()`, `.bfloat16()` and `.double()` are for the CNN: decibels in 16 bits are wrong by more than 1 dB."""

    def _apply(self, fn, recurse: bool = True):
        def keep_dtype(tensor: Tensor) -> Tensor:
            changed = fn(tensor)
            return changed if changed.dtype == tensor.dtype else tensor.to(changed.device)

        return super()._apply(keep_dtype, recurse)


def map_chunks(function: Callable[..., Tensor], *tensors: Tensor, clips: int = 4) -> Tensor:
    """Apply a function of a batch; on a CPU to `clips` clips at a time, which is faster."""
    # an exported graph is for any batch size, so it has the function once
    if torch.compiler.is_exporting() or tensors[0].device.type != "cpu" or len(tensors[0]) <= clips:
        return function(*tensors)
    parts = zip(*(tensor.split(clips) for tensor in tensors), strict=True)
    return torch.cat([function(*part) for part in parts])


class LogMel(Float32Module):
    """Mel power spectrogram, decibels below the clip's peak, then each clip to zero mean and unit variance.
    The kernels are nnAudio's, applied by convolution ("conv") or by FFT ("fft"); with the `kernels` of a stored model,
    nnAudio, which is slow to import, is not needed. Raises InputError where they have a wrong shape.
    Shape: [B, L] floating point -> [B, 1, M, F] float32, F = L // hop + 1.
    Source: `librosa.feature.melspectrogram` and `librosa.power_to_db` (librosa 0.11), zero padding at the edges."""

    def __init__(self, config: MelConfig, sample_rate: int, kernels: tuple[Tensor, Tensor] | None = None):
        super().__init__()
        self.config = config
        self.backend = "conv" if config.trainable or config.backend == "conv" else "fft"
        if self.backend == "conv":
            self.mel_power = ConvMelPower(config, sample_rate)
        else:
            self.mel_power = FftMelPower(config, sample_rate, *(kernels or nnaudio_kernels(config, sample_rate)))

    def forward(self, waveform: Tensor) -> Tensor:
        with torch.autocast(waveform.device.type, enabled=False):
            return self.normalised(self.decibels(waveform))

    def decibels(self, waveform: Tensor) -> Tensor:
        """Level below the clip's loudest cell, between -top_db and 0 dB. Shape: [B, L] -> [B, 1, M, F]."""
        level = 10.0 * self.power(waveform).clamp(min=_SMALLEST_POWER).log10()
        return (level - level.amax(dim=(1, 2), keepdim=True)).clamp(min=-self.config.top_db).unsqueeze(1)

    def normalised(self, decibels: Tensor) -> Tensor:
        """Spectral mean subtraction, which makes up for microphone and room; then each to zero mean and unit variance.
        Shape: [B, 1, M, F] -> the same.
        Source: Atal, Effectiveness of linear prediction characteristics..., JASA 55, 1974, there of cepstra."""
        if self.config.mean_subtraction:
            decibels = decibels - self.config.mean_subtraction * decibels.mean(dim=3, keepdim=True)
        return F.layer_norm(decibels, decibels.shape[1:], eps=_SMALLEST_VARIANCE)  # one pass over memory

    def power(self, waveform: Tensor) -> Tensor:
        """Mel power spectrogram. Shape: [B, L] -> [B, M, F]."""
        complex_bytes = 8 * (self.config.n_fft // 2 + 1) * (waveform.shape[-1] // self.config.hop + 1)
        return map_chunks(self.mel_power, waveform.float(), clips=max(1, _CACHE_BYTES // complex_bytes))


class FftMelPower(nn.Module):
    """Mel power spectrogram by FFT; its kernels are part of its state. Shape: [B, L] -> [B, M, F].
    On a GPU FFTs read an overlapping view of the samples, and the window, always Hann's, is applied to the spectrum."""

    def __init__(self, config: MelConfig, sample_rate: int, window: Tensor, mel_basis: Tensor):
        super().__init__()
        self.config = config
        self.bins = min(config.n_fft // 2, int(config.f_max * config.n_fft / sample_rate)) + 1
        shapes = {"window": [config.n_fft], "mel_basis": [config.n_mels, config.n_fft // 2 + 1]}
        for (name, shape), kernel in zip(shapes.items(), (window, mel_basis), strict=True):
            if list(kernel.shape) != shape:
                raise InputError(f"the {name} must be {shape}, got {list(kernel.shape)}")
            self.register_buffer(name, kernel.clone())

    def of_view(self, waveform: Tensor) -> Tensor:
        """As on a GPU."""
        n_fft, hop = self.config.n_fft, self.config.hop
        batch, samples = waveform.shape
        rows = (samples + n_fft // 2 + hop - 1) // hop  # hops from one clip to the next, zeros between them included
        clips = F.pad(waveform, (n_fft // 2, rows * hop - samples - n_fft // 2)).flatten()
        frames = F.pad(clips, (0, n_fft)).as_strided((batch, rows, n_fft), (rows * hop, hop, 1))  # one stride for all
        spectrum = torch.view_as_real(torch.fft.rfft(frames))[:, : samples // hop + 1, : self.bins + 1]
        # Hann's window: X[k] / 2 - X[k - 1] / 4 - X[k + 1] / 4, here times 4; no band has the first bin or the last one
        windowed = 2 * spectrum[:, :, 1:-1] - spectrum[:, :, :-2] - spectrum[:, :, 2:]  # [B, F, bins, 2]
        power = windowed.square().sum(dim=3).transpose(1, 2)
        return torch.matmul(self.mel_basis[:, 1 : 1 + power.shape[1]] / 16, power)

    def forward(self, waveform: Tensor) -> Tensor:
        if waveform.is_cuda:
            return self.of_view(waveform)
        n_fft, hop = self.config.n_fft, self.config.hop
        stft = torch.stft(waveform, n_fft, hop, window=self.window, pad_mode="constant", return_complex=True)
        stft = stft[:, : self.bins]  # the bands end at f_max
        power = stft.real.square()
        power = torch.addcmul(power, stft.imag, stft.imag)  # in one pass over memory
        return torch.matmul(self.mel_basis[:, : self.bins], power)


class ConvMelPower(nn.Module):
    """Mel power spectrogram by nnAudio's convolution. Shape: [B, L] -> [B, M, F].
    Frozen kernels are rebuilt from the configuration and not stored in a state dict; trainable ones are weights."""

    def __init__(self, config: MelConfig, sample_rate: int):
        super().__init__()
        self.layer = _nnaudio_layer(config, sample_rate)
        for module in self.layer.modules():
            for name, kernel in list(module.named_buffers(recurse=False)):
                module.register_buffer(name, kernel, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # TF32 is wrong by about 1 dB
            parts = self.layer.stft(waveform, output_format="Complex")
        # without nnAudio's own square root, whose gradient at zero is NaN
        return torch.matmul(self.layer.mel_basis, parts.square().sum(dim=-1))


def nnaudio_kernels(config: MelConfig, sample_rate: int) -> tuple[Tensor, Tensor]:
    """nnAudio's window [n_fft] and mel basis [M, n_fft // 2 + 1]."""
    layer = _nnaudio_layer(config, sample_rate)
    return layer.stft.window_mask.flatten(), layer.mel_basis


def _nnaudio_layer(config: MelConfig, sample_rate: int) -> nn.Module:
    from nnAudio.features.mel import MelSpectrogram

    frames = {"n_fft": config.n_fft, "hop_length": config.hop, "pad_mode": "constant"}
    bands = {"n_mels": config.n_mels, "fmin": config.f_min, "fmax": config.f_max}
    trainable = {"trainable_mel": config.trainable, "trainable_STFT": config.trainable}
    return MelSpectrogram(sample_rate, **frames, **bands, **trainable, verbose=False)
