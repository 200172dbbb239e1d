"""Many files: `ser-gpu predict` on a folder of them, start included and apart, against one file at a time; each step.

The files are WAV of 48 kHz, 16 bits and 3.0 to 4.5 s. The error is the largest difference of a probability from the
same weights' on one file at a time.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

import ser_gpu
from benchmarks.signals import SAMPLE_RATE, recordings
from benchmarks.start import ROOT, subprocess_run
from benchmarks.tables import TableForm
from benchmarks.timing import AGAINST_COLUMN, COST_COLUMNS, RATE_COLUMNS, Job, against, interleaved, quietly, rates
from ser_gpu import checkpoint
from ser_gpu.audio.reader import open_audio
from ser_gpu.audio.samples import resample
from ser_gpu.model import SpeechEmotionModel, uploaded
from ser_gpu.predict import side_by_side

FILE_RATE = 48_000
_LIBROSA = """
import json, pathlib, sys
import librosa, ser_gpu
model = ser_gpu.load_model(device=sys.argv[2])
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    samples, _ = librosa.load(path, sr=model.sample_rate)
    print(json.dumps({"file": str(path), "probabilities": model.predict(samples).probabilities}))
"""
_RATES = (("clips_per_second", "files/s", "{:,.1f}"), RATE_COLUMNS[1])
_COLUMNS = (
    ("competitor", "", "{}"),
    ("files", "files", "{:,}"),
    *_RATES,
    AGAINST_COLUMN,
    ("error", "error", "{:.1e}"),
    COST_COLUMNS[-1],
)
TABLES = {
    "process": TableForm(
        "A folder of files to labels as a whole process, start included, the whole processor", _COLUMNS
    ),
    "running": TableForm("Files to labels in a running process, the whole processor", _COLUMNS),
    "steps": TableForm(
        "The steps in a running process, one after the other, one thread",
        (("step", "", "{}"), ("milliseconds", "ms a file", "{:,.2f}"), *_RATES, COST_COLUMNS[-1]),
    ),
}


def run(job: Job) -> Iterator[tuple[str, list[dict]]]:
    """Rows of each table."""
    with tempfile.TemporaryDirectory() as folder:
        paths = _write_files(Path(folder) / "files", job.of(3, 300, 300))
        own = checkpoint.weights_file()
        weights = {"ser_gpu": own} if job.dry or job.on_gpu else _variants(own, Path(folder))
        few = paths[: job.of(3, 64, 64)]
        given = ["-m", "ser_gpu.predict", str(paths[0].parent), "--json", "--device"]
        for name, path in weights.items():
            model = ser_gpu.load_model(path, device=job.device)
            expected = _array([model.predict(each).probabilities for each in few])
            yield "running", [_running(job, name, model, paths, expected)]
            commands = {name: ([*given, str(job.device), "--weights", str(path)], ROOT)}
            if path == own and job.on_gpu:
                commands["ser_gpu, on the processor"] = ([*given, "cpu", "--weights", str(path)], ROOT)
            if path == own and job.other:
                commands[f"ser_gpu in {job.other.name}"] = ([*given, str(job.device)], job.other)
            rows = _processes(job, commands, len(paths), expected, job.of(1, 5, 2))
            yield "process", rows
            if path == own:
                yield "steps", _steps(job, model, paths[: job.of(3, 100, 100)])
                librosa = ["-c", _LIBROSA, str(paths[0].parent), str(job.device)]
                commands = {"librosa.load, then the same model, file by file": (librosa, ROOT)}
                yield "process", _processes(job, commands, len(paths), expected, job.of(1, 5, 1), rows[0])


def _variants(own: Path, folder: Path) -> dict[str, Path]:
    """The shipped weights, the default first, with test-time augmentation and without."""
    found = {}
    for path in (own, *sorted(set(own.parent.glob("*.pth")) - {own})):
        content, name = checkpoint.migrated(checkpoint.read(path)), f"ser_gpu, {path.stem}"
        found["ser_gpu" if path == own else name] = path
        if content["config"]["tta"]["enabled"]:
            content["config"]["tta"]["enabled"] = False
            checkpoint.write(folder / path.name, content)
            found[f"{name}, one copy"] = folder / path.name
    return found


def _write_files(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    paths = []
    for row, (clip, length) in enumerate(zip(*recordings(count), strict=True)):
        paths.append(folder / f"{row:04}.wav")
        samples = resample((clip[:length] / 32_768).numpy(), SAMPLE_RATE, FILE_RATE)
        soundfile.write(paths[-1], samples, FILE_RATE)
    return paths


def _processes(
    job: Job,
    commands: dict[str, tuple[list[str], Path]],
    count: int,
    expected: np.ndarray,
    rounds: int,
    ours: dict | None = None,
) -> list[dict]:
    """Whole processes, by their arguments and the checkout that they run in; the first is ours, unless it is given."""
    answers: dict[str, np.ndarray] = {}

    def answer(name: str) -> None:
        lines = subprocess_run(*commands[name]).splitlines()
        answers[name] = _array([json.loads(line)["probabilities"] for line in lines])

    calls = {name: lambda name=name: answer(name) for name in commands}
    found = []
    for name, taken in interleaved(job, calls, torch.get_num_threads(), seconds=0, rounds=rounds).items():
        row = {"competitor": name, "files": count, **rates(taken, count)}
        if "note" not in row and commands[name][1] == ROOT:
            row["error"] = float(np.abs(answers[name][: len(expected)] - expected).max())
        ours = ours or row
        found.append(against(ours, row))
    return found


def _running(job: Job, name: str, model: SpeechEmotionModel, paths: list[Path], expected: np.ndarray) -> dict:
    many = (paths * 10)[: job.of(3, 1_000, 1_000)]

    def answer() -> list:
        with side_by_side(model, len(many)) as workers:
            return [each.probabilities for each in model.predict_many(many, **workers)]

    taken = interleaved(job, {name: answer}, torch.get_num_threads(), rounds=job.of(1, 3, 3))[name]
    row = {"competitor": name, "files": len(many), **rates(taken, len(many))}
    if "note" not in row:
        row["error"] = float(np.abs(_array(answer()[: len(expected)]) - expected).max())
    return row


def _array(answers: list[dict[str, float]]) -> np.ndarray:
    """A row a file, columns in the order of the labels' names."""
    return np.array([[row[label] for label in sorted(row)] for row in answers])


