"""Speakers: who speaks when, as any diarization tool says it in RTTM; the timeline itself does not find it out."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ser_gpu.errors import InputError, printable, reason

NEAR_SECONDS = 0.5
LEAST_SECONDS = 0.25
LARGEST_BYTES = 2**26
_FEWEST_FIELDS = 8


@dataclass(frozen=True)
class Turn:
    """A speaker speaks from `start` to `end`, in seconds."""

    start: float
    end: float
    speaker: str


class Speakers:
    """The one speaker of each moment.

    A moment that two turns share is of the one that began first. A moment outside of all turns is of the nearest turn
    up to half a second away, and else of nobody: voice activity detectors differ that much at the edges.

    Args:
        turns: in any order.

    Example:
        >>> speakers = Speakers([Turn(0.0, 2.0, "alice"), Turn(3.0, 4.0, "bob")])
        >>> speakers.of(0.5, 1.0), speakers.of(2.8, 3.5), speakers.of(9.0, 9.5)
        ('alice', 'bob', None)
        >>> speakers.changes(1.0, 4.0)
        [2.5]
    """

    def __init__(self, turns: Iterable[Turn]):
        self._starts: list[float] = [-math.inf]  # of each part of the time axis, which has one speaker
        self._speakers: list[str | None] = [None]
        end = -math.inf
        for turn in sorted(turns, key=lambda each: (each.start, each.end)):
            start = max(turn.start, end)
            if turn.end <= start:
                continue
            pause = start - end
            if pause > 2 * NEAR_SECONDS:
                if math.isfinite(end):
                    self._begin(end + NEAR_SECONDS, None)
                self._begin(start - NEAR_SECONDS, turn.speaker)
            else:
                self._begin(end + pause / 2, turn.speaker)
            end = turn.end
        if math.isfinite(end):
            self._begin(end + NEAR_SECONDS, None)
        self.names = tuple(dict.fromkeys(name for name in self._speakers if name is not None))

    def of(self, start: float, end: float) -> str | None:
        """Who has most of the time from `start` to `end`; None where nobody has any."""
        seconds: Counter[str] = Counter()
        at = bisect_right(self._starts, start) - 1
        while at < len(self._starts) and self._starts[at] < end:
            after = self._starts[at + 1] if at + 1 < len(self._starts) else math.inf
            if self._speakers[at] is not None:
                seconds[self._speakers[at]] += min(end, after) - max(start, self._starts[at])
            at += 1
        return seconds.most_common(1)[0][0] if seconds else None

    def changes(self, start: float, end: float) -> list[float]:
        """Where to cut from `start` to `end` so that each part has one speaker; no part is under a quarter second."""
        found, last = [], start
        for at in range(bisect_right(self._starts, start), bisect_right(self._starts, end)):
            if self._starts[at] - last >= LEAST_SECONDS and end - self._starts[at] >= LEAST_SECONDS:
                last = self._starts[at]
                found.append(last)
        return found

    def _begin(self, start: float, speaker: str | None) -> None:
        if speaker != self._speakers[-1]:
            self._starts.append(start)
            self._speakers.append(speaker)


def read_rttm(path: str | Path, recording: str | None = None) -> Speakers:
    """The turns of an RTTM file, as pyannote, NeMo and others write it.

    Args:
        recording: its name, where the file is of several recordings; its lines are those with the name's stem.

    Raises:
        ValueError: the file cannot be read, a line of it is no RTTM, or none is of the recording; one line that names
            the file.
    """
    turns: dict[str, list[Turn]] = {}
    for number, line in enumerate(_lines(Path(path)), 1):
        fields = line.split()
        if fields and fields[0] == "SPEAKER":
            turn = _turn(fields)
            if turn is None:
                raise InputError(f"{path}, line {number}: is no RTTM: {printable(line[:60])}")
            turns.setdefault(fields[1], []).append(turn)
    if not turns:
        raise InputError(f"{path}: no line of it begins with SPEAKER, is it RTTM?")
    stem = "_".join(Path(recording).stem.split()) if recording else None
    if stem in turns:
        return Speakers(turns[stem])
    if len(turns) > 1:
        raise InputError(f"{path}: is of {len(turns)} recordings, and none of them is {stem}")
    return Speakers(*turns.values())


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(f"{path}: too large for RTTM")
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: {reason(error).lower()}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no text, so no RTTM") from None


def _turn(fields: list[str]) -> Turn | None:
    """SPEAKER file channel start seconds <NA> <NA> name ..."""
    if len(fields) < _FEWEST_FIELDS:
        return None
    try:
        start, seconds = float(fields[3]), float(fields[4])
    except ValueError:
        return None
    if not (0 <= start < math.inf and 0 <= seconds < math.inf):
        return None
    return Turn(start, start + seconds, printable(fields[7]))
