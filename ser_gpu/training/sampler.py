"""Which clips are in which batch. Samplers draw on the device, and nothing waits for it; the seeds of torch and Python,
which the training sets before each epoch, decide the draws."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ser_gpu.errors import check
from ser_gpu.training.config import TrainConfig
from ser_gpu.training.dataset import Dataset

Pools = Sequence[Sequence[int]]  # rows of each corpus, or of each speaker
SPEAKER_POWER = 0.5  # within a corpus a speaker is drawn by the number of their clips to this power


@dataclass(frozen=True)
class Batch:
    """Rows of a bank, in equal groups one behind the other."""

    rows: Tensor  # [B] int64, on the device of the bank
    groups: int = 1  # how many


def sampler_of(dataset: Dataset, rows: Tensor, config: TrainConfig) -> "Shuffled | Draws | Mixed":
    """The sampler of these rows: shuffled, or draws from several corpora. InputError if no speaker fills a group."""
    batch, size, balance = min(config.batch_size, len(rows)), config.speaker_group, config.emotion_balance
    corpora = _pools(dataset, rows.tolist(), "corpus")
    weights = [len(corpus) ** config.corpus_power for corpus in corpora]
    if len(corpora) == 1:
        ordinary = Shuffled(rows, batch)
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
    check(speakers, f"training.speaker_group={size}: no known speaker has {size} clips in the training part")
    if len(corpora) == 1:
        return Mixed(ordinary, SpeakerPasses(speakers, groups, size, rows.device), config.grouped_share)
    return Mixed(ordinary, Draws(speakers, of_speaker, dataset.targets, groups, size, balance), config.grouped_share)


def _pools(dataset: Dataset, rows: Sequence[int], fact: str) -> list[list[int]]:
    pools: dict[str, list[int]] = {}
    for row in rows:
        if (its := getattr(dataset.clips[row], fact)) is not None:
            pools.setdefault(its, []).append(row)
    return list(pools.values())


class Shuffled:
    """Every clip once, then again, in another order each time; what does not fill a batch is left out."""

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
    """Groups of `size` clips of one speaker: every pool (rows of a speaker, at least `size`) once, then again."""

    def __init__(self, pools: Pools, groups: int, size: int, device: torch.device):
        self.groups, self.size = groups, size
        self.rows = torch.tensor([row for pool in pools for row in pool], device=device)
        self.speaker = torch.tensor([i for i, pool in enumerate(pools) for _ in pool], device=device)
        kept = [place < len(pool) // size * size for pool in pools for place in range(len(pool))]
        self.kept = torch.tensor(kept).nonzero().flatten().to(device)

    def batches(self, count: int) -> Iterator[Batch]:
        passes = math.ceil(count * self.groups / (len(self.kept) // self.size))
        chunks = torch.cat([self._pass() for _ in range(passes)])[: count * self.groups]
        yield from (Batch(part.flatten(), self.groups) for part in chunks.split(self.groups))

    def _pass(self) -> Tensor:
        key = torch.rand(len(self.rows), dtype=torch.float64, device=self.rows.device)
        chunks = self.rows[(self.speaker + key).argsort()][self.kept].unflatten(0, (-1, self.size))
        return chunks[torch.randperm(len(chunks), device=chunks.device)]  # [groups of a pass, size]


class Draws:
    """Groups of `size` clips of one pool (a corpus or a speaker), drawn by its weight; in a share `balance` of groups
    emotions are equally likely, else clips. The pools of a batch and the clips of a group are distinct, if enough."""

    def __init__(self, pools: Pools, weights: Sequence[float], targets: Tensor, groups: int, size: int, balance: float):
        self.groups, self.size, self.balance = groups, size, balance
        rows = [torch.tensor([*pool] * math.ceil(size / len(pool))) for pool in pools]  # a small one repeats its clips
        emotions = [targets.cpu()[pool] for pool in rows]
        even = [torch.zeros(len(pool)) for pool in rows]
        balanced = [-emotion.bincount()[emotion].float().log() for emotion in emotions]
        # [pools, clips of the largest one]: rows, and how likely each is, as a log
        self.table = pad_sequence(rows, batch_first=True).to(targets.device)
        self.even, self.balanced = (pad_sequence(each, True, -math.inf).to(targets.device) for each in (even, balanced))
        self.weight = torch.tensor(weights, dtype=torch.float32).log().to(targets.device)

    def batches(self, count: int) -> Iterator[Batch]:
        return (Batch(self._draw(), self.groups) for _ in range(count))

    def _draw(self) -> Tensor:
        device, pools = self.table.device, len(self.table)
        if self.groups <= pools:
            pool = (self.weight + _gumbel((pools,), device)).topk(self.groups).indices
        else:
            pool = (self.weight + _gumbel((self.groups, pools), device)).argmax(dim=1)
        is_balanced = torch.rand(self.groups, 1, device=device) < self.balance
        weight = torch.where(is_balanced, self.balanced[pool], self.even[pool])
        chosen = (weight + _gumbel(tuple(weight.shape), device)).topk(self.size, dim=1).indices
        return self.table[pool].gather(1, chosen).flatten()  # [groups size]


class Mixed:
    """Batches of two samplers, `share` of them of the second, in random order."""

    def __init__(self, first: Shuffled | Draws, second: SpeakerPasses | Draws, share: float):
        self.samplers, self.share = (first, second), share

    def batches(self, count: int) -> Iterator[Batch]:
        of_second = round(self.share * count)
        kinds = [0] * (count - of_second) + [1] * of_second
        random.shuffle(kinds)
        sources = [sampler.batches(kinds.count(i)) for i, sampler in enumerate(self.samplers)]
        return (next(sources[kind]) for kind in kinds)


def _gumbel(shape: tuple[int, ...], device: torch.device) -> Tensor:
    # Added to log weights, the largest sums are a weighted draw without replacement.
    # Source: Kool et al., Stochastic Beams and Where to Find Them, ICML 2019.
    return -torch.empty(shape, device=device).exponential_().log()
