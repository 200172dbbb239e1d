"""kill -9 at random moments of a training, in the middle of writing its state too, and the same weights in the end."""

import os
import random
import signal
import time
from importlib import import_module
from pathlib import Path

_OF_A_TRAINING = (
    "ser_gpu.train",
    "torch_audiomentations",
    "torch._dynamo",  # which torch's optimizers load
    "sklearn.model_selection",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
)


def kill(data: Path, folder: Path, count: int, seed: int) -> dict:
    """Train `count` epochs, once without and once with as many kills; each time the training is resumed.

    Args:
        data: a RAVDESS tree, a small one.
        folder: for both trainings.
        count: kills, every fourth of them in the middle of writing a file.
        seed: of the moments.

    This process is forked: it must have no threads.
    """
    for name in _OF_A_TRAINING:
        import_module(name)  # once, for all forks

    whole, killed = folder / "whole", folder / "killed"
    start = time.monotonic()
    assert _train(data, whole, count, kill_after=None, kill_at_write=None) == 0, (folder / "log.txt").read_text()
    duration = time.monotonic() - start
    generator = random.Random(seed)
    kills = {"moment": 0, "writing": 0}
    while sum(kills.values()) < count:
        writing = sum(kills.values()) % 4 == 3
        after = None if writing else generator.uniform(0.0, 1.2 * duration / count)
        at_write = generator.randint(1, 2) if writing else None
        code = _train(data, killed, count, after, at_write)
        if code == -signal.SIGKILL:
            kills["writing" if writing else "moment"] += 1
        elif (killed / "result.json").exists():
            break  # too fast a machine for so many kills: the outcome says how many there were
        else:
            raise RuntimeError(f"exit code {code}: {(folder / 'log.txt').read_text()[-500:]}")
    if not (killed / "result.json").exists():
        assert _train(data, killed, count, None, None) == 0, (folder / "log.txt").read_text()
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
    """Fork a training and kill it after some seconds, or in the middle of its nth write; its exit code, or -9."""
    from ser_gpu import train

    child = os.fork()
    if child == 0:
        signal.alarm(300)  # ends it, should it hang
        log = os.open(out.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if kill_at_write is not None:
            _die_in_write(kill_at_write)
        settings = ["cnn.width=2", "cnn.depth=2", "cnn.members=1", "audio.clip_seconds=1.0"]
        arguments = ["--data", str(data), "--protocol", "actors5", "--out", str(out), "--batch-size", "64"]
        more = ["--epochs", str(epochs), "--device", "cpu", "--resume", "--set", *settings]
        os._exit(train.main([*arguments, *more]))
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _die_in_write(number: int) -> None:
    """Kill this process when half of the `number`th state is written."""
    count = 0

    def write_half(path: Path, content: bytes) -> None:
        nonlocal count
        count += 1
        with path.open("wb") as file:
            file.write(content if count < number else content[: len(content) // 2])
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    Path.write_bytes = write_half
