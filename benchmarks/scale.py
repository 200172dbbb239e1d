"""How the cost grows with the number of clips: a stream of batches, none kept; and what a million hours would take."""

import time
from collections.abc import Iterator
from itertools import chain
from statistics import median

import psutil
import torch

import ser_gpu
from benchmarks.signals import recordings
from benchmarks.tables import TableForm
from benchmarks.timing import Job

TABLES = {
    "stream": TableForm(
        "A stream of clips of 3.0 to 4.5 s through the model, without test-time augmentation",
        (
            ("clips", "clips", "{:,}"),
            ("repeats", "repeats", "{}"),
            ("clips_per_second", "clips/s of the median batch", "{:,.0f}"),
            ("seconds", "seconds", "{:,.1f}"),
            ("megabytes", "memory of the process at most, MB", "{:,.0f}"),
        ),
    ),
    "a_million_hours": TableForm(
        "From the last rate, not run: 10^6 hours of speech in windows of 3 s",
        (("clips", "windows", "{:,}"), ("device_hours", "hours of this device", "{:,.0f}")),
    ),
}


def run(job: Job) -> Iterator[tuple[str, list[dict]]]:
    """Rows of each table; a processor stops at 10^5 clips, a GPU at 10^6."""
    model = ser_gpu.load_model(device=job.device).with_voice()
    batch = job.of(16, 64, 1024)
    clips, lengths = (part.to(job.device) for part in recordings(batch))
    sizes = (50, 100) if job.dry else tuple(10**k for k in range(3, 7 if job.on_gpu else 6))
    _stream(model, clips, lengths, batch if job.dry else 4 * batch)
    rows = []
    for size in sizes:
        repeats = max(1, job.of(0, 10**4, 10**4) // size)
        streams = [_stream(model, clips, lengths, size) for _ in range(repeats)]
        rows.append(
            {
                "clips": size,
                "repeats": repeats,
                "clips_per_second": len(clips) / median(chain.from_iterable(taken for taken, _ in streams)),
                "seconds": sum(sum(taken) for taken, _ in streams) / repeats,
                "megabytes": max(resident for _, resident in streams) / 2**20,
            }
        )
    windows = 10**6 * 3_600 // 3
    yield "stream", rows
    hours = windows / rows[-1]["clips_per_second"] / 3_600
    yield "a_million_hours", [{"clips": windows, "device_hours": hours}]


@torch.inference_mode()
def _stream(model, clips: torch.Tensor, lengths: torch.Tensor, count: int) -> tuple[list[float], int]:
    """Seconds of each batch of a stream of `count` clips, and the most bytes that were resident after one.

    Each batch is another mixture of the same recordings, made on the device. The answers are read back batch by batch,
    as a user would.
    """
    process, resident = psutil.Process(), 0
    taken, answered = [], 0.0
    for done in range(0, count, len(clips)):
        start = time.perf_counter()
        size = min(len(clips), count - done)
        waveform = (clips.roll(1 + done // len(clips), dims=0)[:size] + clips[:size]) / 65_536
        logits = model(waveform, lengths[:size], tta=False)
        answered += model.probabilities(logits).cpu().sum().item()
        taken.append(time.perf_counter() - start)
        resident = max(resident, process.memory_info().rss)
    if abs(answered - count) > 1e-3 * count:
        raise RuntimeError(f"{count} clips were sent, and {answered:.1f} answered")
    return taken, resident
