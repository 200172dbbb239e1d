"""What the layers of a network do in evaluation, for one thread's forward passes: threads may have other voices."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from torch import Tensor, nn

_here = threading.local()


class Task(Protocol):
    """What is done instead of normalising by the population, and after the last layer."""

    def normalise(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> the same."""

    def classify(self, layer: nn.Module, x: Tensor, logits: Tensor) -> Tensor:
        """Shape: [B, D], [B, C] -> [B, C]."""


def current() -> Task | None:
    """The task of this thread."""
    return getattr(_here, "task", None)


@contextmanager
def doing(task: Task) -> Iterator[None]:
    """Have this thread's forward passes do it."""
    before = current()
    _here.task = task
    try:
        yield
    finally:
        _here.task = before
