"""Interleaved timing of competitors, and the ceilings of the device in the same run."""

import logging
from collections.abc import Callable

import torch
from threadpoolctl import threadpool_limits

logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # the next import looks for a CUDA toolkit
from torch.utils.benchmark import Timer  # noqa: E402


def interleaved(calls: dict[str, Callable[[], object]], threads: int, rounds: int, seconds: float) -> dict[str, dict]:
    """Seconds a call: the median over the rounds, and the fastest and the slowest round.

    Each round times every call, so that a slow minute hits all alike. The timer waits for the device.

    Args:
        threads: that torch and numpy may use.
        seconds: of timing for each call and round, after a warm-up.
    """
    timers = {name: Timer("call()", globals={"call": call}, num_threads=threads) for name, call in calls.items()}
    for timer in timers.values():
        timer.timeit(1)
    medians: dict[str, list[float]] = {name: [] for name in calls}
    with threadpool_limits(threads):  # numpy's and scipy's, which librosa stands on
        for _ in range(rounds):
            for name, timer in timers.items():
                medians[name].append(timer.blocked_autorange(min_run_time=seconds).median)
    return {
        name: {"median_s": float(torch.tensor(times).median()), "fastest_s": min(times), "slowest_s": max(times)}
        for name, times in medians.items()
    }


def rounds_on(device: torch.device, quick: bool) -> int:
    """How often each competitor is timed: the rounds of a GPU are nearly alike."""
    return 2 if quick else 3 if device.type == "cuda" else 5


def rates(times: dict, clips: int) -> dict[str, float]:
    """Clips a second of one competitor: of the median, the slowest and the fastest round, and those two's distance."""
    return {
        "spread": (times["slowest_s"] - times["fastest_s"]) / times["median_s"],
        "clips_per_second": clips / times["median_s"],
        "slowest_round": clips / times["slowest_s"],
        "fastest_round": clips / times["fastest_s"],
    }


RATE_COLUMNS = (("clips_per_second", "clips/s", "{:,.0f}"), ("spread", "spread", "{:.0%}"))


def ceilings(device: torch.device, threads: int, quick: bool) -> dict[str, float]:
    """What the device can do: bytes a second of a large copy (read and written), float32 FLOP a second of a product."""
    size = 2**22 if quick else 2**27
    side = 512 if quick else 4096 if device.type == "cuda" else 1536
    source = torch.randn(size // 4, device=device)
    target = torch.empty_like(source)
    a, b = torch.randn(side, side, device=device), torch.randn(side, side, device=device)
    out = torch.empty_like(a)
    times = interleaved(
        {"copy": lambda: target.copy_(source), "product": lambda: torch.mm(a, b, out=out)},
        threads,
        rounds=2 if quick else 5,
        seconds=0.05 if quick else 0.5,
    )
    return {
        "bytes_per_second": 2 * size / times["copy"]["fastest_s"],
        "flop_per_second": 2 * side**3 / times["product"]["fastest_s"],
    }


def quietly(call: Callable[[], object]) -> Callable[[], object]:
    """The same call without gradients."""

    def without_gradients() -> object:
        with torch.inference_mode():
            return call()

    return without_gradients
