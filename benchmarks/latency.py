"""One clip: from samples to an emotion in a running process, and `predict.py` as a whole process, start included."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import ser_gpu
from benchmarks.tables import TableForm
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
    "clip": TableForm("One clip in a running process, the whole processor: milliseconds", _COLUMNS),
    "process": TableForm(
        "One clip as a whole process, start included: milliseconds",
        (*_COLUMNS, ("against_torch", "x import torch", "{:.2f}")),
    ),
}


def run(device: torch.device, quick: bool, processes: int) -> dict[str, list[dict]]:
    """Rows of each table: one a way to ask."""
    model = ser_gpu.load_model(device=device)
    samples = load(SAMPLE, model.sample_rate)
    asked = {
        "model.predict(samples)": lambda: model.predict(samples),
        "model.predict(path)": lambda: model.predict(SAMPLE),
    }
    commands = {
        "python -c 'import torch'": ["-c", "import torch"],
        "python predict.py clip.wav": ["predict.py", str(SAMPLE), "--device", str(device)],
    }
    started = {
        name: lambda a=arguments: subprocess.run([sys.executable, *a], cwd=ROOT, check=True, capture_output=True)
        for name, arguments in commands.items()
    }
    processes_rows = _rows(started, 2 if quick else 3 if device.type == "cuda" else 11)
    for row in processes_rows:
        row["against_torch"] = row["median_ms"] / processes_rows[0]["median_ms"]
    return {"clip": _rows(asked, 10 if quick else 300), "process": processes_rows}


def _rows(calls: dict[str, Callable[[], object]], rounds: int) -> list[dict]:
    """Time the calls in turn, one call a round, after a warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn > 0:
                taken[name].append(1000 * (time.perf_counter() - start))
    return [
        {
            "way": name,
            "median_ms": float(np.median(times)),
            "p95_ms": float(np.percentile(times, 95)),
            "fastest_ms": min(times),
        }
        for name, times in taken.items()
    ]
