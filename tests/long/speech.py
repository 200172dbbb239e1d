"""How often speech is found where somebody speaks, and where nobody does."""

import math
from contextlib import suppress

import numpy as np
import torch
import torchaudio.functional as audio

from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.audio.samples import level
from ser_gpu.errors import NoSpeechError
from ser_gpu.model import SpeechEmotionModel

SNR_DB = (20, 10, 5, 0)
DECAYS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)
_RATE = 16_000


def detect(bank: ClipBank, noises: int, seed: int) -> dict:
    """The share of windows in which speech is found.

    Args:
        bank: recordings of speech.
        noises: of each colour, three seconds long.
        seed: of all noise.
    """
    generator = torch.Generator().manual_seed(seed)
    model = SpeechEmotionModel()
    waveforms = (torch.from_numpy(level(bank.waveform(row).cpu().numpy())) for row in range(len(bank)))
    windows = [_first_window(model, waveform) for waveform in waveforms]

    def found(sounds: list[torch.Tensor]) -> float:
        return float(np.mean([_is_speech(model, sound[0].numpy()) for sound in sounds]))

    rows = {"speech": found(windows), "speech, telephone": found([_telephone(clip) for clip in windows])}
    for snr_db in SNR_DB:
        rows[f"speech, white noise at {snr_db} dB"] = found([_noisy(clip, snr_db, generator) for clip in windows])
    for decay in DECAYS:
        rows[f"noise, f^-{decay:g} in amplitude"] = found([_noise(decay, generator) for _ in range(noises)])
    return {"clips": len(bank), "noises_of_each_colour": noises, "seed": seed, "speech_found": rows}


def _is_speech(model: SpeechEmotionModel, sound: np.ndarray) -> bool:
    with suppress(NoSpeechError):
        return any(model.speech((_RATE, sound))[1])  # as `predict` hears it
    return False


def _first_window(model: SpeechEmotionModel, clip: torch.Tensor) -> torch.Tensor:
    """The sound of a clip without the silence around it, as far as the window goes.

    Shape: [T] -> [1, L'] with L' at most L.
    """
    start, end = (int(bound) for bound in model.trim.bounds(clip[None]))
    return clip[None, start:end][:, : model.config.audio.clip_samples]


def _noisy(clip: torch.Tensor, snr_db: float, generator: torch.Generator) -> torch.Tensor:
    return clip + torch.randn(clip.shape, generator=generator) * clip.square().mean().sqrt() * 10 ** (-snr_db / 20)


def _telephone(clip: torch.Tensor) -> torch.Tensor:
    """300 Hz to 4 kHz."""
    narrow = audio.highpass_biquad(audio.resample(clip, _RATE, 8_000), 8_000, 300.0)
    return audio.resample(narrow, 8_000, _RATE)


def _noise(decay: float, generator: torch.Generator) -> torch.Tensor:
    size = 3 * _RATE
    spectrum = torch.fft.rfft(torch.randn(1, size, generator=generator))
    hertz = torch.fft.rfftfreq(size, 1 / _RATE).clamp(min=20.0)
    return torch.fft.irfft(spectrum * hertz**-decay, size) * math.sqrt(size)
