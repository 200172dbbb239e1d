"""Interleaved timing of competitors, with their energy and memory on a GPU; and the ceilings of the device."""

import ctypes
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import median

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

_LONGEST_CALL_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """What a benchmark is to do: on which device, in a dry run with tiny sizes, with how many processes at most, and
    which other checkout of this project is to be timed too."""

    device: torch.device
    dry: bool = False
    processes: int = 1
    other: Path | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether the device is one of CUDA."""
        return self.device.type == "cuda"

    def of(self, dry: object, cpu: object, gpu: object) -> object:
        """A setting by the kind of run."""
        return dry if self.dry else gpu if self.on_gpu else cpu

    def compiled(self, function: Callable) -> Callable:
        """By `torch.compile`; away from a GPU only traced, which finds the same mistakes sooner."""
        torch._dynamo.config.recompile_limit = 64  # of all functions of one line in one file
        return torch.compile(function, dynamic=False, backend="inductor" if self.on_gpu else "eager")


def interleaved(
    job: Job, calls: dict[str, Callable[[], object]], threads: int, seconds: float = 0.5, rounds: int | None = None
) -> dict[str, dict]:
    """Seconds a call: the median over the rounds, and the fastest and the slowest round; a note where a call fails.

    Each round times every call, so that a slow minute hits all alike; on a GPU between two events.

    Args:
        threads: that torch and numpy may use.
        seconds: of timing for each call and round, after a warm-up; 0 for one call a round without it.
        rounds: left out, three on a GPU, whose rounds are nearly alike, and five elsewhere.
    """
    meter, found = EnergyMeter(job.device), {name: {"taken": [], "joules": 0.0, "bytes": None} for name in calls}
    counts = dict.fromkeys(calls, 1)

    def warm_up(name: str) -> None:
        calls[name]()  # compiles, and chooses kernels
        if job.on_gpu:
            torch.cuda.reset_peak_memory_stats(job.device)
            before = torch.cuda.memory_allocated(job.device)
        once = _seconds(calls[name], 1, job)
        if job.on_gpu:
            found[name]["bytes"] = torch.cuda.max_memory_allocated(job.device) - before
        counts[name] = 1 if job.dry else max(1, int(seconds / once))

    def measure(name: str) -> None:
        before = meter.joules()
        found[name]["taken"].append(_seconds(calls[name], counts[name], job))
        found[name]["joules"] += (meter.joules() - before) / counts[name]

    with on_threads(threads):
        for step in [warm_up] * (seconds > 0) + [measure] * (rounds or job.of(1, 5, 3)):
            for name in calls:
                try:
                    if "note" not in found[name]:
                        step(name)
                except Exception as error:  # one that does not fit, or cannot be compiled, must not end the others
                    found[name] = {"note": failure(error)}
    for each in (each for each in found.values() if "note" not in each):
        taken = each.pop("taken")
        each |= {"median_s": median(taken), "fastest_s": min(taken), "slowest_s": max(taken)}
        each["joules"] = each["joules"] / len(taken) or None
    return found


def failure(error: Exception) -> str:
    """A note of one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]


def _seconds(call: Callable[[], object], count: int, job: Job) -> float:
    """Seconds of one of `count` calls, one after the other."""
    if not job.on_gpu:
        start = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - start) / count
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(job.device)
    begin.record()
    for _ in range(count):
        call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3 / count


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Torch, and numpy and scipy, on which librosa stands, with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


class EnergyMeter:
    """The joules that a GPU has used since its driver was loaded, by NVML's counter; 0 where there is none."""

    def __init__(self, device: torch.device):
        self._handle, self._nvml = ctypes.c_void_p(), None
        if device.type == "cuda":
            with suppress(OSError):
                self._nvml = ctypes.CDLL("libnvidia-ml.so.1")
                self._nvml.nvmlInit_v2()
                uuid = f"GPU-{getattr(torch.cuda.get_device_properties(device), 'uuid', '')}".encode()
                if self._nvml.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(self._handle)):
                    self._nvml.nvmlDeviceGetHandleByIndex_v2(device.index or 0, ctypes.byref(self._handle))

    def joules(self) -> float:
        """Read the counter."""
        counter = ctypes.c_ulonglong()
        if self._nvml is None or not self._handle:
            return 0.0
        failed = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle, ctypes.byref(counter))
        return 0.0 if failed else counter.value / 1e3


