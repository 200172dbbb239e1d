"""What a training is about: clips on a device, and the part of each."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.corpora.clip import PARTS, Clip, ordered
from ser_gpu.corpora.splits import Split
from ser_gpu.errors import InputError


def labels_of(clips: Iterable[Clip]) -> tuple[str, ...]:
    """The emotions of clips, in order. InputError where there is one alone."""
    labels = ordered(clip.emotion for clip in clips)
    if len(labels) == 1:
        raise InputError(f"all clips are {labels[0]}: a model needs two emotions or more")
    return labels


class Dataset:
    """The clips of a bank in its order, their emotions, and the rows of each part. The parts leave out clips that the
    split does not name. InputError where nothing is left of a part, or one emotion to train on."""

    def __init__(self, clips: Sequence[Clip], bank: ClipBank, split: Split):
        self.clips, self.bank, self.split = tuple(clips), bank, split
        self.device = bank.lengths.device
        part_of = [split.part_of.get(clip.id) for clip in clips]
        used = [clip for clip, part in zip(clips, part_of, strict=True) if part]
        self.labels = labels_of(used)
        self.corpora = tuple(sorted({clip.corpus for clip in used}))
        # of each clip an index of labels, and one of corpora, [N] int64; -1 where only clips left out have it
        labels, corpora = ({name: place for place, name in enumerate(names)} for names in (self.labels, self.corpora))
        self.targets = self._tensor([labels.get(clip.emotion, -1) for clip in clips])
        self.corpus = self._tensor([corpora.get(clip.corpus, -1) for clip in clips])
        self.rows = {part: self._tensor([row for row, its in enumerate(part_of) if its == part]) for part in PARTS}
        needed = {"train", *split.part_of.values()}
        if lost := [part for part in PARTS if part in needed and len(self.rows[part]) == 0]:
            raise InputError(f"no clip is left in the {lost[0]} part: {len(clips):,} clips are too few for this split")
        has = {(clip.corpus, clip.emotion) for clip in used}
        known = [[(corpus, label) in has for label in self.labels] for corpus in self.corpora]
        # which labels each corpus has, [corpora, C] bool; None where each has all
        self.known = None if all(map(all, known)) else self._tensor(known).bool()

    def _tensor(self, values: Sequence) -> Tensor:
        return torch.tensor(values, dtype=torch.int64).to(self.device)

    def clips_of(self, part: str) -> list[Clip]:
        """The clips of one part, in the order of its rows."""
        return [self.clips[row] for row in self.rows[part].tolist()]
