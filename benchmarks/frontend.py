"""Log-mel in decibels: ours by FFT and by convolution, nnAudio, torchaudio and librosa as they come.

Every competitor turns the same clips, resident on its device, into mel decibels below each clip's peak. The error is
the largest difference from librosa in float64, over all cells within 80 dB of the peak.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import torch
import torchaudio
from nnAudio.features import MelSpectrogram
from torch import Tensor, nn

from benchmarks import baselines
from benchmarks.signals import SAMPLE_RATE, SECONDS, fading_noise
from benchmarks.tables import TableForm
from benchmarks.timing import RATE_COLUMNS, ceilings, interleaved, quietly, rates, rounds_on
from ser_gpu.config import MelConfig, ModelConfig
from ser_gpu.stages.mel import LogMel

LIBROSA = "librosa, clip by clip"
_LONGEST_CALL_SECONDS = 2.0
TABLES = {
    "n_fft": TableForm(
        "Log-mel, one thread, 64 clips of 3 s (1,024 on a GPU): speed, and error against librosa in float64",
        (
            ("competitor", "", "{}"),
            ("n_fft", "n_fft", "{}"),
            *RATE_COLUMNS,
            ("against_librosa", "x librosa", "{:.2f}"),
            ("error_db", "error, dB", "{:.1e}"),
            ("of_ceiling", "of ceiling", "{:.1%}"),
        ),
    ),
    "batch": TableForm(
        "Log-mel against the size of the batch, n_fft 1024, one thread: clips/s",
        (("competitor", "", "{}"), *((str(4**k), f"{4**k:,}", "{:,.0f}") for k in range(7))),
    ),
    "processes": TableForm(
        "Log-mel, n_fft 1024, the whole processor: clips/s",
        (("competitor", "", "{}"), *RATE_COLUMNS, ("against_librosa", "x librosa", "{:.2f}")),
    ),
    "ceiling": TableForm(
        "The ceiling: the longer of bytes over bandwidth and FLOP over the rate of a matrix product, one thread",
        (
            ("n_fft", "n_fft", "{}"),
            ("bytes", "bytes a clip", "{:,.0f}"),
            ("flop", "FLOP a clip", "{:,.0f}"),
            ("gigabytes_per_second", "GB/s measured", "{:,.1f}"),
            ("gigaflop_per_second", "GFLOP/s measured", "{:,.0f}"),
            ("clips_per_second", "clips/s at most", "{:,.0f}"),
        ),
    ),
}


def run(device: torch.device, quick: bool, processes: int) -> dict[str, list[dict]]:
    """Rows of each table."""
    measured = ceilings(device, threads=1, quick=quick)
    sizes = (1024,) if quick else (512, 1024, 2048)
    limits = [_ceiling(MelConfig(n_fft=n_fft), measured) for n_fft in sizes]
    return {
        "n_fft": [row for limit in limits for row in _by_n_fft(limit, device, quick)],
        "batch": _by_batch(device, quick),
        "processes": _by_processes(device, quick, processes),
        "ceiling": limits,
    }


def _by_n_fft(limit: dict, device: torch.device, quick: bool) -> list[dict]:
    batch = 8 if quick else 64
    config = ModelConfig(mel=MelConfig(n_fft=limit["n_fft"]))
    waveforms = fading_noise(batch)
    resident = torch.from_numpy(waveforms).to(device)
    if device.type == "cuda" and not quick:
        resident = resident.repeat(16, 1)
    calls = {name: quietly(lambda f=f: f(resident)) for name, f in _on_device(config.mel, device).items()}
    if device.type == "cuda":
        compiled = _compiled(config.mel, device)
        calls["ser_gpu, fft, compiled"] = quietly(lambda: compiled(resident))
    clips = dict.fromkeys(calls, len(resident))
    calls |= {
        "librosa, batched": lambda: baselines.log_mel(waveforms, config),
        LIBROSA: lambda: [baselines.log_mel(waveform, config) for waveform in waveforms],
    }
    exact = baselines.log_mel(waveforms.astype(np.float64), config)
    times = interleaved(calls, threads=1, rounds=rounds_on(device, quick), seconds=0.02 if quick else 0.4)
    rate = {name: rates(times[name], clips.get(name, batch)) for name in calls}
    return [
        {
            "competitor": name,
            "n_fft": config.mel.n_fft,
            "batch": clips.get(name, batch),
            **rate[name],
            "against_librosa": rate[name]["clips_per_second"] / rate[LIBROSA]["clips_per_second"],
            "error_db": float(np.abs(_as_array(call())[:batch] - exact).max()),
            "of_ceiling": rate[name]["clips_per_second"] / limit["clips_per_second"],
        }
        for name, call in calls.items()
    ]


def _by_batch(device: torch.device, quick: bool) -> list[dict]:
    """Batches up to 4,096, as far as one call of a competitor ends within a few seconds."""
    rows: dict[str, dict] = {}
    for size in [4**k for k in range(3 if quick else 7)]:
        calls = _calls_of_batch(size, device)
        for name in list(calls):
            row = rows.setdefault(name, {"competitor": name})
            if size > 1 and size / row.get(str(size // 4), 1e-9) > _LONGEST_CALL_SECONDS:
                del calls[name]
        times = interleaved(calls, threads=1, rounds=2, seconds=0.02 if quick else 0.2)
        for name, taken in times.items():
            rows[name][str(size)] = size / taken["median_s"]
    return list(rows.values())


def _calls_of_batch(size: int, device: torch.device) -> dict[str, Callable[[], object]]:
    config = ModelConfig()
    waveforms = np.resize(fading_noise(64), (size, SAMPLE_RATE * SECONDS))
    resident = torch.from_numpy(waveforms).to(device)
    calls = {name: quietly(lambda f=f: f(resident)) for name, f in _on_device(config.mel, device).items()}
    return calls | {"librosa, batched": lambda: baselines.log_mel(waveforms, config)}


def _by_processes(device: torch.device, quick: bool, processes: int) -> list[dict]:
    batch = 16 if quick else 512
    config = ModelConfig()
    waveforms = np.resize(fading_noise(16), (batch, SAMPLE_RATE * SECONDS))
    resident = torch.from_numpy(waveforms).to(device)
    ours = _on_device(config.mel, device)["ser_gpu, fft"]
    pooled = f"librosa, {processes} processes"
    with baselines.Workers(processes, quick) as workers:
        calls = {
            f"ser_gpu, fft, {device.type}": quietly(lambda: ours(resident)),
            pooled: lambda: workers.map(baselines.log_mel, list(waveforms), config=config),
        }
        times = interleaved(calls, processes, rounds=rounds_on(device, quick), seconds=0.02 if quick else 0.4)
    return [
        {
            "competitor": name,
            **rates(taken, batch),
            "against_librosa": times[pooled]["median_s"] / taken["median_s"],
        }
        for name, taken in times.items()
    ]


def _on_device(config: MelConfig, device: torch.device) -> dict[str, Callable[[Tensor], Tensor]]:
    """Every competitor that takes a batch on the device."""
    names = {
        "sr": SAMPLE_RATE,
        "n_fft": config.n_fft,
        "hop_length": config.hop,
        "n_mels": config.n_mels,
        "fmin": config.f_min,
        "fmax": config.f_max,
        "pad_mode": "constant",
        "verbose": False,
    }
    slaney = {"norm": "slaney", "mel_scale": "slaney"}
    theirs: dict[str, nn.Module] = {
        "nnAudio": MelSpectrogram(**names),
        "torchaudio": torchaudio.transforms.MelSpectrogram(**_torchaudio_names(config), **slaney),
    }
    if find_spec("nnAudio2"):
        from nnAudio2.features.mel import MelSpectrogram as MelSpectrogram2

        theirs["nnAudio2"] = MelSpectrogram2(**names)
    if find_spec("flashmel") and device.type == "cuda":
        from flashmel import MelSpectrogram as FlashMel

        theirs["flashmel"] = FlashMel(**_torchaudio_names(config), **slaney)
    ours = {
        f"ser_gpu, {backend}": _decibels(LogMel(replace(config, backend=backend), SAMPLE_RATE).to(device))
        for backend in ("fft", "conv")
    }
    return ours | {name: _exact_decibels(module.to(device)) for name, module in theirs.items()}


def _compiled(config: MelConfig, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Ours by FFT; `torch.compile` makes one kernel of what lies before the FFT, and one of what lies behind it."""
    return torch.compile(_decibels(LogMel(replace(config, backend="fft"), SAMPLE_RATE).to(device)), dynamic=False)


