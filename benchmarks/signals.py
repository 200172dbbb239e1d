"""What is fed to the benchmarks: synthetic clips, the same for every competitor."""

import numpy as np
import torch
from torch import Tensor

SAMPLE_RATE = 16_000
SECONDS = 3
_DISTINCT = 8  # each takes a while to make


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


def gliding_voice(hertz: float, tilt: float, samples: int, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A gliding tone with three moving formants, which silero-vad takes for speech.

    Args:
        hertz: pitch, around which it glides by 6 %.
        tilt: how fast the harmonics fall off.

    Shape: -> [samples] float64.
    """
    time = np.arange(samples) / sample_rate
    pitch = hertz * (1 + 0.06 * np.cos(4 * np.pi * time))
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    formants = [
        (centre * (1 + 0.5 * np.sin(3 * np.pi * time + place)), width)
        for place, (centre, width) in enumerate(((500, 60), (1_500, 100), (2_500, 120)))
    ]
    tone = np.zeros(samples)
    for harmonic in range(1, int(3_500 / hertz) + 1):
        loudness = 0.1 + sum(1 / (1 + ((harmonic * pitch - centre) / width) ** 2) for centre, width in formants)
        tone += 3 * harmonic**-tilt * loudness * np.sin(harmonic * phase)
    return tone


def recordings(count: int) -> tuple[Tensor, Tensor]:
    """Clips as long as RAVDESS's: a voice that comes and goes, between stretches of near silence; after eight the same.

    Shape: -> [count, T] int16, [count] int64 samples of each.
    """
    generator = torch.Generator().manual_seed(0)
    own = min(count, _DISTINCT)
    lengths = torch.randint(round(3.0 * SAMPLE_RATE), round(4.5 * SAMPLE_RATE), (own,), generator=generator)
    time = torch.arange(round(4.5 * SAMPLE_RATE)) / SAMPLE_RATE
    clips = torch.empty(own, len(time), dtype=torch.int16)
    for row, length in enumerate(lengths.tolist()):
        pitch = 90 + 110 * float(torch.rand((), generator=generator))
        voice = torch.from_numpy(gliding_voice(pitch, 0.6, len(time))).float()
        syllables = torch.sin(2 * torch.pi * 2 * time).square()
        speech = syllables * ((time > 0.9) & (time < length / SAMPLE_RATE - 1))
        clip = 0.08 * voice * speech + 1e-4 * torch.randn(len(time), generator=generator)
        clip[length:] = 0
        clips[row] = (clip * 32_767).round().clamp(-32_768, 32_767).to(torch.int16)
    rows = torch.arange(count) % own
    return clips[rows], lengths[rows]


def pitch_of(waveform: np.ndarray) -> float:
    """Frequency in Hz of the strongest peak of the middle second, by a parabola through its logarithm.

    Shape: [L].
    """
    samples = np.asarray(waveform, dtype=np.float64)[SAMPLE_RATE : 2 * SAMPLE_RATE]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * len(samples)))
    peak = int(spectrum.argmax())
    left, top, right = np.log(spectrum[peak - 1 : peak + 2])
    return (peak + 0.5 * (left - right) / (left - 2 * top + right)) * SAMPLE_RATE / (8 * len(samples))
