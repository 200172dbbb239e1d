"""Log-mel in decibels: ours by FFT and by convolution, nnAudio as it comes, and librosa clip by clip.

Every competitor turns the same clips, resident on its device, into mel decibels below each clip's peak. The error is
the largest difference from librosa in float64, over all cells within 80 dB of the peak.
"""

from collections.abc import Callable

import librosa
import numpy as np
import torch
from nnAudio.features import MelSpectrogram
from torch import Tensor

from benchmarks.timing import interleaved
from ser_gpu.config import MelConfig
from ser_gpu.stages.mel import LogMel

SAMPLE_RATE = 16_000
SECONDS = 3
TITLE = "Log-mel, one thread: 3-second clips a second, and error against librosa in float64"
COLUMNS = {
    "competitor": ("", "{}"),
    "n_fft": ("n_fft", "{}"),
    "clips_per_second": ("clips/s", "{:,.0f}"),
    "slowest_round": ("slowest", "{:,.0f}"),
    "fastest_round": ("fastest", "{:,.0f}"),
    "against_librosa": ("x librosa", "{:.2f}"),
    "error_db": ("error, dB", "{:.1e}"),
}


def run(device: torch.device, quick: bool) -> list[dict]:
    """Rows of the table: one a competitor and FFT length."""
    batch = 8 if quick else 64
    generator = np.random.default_rng(0)
    waveforms = (0.1 * generator.normal(size=(batch, SAMPLE_RATE * SECONDS))).astype(np.float32)
    waveforms *= np.linspace(0, 1, waveforms.shape[1], dtype=np.float32) ** 2  # covers the 80 dB
    rows = []
    for n_fft in (1024,) if quick else (512, 1024, 2048):
        calls = _competitors(MelConfig(n_fft=n_fft), waveforms, device)
        exact = _librosa(waveforms.astype(np.float64), MelConfig(n_fft=n_fft))
        times = interleaved(calls, threads=1, rounds=2 if quick else 7, seconds=0.1 if quick else 1.0)
        for name, call in calls.items():
            error = np.abs(np.asarray(torch.as_tensor(call()).cpu()) - exact).max()
            rows.append(
                {
                    "competitor": name,
                    "n_fft": n_fft,
                    "batch": batch,
                    "clips_per_second": batch / times[name]["median_s"],
                    "slowest_round": batch / times[name]["slowest_s"],
                    "fastest_round": batch / times[name]["fastest_s"],
                    "against_librosa": times["librosa, clip by clip"]["median_s"] / times[name]["median_s"],
                    "error_db": float(error),
                }
            )
    return rows


def _competitors(config: MelConfig, waveforms: np.ndarray, device: torch.device) -> dict[str, Callable[[], object]]:
    resident = torch.from_numpy(waveforms).to(device)
    stock = MelSpectrogram(**_settings(config), verbose=False).to(device)
    ours = {
        backend: LogMel(MelConfig(n_fft=config.n_fft, backend=backend), SAMPLE_RATE).to(device)
        for backend in ("fft", "conv")
    }
    return {
        "ser_gpu, fft": _without_gradients(lambda: ours["fft"].decibels(resident)),
        "ser_gpu, conv": _without_gradients(lambda: ours["conv"].decibels(resident)),
        "nnAudio as it comes": _without_gradients(lambda: _decibels(stock(resident))),
        "librosa, clip by clip": lambda: _librosa(waveforms, config),
    }


def _settings(config: MelConfig) -> dict:
    """The keywords that nnAudio and librosa share."""
    return {
        "sr": SAMPLE_RATE,
        "n_fft": config.n_fft,
        "hop_length": config.hop,
        "n_mels": config.n_mels,
        "fmin": config.f_min,
        "fmax": config.f_max,
        "pad_mode": "constant",
    }


def _without_gradients(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def quiet() -> Tensor:
        with torch.inference_mode():
            return call()

    return quiet


def _decibels(power: Tensor) -> Tensor:
    level = 10 * power.clamp(min=1e-10).log10()
    return (level - level.amax(dim=(1, 2), keepdim=True)).clamp(min=-80)


def _librosa(waveforms: np.ndarray, config: MelConfig) -> np.ndarray:
    def one(waveform: np.ndarray) -> np.ndarray:
        power = librosa.feature.melspectrogram(y=waveform, **_settings(config), dtype=waveform.dtype)
        return librosa.power_to_db(power, ref=np.max, top_db=80)

    return np.stack([one(waveform) for waveform in waveforms])