def _steps(job: Job, model: SpeechEmotionModel, paths: list[Path]) -> list[dict]:
    prepared, found = model.with_voice(), []

    def timed(step: str, work: Callable[[], list]) -> list:
        taken = interleaved(job, {step: quietly(work)}, threads=1, rounds=job.of(1, 3, 3))[step]
        row = {"step": step, **rates(taken, len(paths))}
        found.append(row if "note" in row else row | {"milliseconds": 1e3 / row["clips_per_second"]})
        return work()

    read = timed("read", lambda: [_read(path) for path in paths])
    waveforms = timed("resample", lambda: [resample(clip, FILE_RATE, SAMPLE_RATE) for clip in read])
    spoken = timed("find speech", lambda: [_windows(model, waveform) for waveform in waveforms])
    batches = torch.from_numpy(np.concatenate(spoken)).split(model.windows_at_once)
    if job.on_gpu:
        timed("upload", lambda: [uploaded(batch, job.device) for batch in batches])
    there = [batch.to(job.device) for batch in batches]
    with torch.inference_mode():
        timed("network as it predicts", lambda: [_answer(prepared, batch, tta=True) for batch in there])
        timed("network, one copy", lambda: [_answer(prepared, batch, tta=False) for batch in there])
    return found


def _read(path: Path) -> np.ndarray:
    with open_audio(path) as (_, blocks):
        return np.concatenate(list(blocks), axis=1)[0]


def _windows(model: SpeechEmotionModel, waveform: np.ndarray) -> np.ndarray:
    _, pieces = model.speech(waveform)
    return np.concatenate([piece.samples for piece in pieces])


def _answer(model: SpeechEmotionModel, windows: Tensor, tta: bool) -> Tensor:
    return model.probabilities(model(windows, tta=tta))
