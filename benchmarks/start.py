"""The start: `predict.py` as a whole process beside `import torch`, and one clip in a running process."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import ser_gpu
from benchmarks.tables import TableForm
from benchmarks.timing import Job
from ser_gpu.audio.samples import load

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "examples" / "sample.wav"
_COLUMNS = (
    ("way", "", "{}"),
    ("median_ms", "median", "{:,.1f}"),
    ("p95_ms", "95th percentile", "{:,.1f}"),
    ("fastest_ms", "fastest", "{:,.1f}"),
)
TABLES = {
    "process": TableForm(
        "One clip as a whole process, start included: milliseconds",
        (*_COLUMNS, ("against_torch", "x import torch", "{:.2f}")),
    ),
    "clip": TableForm("One clip in a running process, the whole processor: milliseconds", _COLUMNS),
}


def run(job: Job) -> Iterator[tuple[str, list[dict]]]:
    """Rows of each table: one a way to ask."""
    model = ser_gpu.load_model(device=job.device)
    samples = load(SAMPLE, model.sample_rate)
    asked = {
        "model.predict(samples)": lambda: model.predict(samples),
        "model.predict(path)": lambda: model.predict(SAMPLE),
    }
    yield "clip", rows(asked, job.of(2, 300, 100))
    predict = ["predict.py", str(SAMPLE), "--device"]
    commands = {"python -c 'import torch'": ["-c", "import torch"], "predict.py, on the processor": [*predict, "cpu"]}
    if job.on_gpu:
        commands["a first number on the GPU"] = ["-c", "import torch; torch.zeros(1, device='cuda').cpu()"]
        commands["predict.py, on the GPU"] = [*predict, str(job.device)]
    started = {name: lambda given=given: subprocess_run(given) for name, given in commands.items()}
    found = rows(started, job.of(1, 11, 2))
    yield "process", [row | {"against_torch": row["median_ms"] / found[0]["median_ms"]} for row in found]


def subprocess_run(arguments: list[str], folder: Path = ROOT) -> str:
    """What Python with these arguments prints, in the folder of a checkout."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def rows(calls: dict[str, Callable[[], object]], rounds: int) -> list[dict]:
    """Time the calls in turn, one call a round, after a warm-up where there are many."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + (rounds > 2)):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            taken[name].append(1000 * (time.perf_counter() - start))
    timed = {name: times[-rounds:] for name, times in taken.items()}
    return [
        {
            "way": name,
            "median_ms": float(np.median(times)),
            "p95_ms": float(np.percentile(times, 95)),
            "fastest_ms": min(times),
            "spread": (max(times) - min(times)) / float(np.median(times)),
        }
        for name, times in timed.items()
    ]
