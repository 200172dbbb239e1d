"""kill -9 at random moments of a training, in the middle of writing its state too, and the same weights in the end."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

_TRAINING = """
import sys
from tests.long import kills
kills.die_in_write(int(sys.argv.pop(1)))
from ser_gpu import train
sys.exit(train.main(sys.argv[1:]))
"""
_SETTINGS = ("cnn.width=2", "cnn.depth=2", "cnn.members=1", "audio.clip_seconds=1.0")
_LONGEST_SECONDS = 300


def kill(data: Path, folder: Path, count: int, seed: int) -> dict:
    """Train six epochs for each kill, once without and once with the kills; each time the training is resumed.

    Args:
        data: a RAVDESS tree, a small one.
        folder: for both trainings.
        count: kills, every second of them in the middle of writing a file.
        seed: of the moments.
    """
    epochs = 6 * count
    whole, killed = folder / "whole", folder / "killed"
    start = time.monotonic()
    assert _train(data, whole, epochs, kill_after=None, kill_at_write=None) == 0, (folder / "log.txt").read_text()
    duration = time.monotonic() - start  # with the time that Python takes to begin
    generator = random.Random(seed)
    kills = {"moment": 0, "writing": 0}
    while sum(kills.values()) < count:
        writing = sum(kills.values()) % 2 == 1
        after = None if writing else generator.uniform(0.0, 0.5 * duration / count)
        at_write = generator.randint(1, 2) if writing else None
        code = _train(data, killed, epochs, after, at_write)
        if code == -signal.SIGKILL:
            kills["writing" if writing else "moment"] += 1
        elif (killed / "result.json").exists():
            break  # too fast a machine for so many kills: the outcome says how many there were
        else:
            raise RuntimeError(f"exit code {code}: {(folder / 'log.txt').read_text()[-500:]}")
    if not (killed / "result.json").exists():
        assert _train(data, killed, epochs, None, None) == 0, (folder / "log.txt").read_text()
    same = {
        name: (whole / name).read_bytes() == (killed / name).read_bytes() for name in ("last.pth", "predictions.csv")
    }
    return {
        "kills": sum(kills.values()),
        "kills_while_writing": kills["writing"],
        "seconds_uninterrupted": duration,
        "same_weights": same["last.pth"],
        "same_predictions": same["predictions.csv"],
    }


def _train(data: Path, out: Path, epochs: int, kill_after: float | None, kill_at_write: int | None) -> int:
    """A training that is killed some seconds after it began to speak, or in the middle of its nth write; its exit code,
    or -9.
    """
    arguments = ["--data", str(data), "--protocol", "actors5", "--out", str(out), "--batch-size", "64", "--resume"]
    arguments += ["--epochs", str(epochs), "--device", "cpu", "--set", *_SETTINGS]
    path = out.parent / "log.txt"
    with path.open("ab") as log:
        before = log.tell()
        command = [sys.executable, "-c", _TRAINING, str(kill_at_write or 0), *arguments]
        with subprocess.Popen(command, stdout=log, stderr=log) as training:
            until = time.monotonic() + _LONGEST_SECONDS
            if kill_after is not None:
                while training.poll() is None and path.stat().st_size == before and time.monotonic() < until:
                    time.sleep(0.01)
                time.sleep(kill_after)
                training.kill()
            try:
                return training.wait(until - time.monotonic())
            finally:
                training.kill()


def die_in_write(number: int) -> None:
    """Kill this process when half of the `number`th state is written; 0: never."""
    count = 0
    write_whole = Path.write_bytes

    def write_half(path: Path, content: bytes) -> int:
        nonlocal count
        count += 1
        if count != number:
            return write_whole(path, content)
        write_whole(path, content[: len(content) // 2])
        return os.kill(os.getpid(), signal.SIGKILL)

    Path.write_bytes = write_half
