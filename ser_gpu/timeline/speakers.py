"""Speakers: who speaks when, read from the RTTM file of a diarization tool."""

import math
import re
import unicodedata
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import numpy as np

from ser_gpu.audio.formats import SUFFIXES
from ser_gpu.errors import InputError, check, printable, shortened
from ser_gpu.files import read_text

NEAR_SECONDS = 0.5
LEAST_SECONDS = 0.25
MOST_EARLY_SECONDS = 1.0  # a turn that begins so long before the recording begins with it


# of RTTM, and comments
_OTHER_TYPES = r";;|(SPKR-INFO|SEGMENT|NOSCORE|NO_RT_METADATA|LEXEME|NON-LEX|NON-SPEECH|FILLER|EDIT|IP|SU|CB|A/P)\b"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
# a name that may have spaces, channel, start, seconds, two fields that are no numbers, speaker, confidence, <NA>, more
_LINE = re.compile(
    rf"SPEAKER\s+(.+)\s+\S+\s+({_NUMBER})\s+({_NUMBER})(?:\s+(?![-+.\d])\S+){{2}}"
    rf"\s+(\S.*?)(?:\s+{_NUMBER}){{0,2}}(?:\s+(?:<NA>|;;).*)?",
    re.IGNORECASE,
)


class Turn(NamedTuple):
    """A speaker speaks from `start` to `end` (seconds)."""

    start: float
    end: float
    speaker: str


class Speakers:
    """The one speaker of each moment, from turns in any order; `names` has all of them.

    Where two turns overlap, the one that began first counts. Within half a second outside of all turns the nearest one
    counts, since voice activity detectors differ that much at the edges; further away nobody speaks.

    >>> speakers = Speakers([Turn(0.0, 2.0, "alice"), Turn(3.0, 4.0, "bob")])
    >>> speakers.of(0.5, 1.0), speakers.of(9.0, 9.5), speakers.changes(1.0, 4.0)
    ('alice', None, [2.5])
    """

    def __init__(self, turns: Iterable[Turn]):
        self.turns = sorted(turns)
        self.names = tuple(dict.fromkeys(turn.speaker for turn in self.turns))
        parts: list[Turn] = []  # one after another
        end = -math.inf
        for turn in self.turns:
            if parts and turn.speaker == parts[-1].speaker and turn.start - end <= 2 * NEAR_SECONDS:
                parts[-1] = parts[-1]._replace(end=max(end, turn.end))
            elif turn.end > max(turn.start, end):
                parts.append(turn._replace(start=max(turn.start, end)))
            end = parts[-1].end if parts else end
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

    def why_not(self, name: str, seconds: float) -> str:
        """Why a timeline of so many seconds has nothing of a speaker."""
        turns = [turn for turn in self.turns if turn.speaker == name]
        if all(turn.start == turn.end for turn in turns):
            return "their turns have no length"
        if all(turn.start >= seconds for turn in turns):
            return "no turn of theirs begins before the end"
        if self.names.index(name) not in self._who:
            return "speaks only while somebody who began earlier does"
        return "their turns have no speech, or less than another's"


def read_rttm(path: str | Path, recording: str | Path | None = None) -> Speakers:
    """The speakers of a recording; of a file with one id, whatever it is.

    Raises InputError where the file cannot be read, a line is no RTTM, or none is of the recording.
    """
    return read_rttm_of(path, [recording or ""])[recording or ""]


def read_rttm_of(
    path: str | Path, recordings: Sequence[str | Path], say: Callable[[str], object] = str
) -> dict[str | Path, Speakers]:
    """The speakers of each of several recordings, whose ids are their names, with or without suffix and folder.

    say: is told where the one id of the file is not that of the one recording. Raises InputError as `read_rttm`.
    """
    turns = defaultdict[str, list[Turn]](list)  # of each id
    for number, line in enumerate(read_text(path, "cp1252").splitlines(), 1):
        if line.upper().split()[:1] == ["SPEAKER"]:
            match = _LINE.fullmatch(line.strip())
            start, seconds = (float(match[2]), float(match[3])) if match else (math.nan, math.nan)
            if not (start >= -MOST_EARLY_SECONDS and seconds >= 0 and start + seconds < math.inf):
                raise InputError(f"{path}, line {number}: is no RTTM: {printable(line.strip()[:60])}")
            turn = Turn(max(start, 0.0), max(start + seconds, 0.0), printable(match[4]))
            turns["_".join(match[1].split())].append(turn)
        elif line.strip() and not re.match(_OTHER_TYPES, line.strip(), re.IGNORECASE):
            raise InputError(f"{path}, line {number}: is no RTTM: {printable(line.strip()[:60])}")
    check(turns, f"{path}: no line of it begins with SPEAKER, is it RTTM?")
    found, of, is_one = {}, {}, len(turns) == len(recordings) == 1
    for recording in recordings:
        names = {"_".join(name.split()) for name in (Path(recording).name, Path(recording).stem)}
        ids = [id for id in turns if id in names] or [id for id in turns if _plain(id) in map(_plain, names)]
        if not ids and is_one:
            ids = list(turns)
            say(f"note: {path}: is of {shortened(ids[0], 80)}, and is taken for {Path(recording).stem}")
        if not ids:
            stem = Path(recording).stem
            raise InputError(f"{path}: is of {shortened(', '.join(turns), 80)}, and none of them is {stem}")
        if again := next((other for other in found if of[other] == ids and other != recording), None):
            raise InputError(f"{path}: {shortened(ids[0], 80)} can be {again} and {recording}: name one of them")
        of[recording] = ids
        found[recording] = Speakers(turn for id in ids for turn in turns[id])
    return found


def _plain(id: str) -> str:
    path = PureWindowsPath(unicodedata.normalize("NFC", id).casefold())  # which has both / and \
    return path.stem if path.suffix in SUFFIXES else path.name
