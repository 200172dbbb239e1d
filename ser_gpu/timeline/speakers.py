"""Speakers: who speaks when, read from the RTTM file of a diarization tool."""

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
    """A speaker speaks from `start` to `end` (seconds)."""

    start: float
    end: float
    speaker: str


class Speakers:
    """The one speaker of each moment, from turns in any order.

    Where two turns overlap, the earlier one counts. Within half a second outside of all turns the nearest one counts,
    since voice activity detectors differ that much at the edges; further away nobody speaks.

    >>> speakers = Speakers([Turn(0.0, 2.0, "alice"), Turn(3.0, 4.0, "bob")])
    >>> speakers.of(0.5, 1.0), speakers.of(9.0, 9.5), speakers.changes(1.0, 4.0)
    ('alice', None, [2.5])
    """

    def __init__(self, turns: Iterable[Turn]):
        parts: list[tuple[float, str | None]] = [(-math.inf, None)]  # start of each part of the time axis, its speaker
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
        """Who speaks most from `start` to `end` (seconds); None where nobody speaks."""
        seconds: Counter[str] = Counter()
        at = bisect_right(self._starts, start) - 1
        while self._starts[at] < end:
            if self._speakers[at] is not None:
                seconds[self._speakers[at]] += min(end, self._starts[at + 1]) - max(start, self._starts[at])
            at += 1
        return seconds.most_common(1)[0][0] if seconds else None

    def changes(self, start: float, end: float) -> list[float]:
        """Where the speaker changes from `start` to `end` (seconds); no part is under a quarter second."""
        found, last = [], start
        for at in self._starts[bisect_right(self._starts, start) : bisect_right(self._starts, end)]:
            if at - last >= LEAST_SECONDS and end - at >= LEAST_SECONDS:
                last = at
                found.append(at)
        return found


def read_rttm(path: str | Path, recording: str | None = None) -> Speakers:
    """The speakers of an RTTM file; where it has several recordings, the lines with the stem of `recording` count.

    Raises InputError where the file cannot be read, a line is no RTTM, or none is of the recording.
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