def _torchaudio_names(config: MelConfig) -> dict:
    return {
        "sample_rate": SAMPLE_RATE,
        "n_fft": config.n_fft,
        "hop_length": config.hop,
        "n_mels": config.n_mels,
        "f_min": config.f_min,
        "f_max": config.f_max,
        "pad_mode": "constant",
    }


def _ceiling(config: MelConfig, measured: dict[str, float]) -> dict:
    """What the transform must move and compute at the least: each sample read and each cell written once."""
    samples = SAMPLE_RATE * SECONDS
    frames, bins = samples // config.hop + 1, config.n_fft // 2 + 1
    moved = 4 * (samples + config.n_mels * frames)
    window, fft, power = config.n_fft, 2.5 * config.n_fft * math.log2(config.n_fft), 3 * bins
    mel = 2 * 2 * bins  # two triangles overlap at each bin
    flop = frames * (window + fft + power + mel)
    seconds = max(moved / measured["bytes_per_second"], flop / measured["flop_per_second"])
    return {
        "n_fft": config.n_fft,
        "bytes": moved,
        "flop": flop,
        "gigabytes_per_second": measured["bytes_per_second"] / 1e9,
        "gigaflop_per_second": measured["flop_per_second"] / 1e9,
        "clips_per_second": 1 / seconds,
    }


def _decibels(mel: LogMel) -> Callable[[Tensor], Tensor]:
    return lambda waveform: mel.decibels(waveform).squeeze(1)


def _exact_decibels(mel_power: nn.Module) -> Callable[[Tensor], Tensor]:
    """Decibels below the peak; convolutions without TF32, which would cost about a decibel."""

    def decibels(waveform: Tensor) -> Tensor:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
            power = mel_power(waveform)
        level = 10 * power.clamp(min=1e-10).log10()
        return (level - level.amax(dim=(1, 2), keepdim=True)).clamp(min=-80)

    return decibels


def _as_array(result) -> np.ndarray:
    return result.cpu().numpy() if isinstance(result, Tensor) else np.asarray(result)
