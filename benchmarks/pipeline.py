"""From recorded samples to probabilities: everything on the device, against librosa in processes before the same CNN.

Clips are decoded on both sides. Ours is the network as `predict` prepares it, with the test-time augmentation of the
shipped model, and with one copy of each clip. The error is the largest difference of a probability from that of
librosa's features and the network as it was trained, with as many copies.
"""

import tempfile
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

import ser_gpu
from benchmarks import baselines
from benchmarks.signals import SAMPLE_RATE, recordings
from benchmarks.tables import TableForm
from benchmarks.timing import (
    AGAINST_COLUMN,
    COST_COLUMNS,
    RATE_COLUMNS,
    Job,
    against,
    best,
    by_batch,
    interleaved,
    quietly,
    rates,
)
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.model import SpeechEmotionModel, uploaded

_UPLOADED = 4  # batches in a call
TABLES = {
    "waveform_to_probabilities": TableForm(
        "Waveform to probabilities, the whole processor, clips of 3.0 to 4.5 s",
        (
            ("competitor", "", "{}"),
            ("copies", "copies", "{}"),
            ("batch", "batch", "{:,}"),
            *RATE_COLUMNS,
            AGAINST_COLUMN,
            ("error", "error", "{:.1e}"),
            *COST_COLUMNS,
        ),
    ),
    "before": TableForm(
        "What comes before",
        (("step", "", "{}"), ("clips_per_second", "clips/s", "{:,.0f}"), ("spread", "spread", "{:.0%}")),
    ),
}


def run(job: Job) -> Iterator[tuple[str, list[dict]]]:
    """Rows of each table: first ours, then what librosa does before the same network, last what is compiled."""
    torch.backends.cudnn.benchmark = job.on_gpu
    model = ser_gpu.load_model(device=job.device)
    prepared, table = model.with_voice(), "waveform_to_probabilities"
    clips, lengths = recordings(job.of(4, 64, 2048))
    bank = ClipBank.from_waveforms([clip[:n] for clip, n in zip(clips, lengths, strict=True)], SAMPLE_RATE)
    bank = bank.to(job.device)
    arrays = [clip[:n].numpy() for clip, n in zip(clips, lengths, strict=True)][: job.of(4, 64, 512)]
    with baselines.Workers(job.processes, job.dry) as pool:

        def librosas() -> Tensor:
            found = pool.map(baselines.decibels, arrays, config=model.config)
            return torch.from_numpy(found).unsqueeze(1).to(job.device)

        decibels, ours = librosas(), {}
        expected = {tta: quietly(lambda tta=tta: _network(model, decibels, tta))() for tta in (False, True)}
        ways = (False, True) if model.tta.copies > 1 else (False,)
        for tta in ways:
            sizes = (4,) if job.dry else (256, 1024, 2048) if job.on_gpu else (4, 16, 64)
            scan = by_batch(
                job, lambda size, tta=tta: {"": _resident(prepared, bank, size, tta)}, sizes, torch.get_num_threads()
            )
            size = best(scan[""]) or sizes[0]
            calls = {"ser_gpu": _resident(prepared, bank, size, tta), **_uploads(job, prepared, bank, size, tta)}
            ours[tta] = _rows(job, calls, size, model.tta.copies if tta else 1, expected[tta])
            yield table, ours[tta]
        for tta in ways:
            calls = {
                f"librosa in {job.processes} processes, then the same CNN": lambda t=tta: _network(
                    prepared, librosas(), t
                )
            }
            calls["log-mel computed before, then the same CNN"] = lambda t=tta: _network(prepared, decibels, t)
            calls = {name: quietly(call) for name, call in calls.items()}
            yield table, _rows(job, calls, len(arrays), ours[tta][0]["copies"], expected[tta], ours[tta][0])
    yield "before", _before(job, clips, lengths)
    if job.on_gpu or job.dry:
        first = ours[False][0]
        batch = bank.rows(torch.arange(first["batch"], device=job.device))
        compiled = job.compiled(lambda waveform, n: prepared.probabilities(prepared(waveform, n, tta=False)))
        calls = {"ser_gpu, compiled": quietly(lambda: compiled(*batch))}
        yield table, _rows(job, calls, first["batch"], 1, expected[False], first)


