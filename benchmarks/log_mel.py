"""Log-mel in decibels: ours, nnAudio, torchaudio, flashmel and librosa, each at its own best batch size.

Every competitor turns the same clips, resident on its device, into mel decibels below each clip's peak; on a GPU as it
comes, and compiled. The error is the largest difference from librosa in float64, over all cells within 80 dB of the
peak.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
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
        competitors, limit = _competitors(job, config), _ceiling(config.mel, measured)
        ways = [competitors]
        if n_fft == 1024 and (job.on_gpu or job.dry):
            on_device = {name: each for name, each in competitors.items() if name != "librosa"}
            ways.append({name + COMPILED: (job.compiled(f), place) for name, (f, place) in on_device.items()})
        for way in ways:
            sizes = [4**k for k in range(job.of(2, 6, 7))] if way is competitors else job.of((2,), (), (4096, 1024))
            scan, rows = _rows(job, config, way, noise, limit["clips_per_second"], sizes, threads=1)
            yield "n_fft", rows
            if n_fft == 1024:
                yield (
                    "batch",
                    [{"competitor": name, **{str(n): rate for n, rate in scan[name].items()}} for name in way],
                )
        if n_fft == 1024 and job.on_gpu and "flashmel" not in competitors:
            yield "n_fft", [{"competitor": "flashmel", "n_fft": n_fft, "note": "not installed"}]
        yield "ceiling", [limit]
    config, rows = ModelConfig(), []
    if not job.on_gpu:
        sizes, limit = [4**k for k in range(job.of(1, 5, 0))], _ceiling(config.mel, measured)["clips_per_second"]
        _, rows = _rows(job, config, _competitors(job, config), noise, limit, sizes, job.processes)
        yield "whole", rows
    pooled = _pooled(job, config, noise)
    yield "whole", [against(rows[0], pooled) if rows else pooled]


def _rows(
    job: Job,
    config: ModelConfig,
    competitors: dict[str, tuple[Callable[[Tensor], object], torch.device]],
    noise: Tensor,
    limit: float,
    sizes: Sequence[int],
    threads: int,
) -> tuple[dict[str, dict[int, float]], list[dict]]:
    """Clips a second by batch size, and a row for each competitor at its best size; the first is ours."""

    def calls(size: int, names: Iterable[str] = competitors) -> dict[str, Callable[[], object]]:
        found = {}
        for name in names:
            function, place = competitors[name]
            batches = rotated(noise.to(place), size, job)
            found[name] = quietly(lambda f=function, x=batches: f(next(x)))
        return found

    scan = by_batch(job, calls, sizes, threads)
    chosen = {name: size for name in competitors if (size := best(scan[name]))}
    timed = interleaved(job, {name: calls(size, [name])[name] for name, size in chosen.items()}, threads, seconds=0.4)
    exact, found = baselines.log_mel(noise.numpy().astype(np.float64), config), []
    for name, (function, place) in competitors.items():
        row = {"competitor": name, "n_fft": config.mel.n_fft, "batch": chosen.get(name)}
        row |= rates(timed.get(name, {"note": "failed at every batch size"}), chosen.get(name, 0))
        if "note" not in row:
            with torch.inference_mode():  # a batch as it was timed: another would be compiled anew
                answer = _as_array(function(next(rotated(noise.to(place), chosen[name], job))))
            few = min(len(answer), len(exact))
            row["error_db"] = float(np.abs(answer[:few] - exact[:few]).max())
            row["of_ceiling"] = row["clips_per_second"] / limit
        found.append(against(found[0] if found else row, row))
    return scan, found


def _competitors(job: Job, config: ModelConfig) -> dict[str, tuple[Callable[[Tensor], object], torch.device]]:
    """Functions of a batch, [B, L] -> [B, M, F], and where each wants it."""
    mel, slaney = config.mel, {"norm": "slaney", "mel_scale": "slaney"}
    ours = LogMel(mel, SAMPLE_RATE).to(job.device)
    functions = {
        "ser_gpu": lambda x: ours.decibels(x).squeeze(1),
        "nnAudio": _decibels(MelSpectrogram(**_names(mel, "sr", "fmin", "fmax"), verbose=False).to(job.device)),
        "torchaudio": _decibels(torchaudio.transforms.MelSpectrogram(**_names(mel), **slaney).to(job.device)),
    }
    if find_spec("flashmel") and job.on_gpu:
        from flashmel import MelSpectrogram as FlashMel

        functions["flashmel"] = _decibels(FlashMel(**_names(mel), **slaney).to(job.device))
    found = {name: (function, job.device) for name, function in functions.items()}
    return found | {"librosa": (lambda x: baselines.log_mel(x.numpy(), config), torch.device("cpu"))}


def _pooled(job: Job, config: ModelConfig, noise: Tensor) -> dict:
    """The row of librosa in processes."""
    clips = [*np.resize(noise.numpy(), (job.of(2, 512, 512), noise.shape[1]))]
    name = f"librosa in {job.processes} processes"
    with baselines.Workers(job.processes, job.dry) as workers:
        timed = interleaved(job, {name: lambda: workers.map(baselines.log_mel, clips, config=config)}, job.processes)
    return {"competitor": name, "n_fft": config.mel.n_fft, "batch": len(clips), **rates(timed[name], len(clips))}


def _names(config: MelConfig, rate: str = "sample_rate", lowest: str = "f_min", highest: str = "f_max") -> dict:
    """The settings as torchaudio and flashmel call them, or as others do."""
    frames = {"n_fft": config.n_fft, "hop_length": config.hop, "pad_mode": "constant"}
    return {rate: SAMPLE_RATE, lowest: config.f_min, highest: config.f_max, "n_mels": config.n_mels, **frames}


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
