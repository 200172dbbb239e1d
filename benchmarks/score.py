"""Very many files: `ser-gpu score` with one and two workers, against predict.py, whole processes, start included.

The files are links to 64 WAV files of 3.0 to 4.5 s at 16 kHz, one in a hundred is no audio. Memory is that of the
process and of all that it starts, what they share counted once.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import soundfile
import torch

from benchmarks.signals import SAMPLE_RATE, recordings
from benchmarks.start import ROOT
from benchmarks.tables import TableForm
from benchmarks.timing import Job

_RECORDINGS = 64
_KILLS = 3
_SAMPLED_SECONDS = 1.0
_COLUMNS = (
    ("command", "", "{}"),
    ("files", "files", "{:,}"),
    ("seconds", "seconds", "{:,.0f}"),
    ("files_per_second", "files/s", "{:,.1f}"),
    ("early_megabytes", "most MB, second third", "{:,.0f}"),
    ("late_megabytes", "most MB, last third", "{:,.0f}"),
    ("failed", "bad files reported", "{:,}"),
)
TABLES = {
    "workers": TableForm("A folder of files to answers", (*_COLUMNS, ("against", "speed, predict.py = 1", "{:.2f}"))),
    "growth": TableForm("How it grows with the number of files, two workers", _COLUMNS),
    "killed": TableForm(
        "Workers killed with -9 in the middle",
        (("files", "files", "{:,}"), ("kills", "kills", "{}"), ("lost", "lost", "{:,}"), ("twice", "twice", "{:,}")),
    ),
    "a_million_hours": TableForm(
        "From the last rate, not run: 10^6 hours of such recordings",
        (("where", "", "{}"), ("hours", "hours", "{:,.0f}")),
    ),
}


@dataclass(frozen=True)
class Watched:
    """A finished process: its exit code, how long it took, and the memory while it ran, in MB."""

    code: int
    seconds: float
    megabytes: tuple[float, ...]


def run(job: Job) -> Iterator[tuple[str, list[dict]]]:
    """Rows of each table."""
    device, sizes = job.device, (60, 120) if job.dry else (10**3, 10**4)
    compared = sizes[1]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        seconds = _make_recordings(place / "recordings")
        folders = {count: _make_links(place, count) for count in sizes}
        one, two = (_score(place, folders[compared], workers, device) for workers in (1, 2))
        predict = _predict(folders[compared], device)
        rows = [predict, one, two]
        yield "workers", [row | {"against": row["files_per_second"] / predict["files_per_second"]} for row in rows]
        growth = [two if count == compared else _score(place, folders[count], 2, device) for count in sizes]
        yield "growth", growth
        yield "killed", [_killed(place, folders[compared], device)]
    rate = growth[-1]["files_per_second"] * seconds  # seconds of recordings a second
    where = "cores, at two workers on two" if device.type == "cpu" else "this GPU"
    share = 2 if device.type == "cpu" else 1
    yield "a_million_hours", [{"where": where, "hours": 10**6 / rate * share}]


def _make_recordings(folder: Path) -> float:
    """Write the recordings; their mean length in seconds."""
    folder.mkdir()
    clips, lengths = recordings(_RECORDINGS)
    for row, (clip, length) in enumerate(zip(clips, lengths, strict=True)):
        soundfile.write(folder / f"{row}.wav", clip[:length].numpy(), SAMPLE_RATE)
    (folder / "bad.wav").write_text("these are words")
    return float(lengths.float().mean()) / SAMPLE_RATE


def _make_links(place: Path, count: int) -> Path:
    """A folder of `count` files, one in a hundred bad."""
    folder = place / f"{count}"
    folder.mkdir()
    for n in range(count):
        name = "bad.wav" if n % 100 == 50 else f"{n % _RECORDINGS}.wav"
        (folder / f"{n:07}.wav").symlink_to(place / "recordings" / name)
    return folder


def _score(place: Path, folder: Path, workers: int, device: torch.device) -> dict:
    out = place / f"answers-{folder.name}-{workers}"
    watched = _watch(_command(folder, out, workers, device))
    found = _table(out)
    count = len(list(folder.iterdir()))
    if watched.code > 1 or len(found) != count:
        raise RuntimeError(f"ser-gpu score ended with {watched.code} and {len(found)} of {count} rows")
    name = f"ser-gpu score, {workers} worker{'s' if workers > 1 else ''}"
    return _row(name, count, watched, int(found["error"].notna().sum()))


def _command(folder: Path, out: Path, workers: int, device: torch.device) -> list[str]:
    gpus = 1 / workers if device.type == "cuda" else 0
    options = ["--out", str(out), "--workers", str(workers), "--gpus", str(gpus)]
    return [sys.executable, "-m", "ser_gpu.score", str(folder), *options]


def _predict(folder: Path, device: torch.device) -> dict:
    watched = _watch([sys.executable, "predict.py", str(folder), "--json", "--device", str(device)])
    count = len(list(folder.iterdir()))
    return _row("predict.py", count, watched, sum(n % 100 == 50 for n in range(count)))


def _row(command: str, files: int, watched: Watched, failed: int) -> dict:
    third = max(1, len(watched.megabytes) // 3)
    return {
        "command": command,
        "files": files,
        "seconds": watched.seconds,
        "files_per_second": files / watched.seconds,
        "early_megabytes": max(watched.megabytes[third : 2 * third] or watched.megabytes),
        "late_megabytes": max(watched.megabytes[-third:]),
        "failed": failed,
    }


def _watch(command: list[str], each_second: object = lambda processes: None) -> Watched:
    """Run a command to its end, and look at its processes every second."""
    megabytes, start = [], time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            processes = _family(process.pid)
            megabytes.append(sum(map(_own_bytes, processes)) / 2**20)
            each_second(processes)
            time.sleep(_SAMPLED_SECONDS)
        return Watched(process.returncode, time.perf_counter() - start, tuple(megabytes))


def _family(pid: int) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []


def _own_bytes(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss
    except psutil.Error:  # it has ended
        return 0


def _killed(place: Path, folder: Path, device: torch.device) -> dict:
    """Kill workers that hold a model, one after the other, a few seconds apart."""
    out, draw, kills = place / "killed", random.Random(0), []

    def kill(processes: list[psutil.Process]) -> None:
        workers = [each for each in processes if "(Answer)" in _title(each)]
        if workers and len(kills) < _KILLS and (not kills or time.monotonic() - kills[-1] > 5):
            os.kill(draw.choice(workers).pid, signal.SIGKILL)
            kills.append(time.monotonic())

    watched = _watch(_command(folder, out, 2, device), kill)
    found, count = _table(out), len(list(folder.iterdir()))
    if watched.code > 1:
        raise RuntimeError(f"ser-gpu score ended with {watched.code}")
    distinct = found["path"].nunique()
    return {"files": count, "kills": len(kills), "lost": count - distinct, "twice": len(found) - distinct}


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _table(out: Path):
    import pandas

    return pandas.read_parquet(out, columns=["path", "error"])
