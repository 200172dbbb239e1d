"""Ray for the length of a command: a cluster, or one of its own on this machine; and its errors as one line."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ser_gpu.errors import InputError, require

OBJECT_STORE_BYTES = 2**29
_STARTS = 3


@contextmanager
def connected(address: str | None, cores: int | None = None) -> Iterator[None]:
    """Ray: the one that this process has already, the cluster at an address, or one of its own on this machine.

    Args:
        cores: that Ray may use on this machine; left out, all.

    Raises:
        ValueError: there is no cluster, or Ray does not start.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    import ray

    ray_was_there = ray.is_initialized()
    if not ray_was_there:
        _start(address, cores)
    try:
        yield
    finally:
        if not ray_was_there:
            ray.shutdown()


def _start(address: str | None, cores: int | None) -> None:
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is not None:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InputError(f"--address {address}: no Ray cluster there ({first_line(error)})") from None
        return
    size = {"num_cpus": cores, "object_store_memory": OBJECT_STORE_BYTES}
    for attempt in range(_STARTS):
        try:
            ray.init("local", include_dashboard=False, **size, **quiet)
            return
        except Exception as error:  # Ray gives its processes 15 s to start, which a busy machine may not have
            ray.shutdown()
            if attempt == _STARTS - 1:
                raise InputError(f"Ray does not start on this machine ({first_line(error)})") from None


def gpus_of_each(asked: float | None) -> float:
    """How many GPUs a worker gets: as many as are asked for, else one where the cluster has any."""
    import ray

    return float(ray.cluster_resources().get("GPU", 0) > 0) if asked is None else asked


@contextmanager
def tasks(address: str | None, cores: int, gpus: float | None) -> Iterator[Callable[[Callable, Sequence], Iterator]]:
    """A `map` whose calls are tasks of Ray, of which as many run as there is room for.

    Args:
        address: of the cluster; None, Ray on this machine.
        cores: of each task.
        gpus: of each task; None, one where the cluster has any.
    """
    require("ray", "ray")
    with connected(address), one_line("tasks of Ray"):
        import ray

        def run_each(function: Callable, items: Sequence) -> Iterator:
            options = {"num_cpus": cores, "num_gpus": gpus_of_each(gpus), "max_retries": 0}
            task = ray.remote(lambda item: function(item)).options(**options)
            return map(ray.get, [task.remote(item) for item in items])

        yield run_each


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Errors of Ray's workers as errors of this process, which are one line.

    Args:
        what: is not finished where Ray itself fails.

    Raises:
        OSError, ValueError: as the worker raised it.
        ValueError: workers or machines are lost.
    """
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        cause = _cause(error)
        if cause is not None:
            raise type(cause)(first_line(cause)) from None  # below it Ray may give advice
        said = str(error).strip().splitlines() or [type(error).__name__]
        last = said[-1] if isinstance(error, ray.exceptions.RayTaskError) else said[0]  # below the worker's traceback
        raise InputError(f"{what}: not finished, the same command goes on; Ray says: {last}") from None


def _cause(error: BaseException | None) -> OSError | ValueError | None:
    """The error of our own that a worker met, however Ray has wrapped it."""
    import ray

    while error is not None:
        if isinstance(error, OSError | ValueError) and not isinstance(error, ray.exceptions.RayError):
            return error
        error = getattr(error, "cause", None) or error.__cause__
    return None


def first_line(error: Exception) -> str:
    """What an error says first."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
