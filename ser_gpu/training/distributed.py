"""One training on several GPUs or machines. Each rank (a process of torchrun) draws the same batches and trains on its
part; gradients are averaged, so only augmentation, dropout and mixup partners differ from those of one process."""

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ser_gpu.errors import InputError, reason
from ser_gpu.stages.speaker_norm import SpeakerNorm2d
from ser_gpu.training.sampler import Batch

_BELIEVED = ("MASTER_ADDR", "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")  # together
VARIABLES = (*_BELIEVED, "LOCAL_WORLD_SIZE")
_NOTICE_SECONDS, _MEETING_SECONDS = 5, 90
_T = TypeVar("_T")


class SyncedNorm2d(SpeakerNorm2d, nn.SyncBatchNorm):
    """`SpeakerNorm2d` whose ordinary batches have the statistics of all ranks. A group of a speaker is on one rank."""


@dataclass(frozen=True)
class Ranks:
    """The processes of one training."""

    rank: int = 0  # of this one; the first one evaluates and writes
    count: int = 1
    local: int = 0  # the number of this one on its machine, which is that of its GPU

    @classmethod
    def of_torchrun(cls) -> "Ranks":
        """Read from the variables that torchrun sets; one process without them. InputError where some are stale: they
        are set without the others, or no such rank can be."""
        given = {name: os.environ.get(name, "") for name in _BELIEVED}
        if (given["WORLD_SIZE"] or "1", given["RANK"] or "0") == ("1", "0"):
            return cls()
        rank, count, local, port = (int(given[name]) if given[name].isdecimal() else -1 for name in _BELIEVED[1:])
        if not (0 <= rank < count and 0 <= local < count and 0 < port < 2**16 and given["MASTER_ADDR"]):
            shown = " ".join(f"{name}={value}" for name, value in given.items())
            raise InputError(f"not as torchrun sets them: {shown}; unset them, or start by torchrun")
        return cls(rank, count, local)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def on_machine(self) -> int:
        """How many of them this machine has."""
        said = os.environ.get("LOCAL_WORLD_SIZE", "")
        return int(said) if self.count > 1 and said.isdecimal() and 0 < int(said) <= self.count else 1

    @contextmanager
    def joined(self, backend: str, say: Callable[[str], None], minutes: int = 30) -> Iterator[None]:
        """Connect the processes, by "gloo" on CPUs or "nccl" on GPUs. `say` is told for whom this one waits at first;
        InputError where they do not come. The longest wait for another rank later is so many minutes."""
        if self.count == 1:
            yield
            return
        if backend == "nccl":
            torch.cuda.set_device(self.local)
        store = self._met(say)
        patience = timedelta(minutes=minutes)
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.count, timeout=patience)
        try:
            yield
        finally:
            dist.destroy_process_group()

    def _met(self, say: Callable[[str], None]) -> dist.Store:
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        others = "the others" if self.is_first else "rank 0"
        waits = f"RANK={self.rank} WORLD_SIZE={self.count} is set, so this process waits for {others} at {host}:{port}"
        keys, ends = [f"rank {rank}" for rank in range(self.count)], time.monotonic() + _MEETING_SECONDS
        holds_store = self.is_first and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"  # else torchrun does
        notice = threading.Timer(_NOTICE_SECONDS, say, [f"note: {waits}"])
        notice.start()
        try:
            while not _is_known(host):  # torch would fill the screen
                if time.monotonic() > ends:
                    raise InputError(f"{waits}: there is no such host")
                time.sleep(0.5)
            limit = timedelta(seconds=_MEETING_SECONDS)
            held = dist.TCPStore(host, port, is_master=holds_store, timeout=limit, wait_for_workers=False)
            store = dist.PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", held)
            store.set(keys[self.rank], "here")
            while missing := [key for key in keys if not store.check([key])]:
                if time.monotonic() > ends:
                    raise InputError(f"{waits}: {', '.join(missing)} did not come within {_MEETING_SECONDS} s")
                time.sleep(0.05)
        except RuntimeError as error:  # of the connection
            raise InputError(f"{waits}: {reason(error)}") from None
        finally:
            notice.cancel()
        return store

    def agree(self, prepare: Callable[[], _T]) -> _T:
        """The result of `prepare`, if no rank failed; else InputError on the first rank, SystemExit on the others."""
        if self.count == 1:
            return prepare()
        prepared, error, bug = None, None, None
        try:
            prepared = prepare()
        except (InputError, OSError) as problem:
            error = f"rank {self.rank}: {problem}" if self.rank else str(problem)
        except Exception as problem:  # the others need not wait for a rank that keeps its traceback
            error, bug = f"unexpected error ({reason(problem)})", problem
        errors: list[str | None] = [None] * self.count
        dist.all_gather_object(errors, error)
        if bug is not None:
            raise bug
        if told := next(filter(None, errors), None):
            raise InputError(told) if self.is_first else SystemExit(2)
        return prepared

    def synchronise(self, network: nn.Module) -> None:
        """Let batch normalisation use the statistics of all ranks; on GPUs only, as torch requires."""
        for layer in network.modules():
            if self.count > 1 and type(layer) is SpeakerNorm2d and layer.weight.is_cuda:
                layer.__class__, layer.process_group = SyncedNorm2d, None

    def parts(self, batches: Iterator[Batch], seed: int) -> Iterator[Batch]:
        """This rank's part of each batch, in whole groups; InputError where the groups do not divide evenly."""
        if self.count == 1:
            return batches
        # drawn before the first step: after it, each rank has random numbers of its own
        drawn = [*batches]
        for batch in drawn:
            if batch.groups > 1 and batch.groups % self.count:
                problem = f"does not fall into {self.count} equal parts"
                remedy = "--batch-size, or --set training.corpus_groups"
                raise InputError(f"a batch of {batch.groups} groups {problem}: {remedy}")
        random.seed(f"{seed} {self.rank}")
        torch.manual_seed(random.getrandbits(63))
        return (Batch(batch.rows.chunk(self.count)[self.rank], max(1, batch.groups // self.count)) for batch in drawn)

    @torch.no_grad()
    def average(self, values: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the ranks; all go in one message."""
        if self.count == 1 or not values:
            return
        mean = torch.cat([each.flatten() for each in values])
        dist.all_reduce(mean)
        for each, part in zip(values, (mean / self.count).split([each.numel() for each in values]), strict=True):
            each.copy_(part.view_as(each))

    def lost(self, error: RuntimeError) -> bool:
        """True where an error says that another rank is gone."""
        said = str(error).lower()
        words = ("connection", "peer", "nccl", "gloo", "socket")
        return self.count > 1 and "out of memory" not in said and any(word in said for word in words)


def _is_known(host: str) -> bool:
    with suppress(OSError, UnicodeError):
        return bool(socket.getaddrinfo(host, None))
    return False


ONE = Ranks()