def rates(times: dict, clips: int) -> dict:
    """Clips a second of one competitor: of the median, the slowest and the fastest round, and those two's distance;
    its joules a million clips and megabytes beside its input, where they are known. Or its note."""
    if "note" in times:
        return {"note": times["note"]}
    return {
        "spread": (times["slowest_s"] - times["fastest_s"]) / times["median_s"],
        "clips_per_second": clips / times["median_s"],
        "slowest_round": clips / times["slowest_s"],
        "fastest_round": clips / times["fastest_s"],
        "joules_a_million": times["joules"] and 1e6 * times["joules"] / clips,
        "gpu_megabytes": times["bytes"] and times["bytes"] / 1e6,
    }


def against(ours: dict, row: dict) -> dict:
    """A row with how many times as fast ours is, and whether that is a tie: where the rounds of both overlap."""
    if "note" in row or "note" in ours:
        return row
    slowest, fastest = ((row.get(key), ours.get(key)) for key in ("slowest_round", "fastest_round"))
    overlap = all(slowest) and slowest[1] <= fastest[0] and slowest[0] <= fastest[1]
    ratio = ours["clips_per_second"] / row["clips_per_second"]
    return row | {"ours_against": ratio, "tie": overlap and row is not ours}


RATE_COLUMNS = (("clips_per_second", "clips/s", "{:,.0f}"), ("spread", "spread", "{:.0%}"))
COST_COLUMNS = (
    ("joules_a_million", "J a million", "{:,.0f}"),
    ("gpu_megabytes", "GPU MB", "{:,.0f}"),
    ("note", "note", "{}"),
)
AGAINST_COLUMN = ("ours_against", "ser_gpu, times as fast", "{:.2f}")


def by_batch(
    job: Job, make: Callable[[int], dict[str, Callable[[], object]]], sizes: Sequence[int], threads: int
) -> dict[str, dict[int, float]]:
    """Clips a second of each competitor at each batch size, as far as one call ends within a few seconds."""
    found: dict[str, dict[int, float]] = {}
    for size in sizes:
        calls = make(size)
        for name in list(calls):
            rate = next(reversed(found.setdefault(name, {}).values()), None)
            if size > 1 and rate is not None and size / rate > _LONGEST_CALL_SECONDS:
                del calls[name]
        for name, taken in interleaved(job, calls, threads, seconds=0.2, rounds=1).items():
            if "note" not in taken:
                found[name][size] = size / taken["median_s"]
    return found


def best(rates_of: dict[int, float]) -> int | None:
    """The batch size with the highest rate; None where there is none."""
    return max(rates_of, key=rates_of.get, default=None)


def rotated(clips: Tensor, batch: int, job: Job) -> Iterator[Tensor]:
    """Batches of the clips, again and again, in so much memory that no cache keeps a batch until it returns."""
    size = job.of(1, 2**26, 2**28)
    times = max(1, -(-size // (clips[:1].nbytes * batch))) * batch
    bank = clips.repeat(-(-times // len(clips)), *[1] * (clips.ndim - 1))[:times]
    return cycle(bank.split(batch))


def ceilings(job: Job, threads: int) -> dict[str, float]:
    """What the device can do: bytes a second of a large copy (read and written), float32 FLOP a second of a product."""
    size, side = job.of(2**22, 2**27, 2**30), job.of(512, 1536, 8192)
    source = torch.randn(size // 4, device=job.device)
    target = torch.empty_like(source)
    a, b = torch.randn(side, side, device=job.device), torch.randn(side, side, device=job.device)
    out = torch.empty_like(a)
    calls = {"copy": lambda: target.copy_(source), "product": lambda: torch.mm(a, b, out=out)}
    times = interleaved(job, calls, threads, rounds=5)
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
