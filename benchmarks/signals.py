"""What is fed to the benchmarks: synthetic clips, the same for every competitor."""

import numpy as np
import torch
from torch import Tensor

SAMPLE_RATE = 16_000
SECONDS = 3


def fading_noise(batch: int) -> np.ndarray:
    """Noise that grows from nothing, so that its spectrogram covers the whole 80 dB.

    Shape: -> [batch, L] float32.
    """
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((batch, SAMPLE_RATE * SECONDS), dtype=np.float32)
    return 0.1 * noise * np.linspace(0, 1, noise.shape[1], dtype=np.float32) ** 2


def tones(hertz: float, batch: int) -> Tensor:
    """A steady tone.

    Shape: -> [batch, L] float32.
    """
    time = torch.arange(SAMPLE_RATE * SECONDS, dtype=torch.float64) / SAMPLE_RATE
    return torch.sin(2 * torch.pi * hertz * time).float().repeat(batch, 1)


def recordings(count: int) -> tuple[Tensor, Tensor]:
    """Clips as long as RAVDESS's: a buzz of harmonics that comes and goes, between stretches of near silence.

    Shape: -> [count, T] int16, [count] int64 samples of each.
    """
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(round(3.0 * SAMPLE_RATE), round(4.5 * SAMPLE_RATE), (count,), generator=generator)
    time = torch.arange(round(4.5 * SAMPLE_RATE)) / SAMPLE_RATE
    clips = torch.empty(count, len(time), dtype=torch.int16)
    for row, length in enumerate(lengths.tolist()):
        pitch = 90 + 200 * torch.rand((), generator=generator)
        buzz = sum(torch.sin(2 * torch.pi * k * pitch * time) / k for k in range(1, 12))
        speech = torch.sin(2 * torch.pi * 2.5 * time).clamp(min=0) * ((time > 0.9) & (time < length / SAMPLE_RATE - 1))
        clip = 0.2 * buzz * speech + 1e-4 * torch.randn(len(time), generator=generator)
        clip[length:] = 0
        clips[row] = (clip * 32_767).round().clamp(-32_768, 32_767).to(torch.int16)
    return clips, lengths


def pitch_of(waveform: np.ndarray) -> float:
    """Frequency in Hz of the strongest peak of the middle second, by a parabola through its logarithm.

    Shape: [L].
    """
    samples = np.asarray(waveform, dtype=np.float64)[SAMPLE_RATE : 2 * SAMPLE_RATE]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * len(samples)))
    peak = int(spectrum.argmax())
    left, top, right = np.log(spectrum[peak - 1 : peak + 2])
    return (peak + 0.5 * (left - right) / (left - 2 * top + right)) * SAMPLE_RATE / (8 * len(samples))
