"""One training on several GPUs or machines. Each rank (a process of torchrun) draws the same batches and trains on its
part; gradients are averaged, so only augmentation, dropout and mixup partners differ from those of one process."""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ser_gpu.errors import InputError, reason
from ser_gpu.stages.speaker_norm import SpeakerNorm2d
from ser_gpu.training.sampler import Batch

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
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
        """Read from the variables that torchrun sets; one process without them."""
        variables = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
        return cls(*(int(os.environ.get(name, default)) for name, default in variables))

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def command(self) -> str:
        return "ser-gpu train" if self.count == 1 else f"torchrun --nproc-per-node={self.count} -m ser_gpu.train"

    @contextmanager
    def joined(self, backend: str, patience: timedelta = timedelta(minutes=30)) -> Iterator[None]:
        """Connect the processes, by "gloo" on CPUs or "nccl" on GPUs; `patience` is the longest wait for another."""
        if self.count == 1:
            yield
            return
        if backend == "nccl":
            torch.cuda.set_device(self.local)
        dist.init_process_group(backend, timeout=patience)
        try:
            yield
        finally:
            dist.destroy_process_group()

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
                raise InputError(
                    f"a batch of {batch.groups} groups does not fall into {self.count} equal parts: --batch-size, or "
                    "--set training.corpus_groups"
                )
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


ONE = Ranks()
