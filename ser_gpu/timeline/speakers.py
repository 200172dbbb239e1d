"""Speakers: who speaks when, read from the RTTM file of a diarization tool."""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

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
        parts: list[Turn] = []  # one after another
        end = -math.inf
        for turn in sorted(turns):
            if parts and turn.speaker == parts[-1].speaker and turn.start - end <= 2 * NEAR_SECONDS:
                parts[-1] = parts[-1]._replace(end=max(end, turn.end))
            elif turn.end > max(turn.start, end):
                parts.append(turn._replace(start=max(turn.start, end)))
            end = parts[-1].end if parts else end
        self.names = tuple(dict.fromkeys(part.speaker for part in parts))
        self._who = np.array([self.names.index(part.speaker) for part in parts], int)
        starts, ends = np.array([part[:2] for part in parts]).reshape(-1, 2).T
        near = np.minimum(NEAR_SECONDS, np.concatenate([[math.inf], starts[1:] - ends[:-1], [math.inf]]) / 2)
        self._starts, self._ends = (starts - near[:-1], ends + near[1:]) if parts else (starts, ends)
        self._bounds = np.union1d(self._starts, self._ends).tolist()

    def of(self, start: float, end: float) -> str | None:
        """Who speaks most from `start` to `end` (seconds); None where nobody speaks."""
        overlaps = np.minimum(self._ends, end) - np.maximum(self._starts, start)
        seconds = np.bincount(self._who, np.maximum(overlaps, 0), minlength=1)  # of each speaker
        return self.names[seconds.argmax()] if seconds.any() else None

    def changes(self, start: float, end: float) -> list[float]:
        """Where the speaker changes from `start` to `end` (seconds); no part is under a quarter second."""
        found, last = [], start
        for at in self._bounds[bisect_right(self._bounds, start) : bisect_right(self._bounds, end)]:
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