def _rows(
    job: Job, calls: dict[str, Callable[[], Tensor]], size: int, copies: int, expected: Tensor, ours: dict | None = None
) -> list[dict]:
    """A row for each call, whose first answer begins with the first clips."""
    first: dict[str, Tensor] = {}
    asked = {name: lambda name=name: first.setdefault(name, calls[name]()) for name in calls}
    found = []
    for name, taken in interleaved(job, asked, torch.get_num_threads()).items():
        row = {"competitor": name, "copies": copies, "batch": size, **rates(taken, len(first.get(name, ())))}
        if "note" not in row:
            few = min(len(first[name]), len(expected))
            row["error"] = float((first[name][:few].float().cpu() - expected[:few].cpu()).abs().max())
        ours = ours or row
        found.append(against(ours, row))
    return found


def _resident(model: SpeechEmotionModel, bank: ClipBank, size: int, tta: bool) -> Callable[[], Tensor]:
    """A call that answers the next clips of a bank."""
    rows = cycle(torch.arange(len(bank), device=model.device).split(size))
    return quietly(lambda: model.probabilities(model(*bank.rows(next(rows)), tta=tta)))


def _uploads(
    job: Job, model: SpeechEmotionModel, bank: ClipBank, size: int, tta: bool
) -> dict[str, Callable[[], Tensor]]:
    """Calls that answer batches in memory, each of which is uploaded while the one before it is answered."""
    if not (job.on_gpu or job.dry):
        return {}
    parts = (torch.arange(len(bank), device=job.device).split(size) * _UPLOADED)[:_UPLOADED]
    host = [tuple(each.cpu() for each in bank.rows(part)) for part in parts]
    locked = [tuple(each.pin_memory() for each in batch) for batch in host] if job.on_gpu else host

    def answers(batches: list[tuple[Tensor, Tensor]]) -> Tensor:
        found = []
        for waveform, lengths in batches:
            given = uploaded(waveform, job.device), lengths.to(job.device, non_blocking=True)
            found.append(model.probabilities(model(*given, tta=tta)))
        return torch.cat(found).cpu()

    return {
        "ser_gpu, upload included": quietly(lambda: answers(host)),
        "ser_gpu, upload from page-locked memory included": quietly(lambda: answers(locked)),
    }


def _network(model: SpeechEmotionModel, decibels: Tensor, tta: bool) -> Tensor:
    """Probabilities of spectrograms, [B, 1, M, F] -> [B, C]."""
    size = model.windows_at_once
    parts = (model.mel.normalised(model.tta(part) if tta else part) for part in decibels.split(size))
    sizes = (len(part) for part in decibels.split(size))
    return torch.cat([model.probabilities(model.classify(x, n)) for x, n in zip(parts, sizes, strict=True)])


def _before(job: Job, clips: Tensor, lengths: Tensor) -> list[dict]:
    """Decoding, and the upload alone."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.wav" for i in range(job.of(4, 32, 256))]
        for path, clip, length in zip(paths, clips, lengths, strict=False):
            soundfile.write(path, np.repeat(clip[:length].numpy(), 3), 3 * SAMPLE_RATE)
        steps = {"decode 48 kHz WAV and resample to 16 kHz": lambda: ClipBank.read(paths, SAMPLE_RATE)}
        counts = dict.fromkeys(steps, len(paths))
        if job.on_gpu:
            pinned = clips.pin_memory()
            steps["upload, int16"] = lambda: clips.to(job.device)
            steps["upload, int16, page-locked"] = lambda: pinned.to(job.device, non_blocking=True)
        times = interleaved(job, steps, torch.get_num_threads(), rounds=job.of(1, 3, 3))
    return [{"step": name, **rates(taken, counts.get(name, len(clips)))} for name, taken in times.items()]
