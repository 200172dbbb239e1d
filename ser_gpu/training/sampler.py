"""Samplers: which clips are in which batch. Everything is drawn on the device, and nothing waits for it.

What a sampler draws depends on the seed of torch and of Python alone, which the training sets before each epoch.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, repeat
from typing import Protocol

import torch
from torch import Tensor

from ser_gpu.errors import InputError
from ser_gpu.training.config import TrainConfig
from ser_gpu.training.dataset import Dataset

SPEAKER_POWER = 0.5  # within a corpus a speaker is drawn by the number of their clips to this power


@dataclass(frozen=True)
class Batch:
    """Rows of a bank, [B] int64 on its device; and into how many equal groups, one behind the other, they fall."""

    rows: Tensor
    groups: int = 1


class Sampler(Protocol):
    """The batches of an epoch, or as many as are taken of them."""

    def batches(self, count: int) -> Iterator[Batch]:
        """The next `count` batches, each drawn when it is asked for."""


def build(dataset: Dataset, rows: Tensor, config: TrainConfig) -> Sampler:
    """The sampler that the settings ask for.

    One corpus is shuffled and read from end to end. Several corpora are drawn from, each in proportion to its clips to
    the power `corpus_power`. The share `grouped_share` of the batches is made of groups of one speaker each.

    Args:
        rows: of the clips to train on.

    Raises:
        InputError: groups of speakers, and no speaker with enough clips.
    """
    batch, size, balance = min(config.batch_size, len(rows)), config.speaker_group, config.emotion_balance
    corpora = _pools(dataset, rows.tolist(), "corpus")
    weights = [len(corpus) ** config.corpus_power for corpus in corpora]
    if len(corpora) == 1:
        ordinary: Sampler = Shuffled(rows, batch)
    else:
        groups = max(1, min(config.corpus_groups, batch))
        ordinary = Draws(corpora, weights, dataset.targets, groups, batch // groups, balance)
    if config.grouped_share == 0.0:
        return ordinary
    speakers, of_speaker, groups = [], [], max(1, batch // size)
    for corpus, weight in zip(corpora, weights, strict=True):
        own = [pool for pool in _pools(dataset, corpus, "speaker") if len(pool) >= size]
        total = sum(len(pool) ** SPEAKER_POWER for pool in own)
        speakers += own
        of_speaker += [weight * len(pool) ** SPEAKER_POWER / total for pool in own]
    if not speakers:
        raise InputError(f"training.speaker_group={size}: no known speaker has {size} clips in the training part")
    if len(corpora) == 1:
        return Mixed(ordinary, SpeakerPasses(speakers, groups, size, rows.device), config.grouped_share)
    return Mixed(ordinary, Draws(speakers, of_speaker, dataset.targets, groups, size, balance), config.grouped_share)


def _pools(dataset: Dataset, rows: Sequence[int], fact: str) -> list[list[int]]:
    """The rows of each corpus, or of each known speaker."""
    pools: dict[str, list[int]] = {}
    for row in rows:
        if (its := getattr(dataset.clips[row], fact)) is not None:
            pools.setdefault(its, []).append(row)
    return list(pools.values())


class Shuffled:
    """Every clip once, in another order each time, and again where that is not enough; what does not fill a batch is
    left out."""

    def __init__(self, rows: Tensor, size: int):
        self.rows, self.size = rows, size

    def batches(self, count: int) -> Iterator[Batch]:
        in_pass = len(self.rows) // self.size
        while count > 0:
            now = min(count, in_pass)
            order = self.rows[torch.randperm(len(self.rows), device=self.rows.device)]
            yield from (Batch(part) for part in order[: now * self.size].split(self.size))
            count -= now


class SpeakerPasses:
    """Groups of `size` clips of one speaker; every speaker's clips once, as far as they fill groups, then again.

    Args:
        pools: rows of each speaker, `size` or more.
    """

    def __init__(self, pools: Sequence[Sequence[int]], groups: int, size: int, device: torch.device):
        self.groups, self.size = groups, size
        self.rows = torch.tensor(list(chain.from_iterable(pools)), device=device)
        self.speaker = torch.tensor([i for i, pool in enumerate(pools) for _ in pool], device=device)
        starts = accumulate(map(len, pools), initial=0)
        whole = [range(at, at + len(pool) // size * size) for at, pool in zip(starts, pools, strict=False)]
        self.kept = torch.tensor(list(chain.from_iterable(whole)), device=device)

    def batches(self, count: int) -> Iterator[Batch]:
        passes = math.ceil(count * self.groups / (len(self.kept) // self.size))
        chunks = torch.cat([self._pass() for _ in range(passes)])[: count * self.groups]
        yield from (Batch(part.flatten(), self.groups) for part in chunks.split(self.groups))

    def _pass(self) -> Tensor:
        """Shape: -> [groups of a pass, size]."""
        key = torch.rand(len(self.rows), dtype=torch.float64, device=self.rows.device)
        chunks = self.rows[(self.speaker + key).argsort()][self.kept].unflatten(0, (-1, self.size))
        return chunks[torch.randperm(len(chunks), device=chunks.device)]


class Draws:
    """Groups of `size` clips, each of one pool: a corpus, or a speaker.

    A batch's pools are distinct where there are enough of them, and so are the clips of a group. In a share `balance`
    of the groups the emotions of the pool are equally likely, else its clips.

    Args:
        pools: rows of each.
        weights: how likely each is.
        targets: the emotion of each row of the bank, on the device.
    """

    def __init__(
        self,
        pools: Sequence[Sequence[int]],
        weights: Sequence[float],
        targets: Tensor,
        groups: int,
        size: int,
        balance: float,
    ):
        self.groups, self.size, self.balance = groups, size, balance
        pools = [list(pool) * math.ceil(size / len(pool)) for pool in pools]  # a small one repeats its clips
        most = max(map(len, pools))
        table, even = torch.zeros(len(pools), most, dtype=torch.int64), torch.full((len(pools), most), -math.inf)
        balanced, emotion = even.clone(), targets.cpu()
        for i, pool in enumerate(pools):
            rows = torch.tensor(pool)
            table[i, : len(pool)] = rows
            even[i, : len(pool)] = 0.0
            balanced[i, : len(pool)] = -emotion[rows].bincount()[emotion[rows]].float().log()
        device = targets.device
        self.table, self.even, self.balanced = (each.to(device) for each in (table, even, balanced))
        self.weight = torch.tensor(weights, dtype=torch.float32).log().to(device)

    def batches(self, count: int) -> Iterator[Batch]:
        return (Batch(self._draw(), self.groups) for _ in range(count))

    def _draw(self) -> Tensor:
        """Shape: -> [groups size]."""
        device, pools = self.table.device, len(self.table)
        if self.groups <= pools:
            pool = (self.weight + _gumbel((pools,), device)).topk(self.groups).indices
        else:
            pool = (self.weight + _gumbel((self.groups, pools), device)).argmax(dim=1)
        is_balanced = torch.rand(self.groups, 1, device=device) < self.balance
        weight = torch.where(is_balanced, self.balanced[pool], self.even[pool])
        chosen = (weight + _gumbel(tuple(weight.shape), device)).topk(self.size, dim=1).indices
        return self.table[pool].gather(1, chosen).flatten()


class Mixed:
    """Batches of two samplers, `share` of them of the second, in random order."""

    def __init__(self, first: Sampler, second: Sampler, share: float):
        self.samplers, self.share = (first, second), share

    def batches(self, count: int) -> Iterator[Batch]:
        of_second = round(self.share * count)
        kinds = [*repeat(0, count - of_second), *repeat(1, of_second)]
        random.shuffle(kinds)
        sources = [sampler.batches(kinds.count(i)) for i, sampler in enumerate(self.samplers)]
        return (next(sources[kind]) for kind in kinds)


def _gumbel(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Added to log weights, the largest sums are a weighted draw without replacement.

    Source: Kool et al., Stochastic Beams and Where to Find Them, ICML 2019.
    """
    return -torch.empty(shape, device=device).exponential_().log()
