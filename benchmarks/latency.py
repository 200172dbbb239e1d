"""One clip: from samples to an emotion in a running process, and `predict.py` as a whole process, start included."""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch

import ser_gpu
from benchmarks.timing import interleaved
from ser_gpu.data.waveform import load

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "weights" / "ser_ravdess.pth"
SAMPLE = ROOT / "examples" / "sample.wav"
TITLE = "One clip: milliseconds from input to emotion"
COLUMNS = {
    "way": ("", "{}"),
    "median_ms": ("median", "{:,.1f}"),
    "fastest_ms": ("fastest", "{:,.1f}"),
    "slowest_ms": ("slowest", "{:,.1f}"),
}


def run(device: torch.device, quick: bool) -> list[dict]:
    """Rows of the table: one a way to ask."""
    model = ser_gpu.load_model(WEIGHTS, device)
    samples = load(SAMPLE, model.sample_rate)
    calls = {
        "model.predict(samples)": lambda: model.predict(samples),
        "model.predict(path)": lambda: model.predict(SAMPLE),
    }
    rounds = 3 if quick else 9
    times = interleaved(calls, threads=torch.get_num_threads(), rounds=rounds, seconds=0.1 if quick else 1.0)
    processes = {
        "python -c 'import torch'": ["-c", "import torch"],
        "python predict.py clip.wav": ["predict.py", str(SAMPLE), "--device", str(device)],
    }
    return [
        *(
            {
                "way": name,
                "median_ms": 1000 * row["median_s"],
                "fastest_ms": 1000 * row["fastest_s"],
                "slowest_ms": 1000 * row["slowest_s"],
            }
            for name, row in times.items()
        ),
        *_processes(processes, 2 if quick else 7),
    ]


def _processes(commands: dict[str, list[str]], rounds: int) -> list[dict]:
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    return [
        {
            "way": name,
            "median_ms": 1000 * median(taken),
            "fastest_ms": 1000 * min(taken),
            "slowest_ms": 1000 * max(taken),
        }
        for name, taken in seconds.items()
    ]
