"""Thousands of files through predict.py, some of them bad: all answered or listed, in order, in level memory."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import soundfile

ROOT = Path(__file__).resolve().parent.parent.parent
BAD = {
    "empty": lambda path: path.touch(),
    "text": lambda path: path.write_text("these are words"),
    "no samples": lambda path: soundfile.write(path, np.zeros(0), 16_000),
    "silent": lambda path: soundfile.write(path, np.zeros(16_000), 16_000),
    "not finite": lambda path: soundfile.write(path, np.full(8_000, np.nan), 16_000, subtype="FLOAT"),
}


def predict_many(
    voices: list[np.ndarray], count: int, folder: Path, seed: int, start_process: type = subprocess.Popen
) -> dict:
    """Make `count` files, one in a hundred bad, and predict the folder as a process.

    Args:
        voices: the recordings of the good ones, each [T] at 16 kHz.
        count: files.
        folder: to fill; empty.
        seed: of which are bad.
        start_process: as `subprocess.Popen`.
    """
    bad = _fill(folder, voices, count, seed)
    command = [sys.executable, "predict.py", str(folder), "--json"]
    start, megabytes, rows = time.perf_counter(), [], []
    with (
        (folder.parent / "stderr.txt").open("w+") as errors,
        start_process(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        watched = psutil.Process(process.pid)
        for line in process.stdout:
            rows.append(json.loads(line))
            if len(rows) == 1:
                first = time.perf_counter() - start
            if len(rows) % max(1, count // 20) == 0:
                with suppress(psutil.NoSuchProcess):  # it may have ended, and its last rows are still in the pipe
                    megabytes.append(watched.memory_info().rss / 2**20)
        code = process.wait()
        errors.seek(0)
        listed = errors.read().splitlines()
    expected = sorted(str(path) for path in folder.iterdir())
    return {
        "files": count,
        "bad": len(bad),
        "seed": seed,
        "exit_code": code,
        "in_order": [row["file"] for row in rows] == expected,
        "answered": sum("emotion" in row for row in rows),
        "all_bad_listed": {row["file"] for row in rows if "error" in row} == {str(path) for path in bad},
        "error_lines": len(listed),
        "each_error_names_its_file": all(row["file"] in row["error"] for row in rows if "error" in row),
        "seconds": time.perf_counter() - start,
        "seconds_to_the_first_answer": first,
        "megabytes_early": float(np.median(megabytes[:5])),  # a moment may be that of a batch at work
        "megabytes_late": float(np.median(megabytes[-5:])),
    }


def interrupt(voices: list[np.ndarray], count: int, folder: Path, after: int) -> dict:
    """Ctrl-C after some answers."""
    _fill(folder, voices, count, seed=0)
    command = [sys.executable, "predict.py", str(folder), "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(after)]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate()
    rows = [json.loads(line) for line in [*lines, *rest.splitlines()]]
    return {"exit_code": process.returncode, "answers": len(rows), "last_error_line": errors.splitlines()[-1]}


def _fill(folder: Path, voices: list[np.ndarray], count: int, seed: int) -> list[Path]:
    """Good files are links to a few recordings, so that ten thousand of them fit anywhere; the bad ones' paths."""
    store = folder.parent / "recordings"
    store.mkdir()
    for number, voice in enumerate(voices):
        soundfile.write(store / f"{number}.wav", voice, 16_000)
    folder.mkdir()
    spoilt = set(random.Random(seed).sample(range(count), round(count / 100)))
    bad = []
    for number in range(count):
        path = folder / f"{number:06} é.wav"
        if number in spoilt:
            list(BAD.values())[len(bad) % len(BAD)](path)
            bad.append(path)
        else:
            os.link(store / f"{number % len(voices)}.wav", path)
    return bad
