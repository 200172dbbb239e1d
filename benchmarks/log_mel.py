"""Log-mel in decibels: ours, nnAudio, torchaudio, flashmel and librosa, each at its own best batch size.

Every competitor turns the same clips, resident on its device, into mel decibels below each clip's peak; on a GPU as it
comes, and compiled. The error is the largest difference from librosa in float64, over all cells within 80 dB of the
peak.
"""

import math
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np
import torch
import torchaudio
from nnAudio.features import MelSpectrogram
from torch import Tensor, nn

from benchmarks import baselines
from benchmarks.signals import SAMPLE_RATE, SECONDS, fading_noise
from benchmarks.tables import TableForm
from benchmarks.timing import (
    AGAINST_COLUMN,
    COST_COLUMNS,
    RATE_COLUMNS,
    Job,
    against,
    best,
    by_batch,
    ceilings,
    interleaved,
    quietly,
    rates,
    rotated,
)
from ser_gpu.config import MelConfig, ModelConfig
from ser_gpu.stages.mel import LogMel

COMPILED = ", compiled"
_ROW = (
    ("competitor", "", "{}"),
    ("n_fft", "n_fft", "{}"),
    ("batch", "batch", "{:,}"),
    *RATE_COLUMNS,
    AGAINST_COLUMN,
    ("error_db", "error, dB", "{:.1e}"),
    ("of_ceiling", "of ceiling", "{:.1%}"),
    *COST_COLUMNS,
)
TABLES = {
    "n_fft": TableForm("Log-mel of clips of 3 s, one thread, each at its best batch size", _ROW),
    "whole": TableForm("Log-mel of clips of 3 s, n_fft 1024, the whole processor", _ROW),
    "batch": TableForm(
        "Log-mel against the size of the batch, n_fft 1024, one thread: clips/s",
        (("competitor", "", "{}"), *((str(4**k), f"{4**k:,}", "{:,.0f}") for k in range(7))),
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


def run(job: Job) -> Iterator[tuple[str, list[dict]]]:
    """Rows of each table, the most wanted first."""
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = False, True  # TF32 costs nnAudio a decibel
    noise = torch.from_numpy(fading_noise(job.of(2, 64, 64)))
    measured = ceilings(job, threads=1)
    for n_fft in (1024,) if job.dry else (1024, 512, 2048):
        config = ModelConfig(mel=MelConfig(n_fft=n_fft))
        limit = _ceiling(config.mel, measured)
        scan, rows = _rows(job, config, noise, limit["clips_per_second"], threads=1)
        if n_fft == 1024:
            yield (
                "batch",
                [{"competitor": name, **{str(size): rate for size, rate in scan[name].items()}} for name in scan],
            )
        yield "n_fft", rows
        yield "ceiling", [limit]
    config = ModelConfig()
    pooled = _pooled(job, config, noise)
    if job.on_gpu:
        yield "whole", [pooled]
    else:
        _, rows = _rows(job, config, noise, _ceiling(config.mel, measured)["clips_per_second"], job.processes)
        yield "whole", [*rows, against(rows[0], pooled)]


def _rows(
    job: Job, config: ModelConfig, noise: Tensor, limit: float, threads: int
) -> tuple[dict[str, dict[int, float]], list[dict]]:
    """Clips a second by batch size, and a row for each competitor at its best size."""
    competitors = _competitors(job, config)

    def calls(size: int, names: set[str] | dict) -> dict[str, Callable[[], object]]:
        batches = {place: rotated(noise.to(place), size, job) for place in {competitors[name][1] for name in names}}
        return {
            name: quietly(lambda f=competitors[name][0], x=batches[competitors[name][1]]: f(next(x))) for name in names
        }

    eager = [name for name in competitors if not name.endswith(COMPILED)]
    scan = by_batch(job, lambda size: calls(size, eager), [4**k for k in range(job.of(2, 6, 7))], threads)
    sizes = job.of((2,), (), (1024, 4096))  # each size is compiled by itself
    scan |= by_batch(job, lambda size: calls(size, {*competitors} - {*eager}), sizes, threads)
    chosen = {name: size for name in competitors if name in scan and (size := best(scan[name]))}
    timed = interleaved(job, {name: calls(size, {name})[name] for name, size in chosen.items()}, threads, seconds=0.4)
    exact = baselines.log_mel(noise.numpy().astype(np.float64), config)
    rows = {}
    for name, (function, place) in competitors.items():
        rows[name] = {"competitor": name, "n_fft": config.mel.n_fft, "batch": chosen.get(name)}
        if name not in chosen or "note" in timed[name]:
            rows[name] |= timed.get(name, {"note": "does not run here"})
            continue
        with torch.inference_mode():
            answer = function(noise.to(place))
        rows[name] |= rates(timed[name], chosen[name])
        rows[name] |= {
            "error_db": float(np.abs(_as_array(answer) - exact).max()),
            "of_ceiling": rows[name]["clips_per_second"] / limit,
        }
    if "flashmel" not in rows and job.on_gpu:
        rows["flashmel"] = {"competitor": "flashmel", "n_fft": config.mel.n_fft, "note": "not installed"}
    ours = {True: rows.get("ser_gpu" + COMPILED), False: rows["ser_gpu"]}
    like = {name: ours[name.endswith(COMPILED)] or rows["ser_gpu"] for name in rows}
    return scan, [against(like[name], row) for name, row in rows.items()]


def _competitors(job: Job, config: ModelConfig) -> dict[str, tuple[Callable[[Tensor], object], torch.device]]:
    """Functions of a batch, [B, L] -> [B, M, F], and where each wants it."""
    mel, slaney = config.mel, {"norm": "slaney", "mel_scale": "slaney"}
    ours = LogMel(mel, SAMPLE_RATE).to(job.device)
    functions = {
        "ser_gpu": lambda x: ours.decibels(x).squeeze(1),
        "nnAudio": _decibels(MelSpectrogram(**_nnaudio_names(mel), verbose=False).to(job.device)),
        "torchaudio": _decibels(torchaudio.transforms.MelSpectrogram(**_names(mel), **slaney).to(job.device)),
    }
    if find_spec("flashmel") and job.on_gpu:
        from flashmel import MelSpectrogram as FlashMel

        functions["flashmel"] = _decibels(FlashMel(**_names(mel), **slaney).to(job.device))
    if job.on_gpu or job.dry:
        functions |= {name + COMPILED: job.compiled(function) for name, function in functions.items()}
    found = {name: (function, job.device) for name, function in functions.items()}
    return found | {"librosa": (lambda x: baselines.log_mel(x.numpy(), config), torch.device("cpu"))}


def _pooled(job: Job, config: ModelConfig, noise: Tensor) -> dict:
    """The row of librosa in processes."""
    clips = [*np.resize(noise.numpy(), (job.of(2, 512, 512), noise.shape[1]))]
    name = f"librosa in {job.processes} processes"
    with baselines.Workers(job.processes, job.dry) as workers:
        timed = interleaved(job, {name: lambda: workers.map(baselines.log_mel, clips, config=config)}, job.processes)
    return {"competitor": name, "n_fft": config.mel.n_fft, "batch": len(clips), **rates(timed[name], len(clips))}


def _nnaudio_names(config: MelConfig) -> dict:
    return {
        "sr": SAMPLE_RATE,
        "n_fft": config.n_fft,
        "hop_length": config.hop,
        "n_mels": config.n_mels,
        "fmin": config.f_min,
        "fmax": config.f_max,
        "pad_mode": "constant",
    }


def _names(config: MelConfig) -> dict:
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


def _decibels(mel_power: nn.Module) -> Callable[[Tensor], Tensor]:
    """Decibels below the peak."""

    def decibels(waveform: Tensor) -> Tensor:
        level = 10 * mel_power(waveform).clamp(min=1e-10).log10()
        return (level - level.amax(dim=(1, 2), keepdim=True)).clamp(min=-80)

    return decibels


def _as_array(result: object) -> np.ndarray:
    return result.cpu().numpy() if isinstance(result, Tensor) else np.asarray(result)
