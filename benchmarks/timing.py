"""Interleaved timing of competitors: each round times every one of them, so that a slow minute hits all alike."""

from collections.abc import Callable

import torch
from torch.utils.benchmark import Timer


def interleaved(calls: dict[str, Callable[[], object]], threads: int, rounds: int, seconds: float) -> dict[str, dict]:
    """Seconds a call: the median over the rounds, and the fastest and the slowest round.

    Args:
        threads: that torch may use.
        seconds: of timing for each call and round, after a warm-up.
    """
    timers = {name: Timer("call()", globals={"call": call}, num_threads=threads) for name, call in calls.items()}
    for timer in timers.values():
        timer.timeit(1)
    medians: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, timer in timers.items():
            medians[name].append(timer.blocked_autorange(min_run_time=seconds).median)
    return {
        name: {"median_s": float(torch.tensor(times).median()), "fastest_s": min(times), "slowest_s": max(times)}
        for name, times in medians.items()
    }
