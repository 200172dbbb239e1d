"""A training as a process of its own, forked from one that has loaded the libraries: it begins seconds sooner."""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# What takes longest to load; a library that is not installed is left out
_LIBRARIES = (
    "torch",
    "torch._dynamo",  # which torch's optimizers load
    "torch_audiomentations",
    "nnAudio.features.mel",
    "sklearn.model_selection",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
)
_NEVER_BEGAN = 'the training did not begin; a script that starts trainings needs `if __name__ == "__main__":`'


def train(arguments: Sequence[str], log: Path, threads: int, environment: Mapping[str, str | None]) -> int:
    """Run `ser-gpu train` and wait for it; its exit code.

    A script that leads here needs `if __name__ == "__main__":`, as with all of `multiprocessing`.

    Args:
        arguments: of the command.
        log: what it prints is added to this file.
        threads: that torch may use.
        environment: variables that it has beside those of this process; None, it has not.
    """
    # Elsewhere a fork of a process that has loaded torch is not safe
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload(list(_LIBRARIES))
    process = context.Process(target=_train, args=(list(arguments), log, threads, dict(environment)))
    with log.open("a", encoding="utf-8") as file:
        before = file.tell()
        process.start()
        process.join()
        if process.exitcode and log.stat().st_size == before:
            ended = f"the training was ended by signal {-process.exitcode} before it began"
            file.write(f"error: {ended if process.exitcode < 0 else _NEVER_BEGAN}\n")
    return process.exitcode


def _train(arguments: list[str], log: Path, threads: int, environment: dict[str, str | None]) -> None:
    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
            stream.reconfigure(encoding="utf-8")
    import torch

    from ser_gpu import train

    torch.set_num_threads(threads)
    sys.exit(train.main(arguments))
