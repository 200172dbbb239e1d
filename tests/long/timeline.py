"""A long recording becomes a timeline: memory, time, the same from a pipe, and what Ctrl-C leaves."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import soundfile

from tests.long.memory import ROOT, watch

SAMPLE = ROOT / "examples" / "sample.wav"
RATE = 48_000
_PAUSE_SECONDS = 0.7
_COMMAND = (sys.executable, "-m", "ser_gpu.timeline")
_LIMIT_SECONDS = 36_000.0


def long_recording(
    minutes: float,
    on_sample: Callable[[], None] = lambda: None,
    share: float = 0.5,
    start_process: type = subprocess.Popen,
) -> dict:
    """One stereo MP3 at 48 kHz as JSON, VTT and PNG by one command, again through a pipe, and again with Ctrl-C after
    a share of the processor's time; each is started as `subprocess.Popen` does.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = folder / "talk.mp3"
        _write(recording, minutes)
        start = time.perf_counter()
        outputs = ("--format", "json,vtt", "--out", str(folder / "talk"), "--plot", str(folder / "talk.png"))
        watched = watch([*_COMMAND, str(recording), *outputs], _LIMIT_SECONDS, on_sample, start_process)
        seconds = time.perf_counter() - start
        whole = json.loads((folder / "talk.json").read_text(encoding="utf-8"))
        written = sorted(path.name for path in folder.iterdir() if path != recording)
        piped, busy_seconds = _through_a_pipe(recording, folder, start_process)
        return {
            "minutes": whole["seconds"] / 60,
            "seconds": seconds,
            "exit_code": watched["exit_code"],
            "written": written,
            "segments": len(whole["segments"]),
            **{key: watched[key] for key in ("megabytes_early", "megabytes_late", "megabytes_peak")},
            "pipe_gives_the_same": piped == whole["segments"],
            "interrupted": _interrupted(recording, folder, share * busy_seconds, whole["segments"], start_process),
        }


def _write(path: Path, minutes: float) -> None:
    """The shipped voice again and again, softer each second time, with pauses between."""
    import soxr

    voice, rate = soundfile.read(SAMPLE, dtype="float32")
    voice = soxr.resample(voice, rate, RATE)
    turn = np.concatenate([voice, np.zeros(round(_PAUSE_SECONDS * RATE), np.float32)])
    with soundfile.SoundFile(path, "w", RATE, 2, format="MP3") as file:
        for number in range(max(1, round(60 * minutes * RATE / len(turn)))):
            file.write(np.stack([turn, 0.5 * turn], axis=1) / (1 + number % 2))


def _through_a_pipe(recording: Path, folder: Path, start_process: type) -> tuple[list[dict], float]:
    """The segments, and the seconds that the processor was busy with it."""
    out = folder / "piped.json"
    with subprocess.Popen(["cat", str(recording)], stdout=subprocess.PIPE) as reader:
        process = start_process([*_COMMAND, "-", "--out", str(out)], stdin=reader.stdout, cwd=ROOT)
        busy = _busy_until(process, float("inf"))
    return json.loads(out.read_text(encoding="utf-8"))["segments"], busy


def _busy_until(process: subprocess.Popen, most: float) -> float:
    """Wait until a process ends or the processor was busy with it for so many seconds; how many there were."""
    watched, busy = psutil.Process(process.pid), 0.0
    while process.poll() is None and busy < most:
        with suppress(psutil.NoSuchProcess):  # it has just ended
            busy = sum(watched.cpu_times()[:2])
        time.sleep(0.05)
    return busy


def _interrupted(recording: Path, folder: Path, busy_seconds: float, whole: list[dict], start_process: type) -> dict:
    """Ctrl-C: the exit code, the seconds that were kept, and whether all but the last of their segments are the same;
    the last one may have gone on.
    """
    out = folder / "kept.json"
    process = start_process([*_COMMAND, str(recording), "--out", str(out)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    _busy_until(process, busy_seconds)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    kept = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {"seconds": 0.0, "segments": []}
    sure = max(0, len(kept["segments"]) - 1)
    return {
        "exit_code": process.returncode,
        "kept_seconds": kept["seconds"],
        "kept_is_the_same": kept["segments"][:sure] == whole[:sure],
        "said_so": "kept the first" in said,
    }
