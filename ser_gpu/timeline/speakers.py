"""Speakers: who speaks when, as any diarization tool says it in RTTM; the timeline itself does not find it out."""

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from ser_gpu.errors import InputError, printable, reason

NEAR_SECONDS = 0.5
LEAST_SECONDS = 0.25


class Turn(NamedTuple):
    """A speaker speaks from `start` to `end`, in seconds."""

    start: float
    end: float
    speaker: str


class Speakers:
    """The one speaker of each moment, from turns in any order.

    A moment that two turns share is of the one that began first. A moment outside of all turns is of the nearest turn
    up to half a second away, and else of nobody: voice activity detectors differ that much at the edges.

    >>> speakers = Speakers([Turn(0.0, 2.0, "alice"), Turn(3.0, 4.0, "bob")])
    >>> speakers.of(0.5, 1.0), speakers.of(9.0, 9.5), speakers.changes(1.0, 4.0)
    ('alice', None, [2.5])
    """

    def __init__(self, turns: Iterable[Turn]):
        parts: list[tuple[float, str | None]] = [(-math.inf, None)]  # of the time axis: where each starts, who has it
        end = -math.inf
        for turn in sorted(turns, key=lambda each: (each.start, each.end)):
            start = max(turn.start, end)
            if turn.end <= start:
                continue
            if start - end > 2 * NEAR_SECONDS:
                parts += [(end + NEAR_SECONDS, None), (start - NEAR_SECONDS, turn.speaker)]
            else:
                parts.append((end + (start - end) / 2, turn.speaker))
            end = turn.end
        parts.append((end + NEAR_SECONDS, None))
        firsts = [next(group) for _, group in groupby(parts, key=lambda part: part[1])]
        self._starts, self._speakers = [*(start for start, _ in firsts), math.inf], [speaker for _, speaker in firsts]
        self.names = tuple(dict.fromkeys(name for name in self._speakers if name is not None))

    def of(self, start: float, end: float) -> str | None:
        """Who has most of the time from `start` to `end`; None where nobody has any."""
        seconds: Counter[str] = Counter()
        at = bisect_right(self._starts, start) - 1
        while self._starts[at] < end:
            if self._speakers[at] is not None:
                seconds[self._speakers[at]] += min(end, self._starts[at + 1]) - max(start, self._starts[at])
            at += 1
        return seconds.most_common(1)[0][0] if seconds else None

    def changes(self, start: float, end: float) -> list[float]:
        """Where to cut from `start` to `end` so that each part has one speaker; no part is under a quarter second."""
        found, last = [], start
        for at in self._starts[bisect_right(self._starts, start) : bisect_right(self._starts, end)]:
            if at - last >= LEAST_SECONDS and end - at >= LEAST_SECONDS:
                last = at
                found.append(at)
        return found


def read_rttm(path: str | Path, recording: str | None = None) -> Speakers:
    """The turns of an RTTM file, as pyannote, NeMo and others write it.

    Of a file of several recordings the lines with the stem of this `recording` count. Raises InputError, a line that
    names the file, where it cannot be read, a line of it is no RTTM, or none is of the recording.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            lines = [(number, line) for number, line in enumerate(file, 1) if line.split()[:1] == ["SPEAKER"]]
    except OSError as error:
        raise InputError(f"{path}: {reason(error).lower()}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no text, so no RTTM") from None
    if not lines:
        raise InputError(f"{path}: no line of it begins with SPEAKER, is it RTTM?")
    turns = defaultdict[str, list[Turn]](list)
    for number, line in lines:
        try:
            _, name, _, start, seconds, _, _, speaker, *_ = line.split()
            turn = Turn(float(start), float(start) + float(seconds), printable(speaker))
            if not 0 <= turn.start <= turn.end < math.inf:
                raise ValueError
        except ValueError:
            raise InputError(f"{path}, line {number}: is no RTTM: {printable(line.strip()[:60])}") from None
        turns[name].append(turn)
    stem = "_".join(Path(recording).stem.split()) if recording else None
    if stem not in turns and len(turns) > 1:
        raise InputError(f"{path}: is of {len(turns)} recordings, and none of them is {stem}")
    return Speakers(turns.get(stem) or next(iter(turns.values())))
