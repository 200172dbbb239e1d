"""Live: from the end of half a second of sound to the emotion of the last three, on one core."""

import time
from collections.abc import Iterator
from itertools import cycle, islice

import numpy as np

import ser_gpu
from benchmarks.start import SAMPLE
from benchmarks.tables import TableForm
from benchmarks.timing import Job, on_threads
from ser_gpu.audio.samples import load
from ser_gpu.live import STEP_SECONDS

TABLES = {
    "answer": TableForm(
        "Half a second pushed into a stream and answered, one core: milliseconds",
        (
            ("clock", "", "{}"),
            ("median_ms", "median", "{:,.1f}"),
            ("p95_ms", "95th percentile", "{:,.1f}"),
            ("slowest_ms", "slowest", "{:,.1f}"),
            ("real_time_ratio", "real-time factor", "{:.3f}"),
        ),
    )
}


def run(job: Job) -> Iterator[tuple[str, list[dict]]]:
    """A row by the wall and one by the processor: on a machine that does other work, only the second holds."""
    with on_threads(1):
        yield "answer", _rows(ser_gpu.load_model(device=job.device), job.of(5.0, 300.0, 300.0))


def _rows(model: ser_gpu.SpeechEmotionModel, seconds: float) -> list[dict]:
    stream, rate = model.stream(), model.sample_rate
    sound = load(SAMPLE, rate).numpy()
    steps = round(seconds / STEP_SECONDS)
    chunks = np.fromiter(islice(cycle(sound), round(seconds * rate)), np.float32).reshape(steps, -1)
    stream.push(chunks[0]), stream.now()  # the first call loads and plans
    taken: dict[str, list[float]] = {"wall": [], "processor": []}
    for chunk in chunks:
        before = time.perf_counter(), time.process_time()
        stream.push(chunk)
        stream.now()
        taken["wall"].append(time.perf_counter() - before[0])
        taken["processor"].append(time.process_time() - before[1])
    return [
        {
            "clock": clock,
            "median_ms": 1_000 * float(np.median(times)),
            "p95_ms": 1_000 * float(np.percentile(times, 95)),
            "slowest_ms": 1_000 * max(times),
            "real_time_ratio": sum(times) / seconds,
        }
        for clock, times in taken.items()
    ]
