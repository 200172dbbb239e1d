"""Ranks of a training: processes that know of each other as torchrun would tell them."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TextIO

from tests.conftest import ROOT


def python(module: str, *arguments: object, ranks: int | None = None) -> list[str]:
    """The command of a module; with a number of ranks, started by torchrun."""
    launch = ["-m", "torch.distributed.run", f"--nproc-per-node={ranks}", "--standalone"] if ranks else []
    return [sys.executable, *launch, "-m", module, *map(str, arguments)]


def started(count: int, command: list[str], log: TextIO) -> list[subprocess.Popen]:
    """So many processes with what torchrun gives each, but forked; they print to a file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    sizes = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    own = ({"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count))
    environments = [{**os.environ, **each, **sizes, **rendezvous} for each in own]
    return [subprocess.Popen(command, cwd=ROOT, env=each, stdout=log, stderr=log) for each in environments]


def run(count: int, command: list[str], log: Path) -> tuple[list[int], str]:
    """Exit codes of so many ranks, and what all of them printed."""
    with log.open("a") as file:
        return [rank.wait(timeout=400) for rank in started(count, command, file)], log.read_text()
