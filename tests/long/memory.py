"""An hour of prediction and an hour of training: how much memory after the first minute, and at the end."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import soundfile

ROOT = Path(__file__).resolve().parent.parent.parent
_SETTLED_SECONDS = 60.0
_PREDICT = """
import itertools, sys
import ser_gpu
from ser_gpu.audio.reader import AudioError
model = ser_gpu.load_model(device="cpu")
for count, path in enumerate(itertools.cycle(sys.argv[1:]), start=1):
    try:
        model.predict(path)
    except AudioError:
        pass
    if count % 10 == 0:
        print(count, flush=True)
"""


def prediction(
    voices: list[np.ndarray],
    seconds: float,
    on_sample: Callable[[], None] = lambda: None,
    start_process: type = subprocess.Popen,
) -> dict:
    """Predict files of many lengths and kinds, bad ones among them, over and over in one process."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, voice in enumerate(voices):
            for suffix in ("wav", "flac", "ogg", "mp3"):
                files.append(Path(folder) / f"{number}.{suffix}")
                soundfile.write(files[-1], np.tile(voice, 1 + 7 * number), 16_000)
        files.append(Path(folder) / "words.wav")
        files[-1].write_text("these are words")
        return watch([sys.executable, "-c", _PREDICT, *map(str, files)], seconds, on_sample, start_process)


def long_recording(voice: np.ndarray, hours: float) -> dict:
    """Predict one recording of ten minutes and one of some hours, both stereo at 48 kHz, and watch each process."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (600.0, 3_600.0 * hours):
            path = Path(folder) / "long.flac"
            with soundfile.SoundFile(path, "w", 48_000, 2, subtype="PCM_16") as file:
                stereo = np.stack([voice, 0.5 * voice], axis=1)
                for _ in range(round(seconds * 48_000 / len(voice))):
                    file.write(stereo)
            start = time.perf_counter()
            watched = watch([sys.executable, "predict.py", str(path), "--top", "1"], seconds=3_600.0)
            rows.append(
                {
                    "minutes": seconds / 60,
                    "seconds": time.perf_counter() - start,
                    "exit_code": watched["exit_code"],
                    **{name: watched[name] for name in ("megabytes_early", "megabytes_late", "megabytes_peak")},
                }
            )
    return {"recordings": rows}


def training(
    arguments: Sequence[str],
    seconds: float,
    on_sample: Callable[[], None] = lambda: None,
    start_process: type = subprocess.Popen,
) -> dict:
    """Train with these arguments of `ser_gpu.train`."""
    return watch([sys.executable, "-m", "ser_gpu.train", *arguments], seconds, on_sample, start_process)


def peak_megabytes() -> float:
    """The largest resident memory that this process had. (Not `ru_maxrss`: a process starts with its parent's.)"""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def watch(
    command: Sequence[str],
    seconds: float,
    on_sample: Callable[[], None] = lambda: None,
    start_process: type = subprocess.Popen,
) -> dict:
    """Sample the resident memory of a command once a second until it ends, or its time is over.

    Args:
        command: with its arguments.
        seconds: the most that are watched.
        on_sample: called after each sample.
        start_process: as `subprocess.Popen`.

    Returns:
        Seconds watched; megabytes after the first minute (or half of the time, if that is less) and at the end, the
        median of a minute each; the peak; the median of every minute; and the last line of output, which tells how
        much was done.
    """
    samples: list[tuple[float, float]] = []
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = start_process(command, cwd=ROOT, stdout=output, stderr=output)
        watched = psutil.Process(process.pid)
        while (passed := time.monotonic() - start) < seconds and process.poll() is None:
            with suppress(psutil.NoSuchProcess):  # it has just ended
                samples.append((passed, watched.memory_info().rss / 2**20))
            on_sample()
            time.sleep(min(1.0, seconds / 20))
        ended = process.poll()
        process.kill()
        process.wait()
        output.seek(0)
        last = output.read().strip().splitlines()[-1:]
    at, megabytes = np.array(samples).T
    settled = min(_SETTLED_SECONDS, at[-1] / 2)
    return {
        "seconds": float(at[-1]),
        "exit_code": ended,
        "megabytes_early": float(np.median(megabytes[(at >= settled) & (at <= 2 * settled)])),
        "megabytes_late": float(np.median(megabytes[at >= at[-1] - settled])),
        "megabytes_peak": float(megabytes.max()),
        "megabytes_by_minute": [
            round(float(np.median(megabytes[(at >= 60 * minute) & (at < 60 * (minute + 1))])), 1)
            for minute in range(int(at[-1] // 60))
        ],
        "last_line": last[0] if last else "",
    }
