"""Many files: `ser-gpu predict` on a folder of them, start included, against one file after the other; and each step.

The files are WAV of 48 kHz, 16 bits and 3.0 to 4.5 s. The error is the largest difference of a probability from the
same model's on one file at a time.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

import ser_gpu
from benchmarks.signals import SAMPLE_RATE, recordings
from benchmarks.tables import TableForm
from benchmarks.timing import RATE_COLUMNS, rates
from ser_gpu.audio.reader import open_audio
from ser_gpu.audio.samples import resample
from ser_gpu.model import SpeechEmotionModel

ROOT = Path(__file__).resolve().parent.parent
FILE_RATE = 48_000
_TOGETHER = 8
_FILE_BY_FILE = """
import json, pathlib, sys
import ser_gpu
model = ser_gpu.load_model(device=sys.argv[2])
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    print(json.dumps({"file": str(path), "probabilities": model.predict(path).probabilities}))
"""
_LIBROSA = """
import json, pathlib, sys
import librosa, ser_gpu
model = ser_gpu.load_model(device=sys.argv[2])
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    samples, _ = librosa.load(path, sr=model.sample_rate)
    print(json.dumps({"file": str(path), "probabilities": model.predict(samples).probabilities}))
"""
TABLES = {
    "process": TableForm(
        "A folder of files to labels as a whole process, start included, the whole processor",
        (
            ("competitor", "", "{}"),
            ("files", "files", "{:,}"),
            *(("clips_per_second", "files/s", "{:,.1f}"), RATE_COLUMNS[1]),
            ("ours_against", "ser_gpu, times as fast", "{:.2f}"),
            ("error", "error", "{:.1e}"),
        ),
    ),
    "steps": TableForm(
        "The steps in a running process, one after the other, the whole processor",
        (("step", "", "{}"), ("milliseconds", "ms a file", "{:,.2f}"), ("clips_per_second", "files/s", "{:,.0f}")),
    ),
}


def run(device: torch.device, quick: bool, processes: int) -> dict[str, list[dict]]:
    """Rows of each table."""
    with tempfile.TemporaryDirectory() as folder:
        paths = _write_files(Path(folder), 8 if quick else 300)
        return {
            "process": _processes(Path(folder), len(paths), device, quick),
            "steps": _steps(paths[:100], device),
        }


def _write_files(folder: Path, count: int) -> list[Path]:
    paths = []
    for row, (clip, length) in enumerate(zip(*recordings(count), strict=True)):
        paths.append(folder / f"{row:04}.wav")
        samples = resample((clip[:length] / 32_768).numpy(), SAMPLE_RATE, FILE_RATE)
        soundfile.write(paths[-1], samples, FILE_RATE)
    return paths


def _processes(folder: Path, count: int, device: torch.device, quick: bool) -> list[dict]:
    commands = {
        "ser_gpu": ["-m", "ser_gpu.predict", str(folder), "--json", "--device", str(device)],
        "ser_gpu, file by file": ["-c", _FILE_BY_FILE, str(folder), str(device)],
        "librosa.load, then the same model, file by file": ["-c", _LIBROSA, str(folder), str(device)],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    answers = {}
    for _ in range(1 if quick else 2 if device.type == "cuda" else 5):
        for name, arguments in commands.items():
            start = time.perf_counter()
            done = subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
            taken[name].append(time.perf_counter() - start)
            answers[name] = _probabilities(done.stdout)
    times = {
        name: {"median_s": float(np.median(each)), "fastest_s": min(each), "slowest_s": max(each)}
        for name, each in taken.items()
    }
    return [
        {
            "competitor": name,
            "files": count,
            **rates(times[name], count),
            "ours_against": times[name]["median_s"] / times["ser_gpu"]["median_s"],
            "error": float(np.abs(answers[name] - answers["ser_gpu, file by file"]).max()),
        }
        for name in commands
    ]


def _probabilities(lines: str) -> np.ndarray:
    """A row a file, columns in the order of the labels' names."""
    rows = [json.loads(line)["probabilities"] for line in lines.splitlines()]
    return np.array([[row[label] for label in sorted(row)] for row in rows])


def _steps(paths: list[Path], device: torch.device) -> list[dict]:
    model = ser_gpu.load_model(device=device)
    rows = []

    def timed(step: str, work: Callable[[], list]) -> list:
        work()
        start = time.perf_counter()
        result = work()
        seconds = (time.perf_counter() - start) / len(paths)
        rows.append({"step": step, "milliseconds": 1_000 * seconds, "clips_per_second": 1 / seconds})
        return result

    read = timed("read", lambda: [_read(path) for path in paths])
    samples = timed("resample", lambda: [resample(clip.numpy(), FILE_RATE, SAMPLE_RATE) for clip in read])
    waveforms = [torch.from_numpy(clip) for clip in samples]
    spoken = timed("find speech", lambda: [_windows(model, waveform) for waveform in waveforms])
    batches = torch.cat(spoken).to(device).split(_TOGETHER)
    timed("model, with test-time augmentation", lambda: [_answer(model, batch, tta=True) for batch in batches])
    timed("model, without", lambda: [_answer(model, batch, tta=False) for batch in batches])
    return rows


def _read(path: Path) -> Tensor:
    with open_audio(path) as (_, blocks):
        return torch.from_numpy(np.concatenate(list(blocks), axis=1)[0])


def _windows(model: SpeechEmotionModel, waveform: Tensor) -> Tensor:
    _, pieces = model.speech(waveform)
    return torch.from_numpy(np.concatenate([piece.samples for piece in pieces]))


@torch.inference_mode()
def _answer(model: SpeechEmotionModel, windows: Tensor, tta: bool) -> Tensor:
    return model.probabilities(model(windows, tta=tta)).cpu()
