"""Segment and Timeline: the answers as stretches, merged, and on a regular grid."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ser_gpu.errors import check
from ser_gpu.files import replacing
from ser_gpu.timeline.formats import FORMATS, of_suffix
from ser_gpu.timeline.plot import figure, require_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JOINED_SECONDS = 0.5


@dataclass(frozen=True)
class Segment:
    """A part of a recording."""

    start: float  # seconds from the start of the recording
    end: float  # seconds
    speech: bool  # False where nobody speaks; then there is no emotion
    emotion: str | None  # the likeliest one
    confidence: float | None  # its probability
    probabilities: dict[str, float]  # in the order of the labels; empty where nobody speaks
    speaker: str | None = None  # where it is known
    text: str | None = None  # of a segment that was given

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start

    def as_dict(self) -> dict:
        """Plain data for JSON, times to a millisecond; no speaker and no text where none is known."""
        content = vars(self) | {"start": round(self.start, 3), "end": round(self.end, 3)}
        return {name: value for name, value in content.items() if name not in ("speaker", "text") or value is not None}


def spoken(start: float, end: float, probabilities: dict[str, float], *known: str | None) -> Segment:
    """A segment with speech; its speaker and text may follow."""
    emotion = max(probabilities, key=probabilities.__getitem__)
    return Segment(start, end, True, emotion, probabilities[emotion], probabilities, *known)


def silent(start: float, end: float, *known: str | None) -> Segment:
    """A segment in which nobody speaks."""
    return Segment(start, end, False, None, None, {}, *known)


def merged(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Join neighbours of one emotion and speaker, over pauses up to half a second; answers are weighted by seconds.

    A segment that has a text stays as it is.
    """
    held: list[Segment] = []
    pause: list[Segment] = []  # after `held`, if any
    for segment in segments:
        is_next = held and segment.text is None
        if is_next and not segment.speech and segment.seconds <= JOINED_SECONDS:
            pause = [segment]
        elif is_next and (segment.emotion, segment.speaker) == (held[0].emotion, held[0].speaker):
            held.append(segment)
            pause = []
        else:
            yield from [*_joined(held), *pause]
            held, pause = ([segment], []) if segment.speech else ([], [segment])
    yield from [*_joined(held), *pause]


def _joined(parts: Sequence[Segment]) -> Iterator[Segment]:
    if len(parts) < 2:
        yield from parts
    else:  # their emotion is also the likeliest of the mean
        yield spoken(parts[0].start, parts[-1].end, _mean(parts, [part.seconds for part in parts]), parts[0].speaker)


def _mean(parts: Sequence[Segment], weights: Sequence[float]) -> dict[str, float]:
    mean = np.average([list(part.probabilities.values()) for part in parts], axis=0, weights=weights)
    return dict(zip(parts[0].probabilities, mean.tolist(), strict=True))


@dataclass(frozen=True)
class Timeline:
    """The emotions of a recording over time."""

    name: str  # of the recording
    seconds: float  # its length
    labels: tuple[str, ...]  # emotions of the model, in order
    stretches: tuple[Segment, ...]  # without gaps; one answer for each stretch of speech
    step_seconds: float = 0.5  # of the grid

    def __post_init__(self):
        check(self.step_seconds > 0, f"step_seconds must be positive, got {self.step_seconds!r}")

    @cached_property
    def speakers(self) -> tuple[str, ...]:
        """The known speakers, in the order of their first stretch."""
        return tuple(dict.fromkeys(each.speaker for each in self.stretches if each.speaker is not None))

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The stretches, neighbours of one emotion merged."""
        return tuple(merged(self.stretches))

    @cached_property
    def grid(self) -> tuple[Segment, ...]:
        """Cells of `step_seconds`, the last one shorter; speech where half of a cell is: mean answer, main speaker."""
        step, count = self.step_seconds, max(1, -int(-(self.seconds - 1e-9) // self.step_seconds))
        return tuple(self._cell(at * step, min((at + 1) * step, self.seconds)) for at in range(count))

    @cached_property
    def _ends(self) -> list[float]:
        return list(accumulate((each.end for each in self.stretches), max))  # given segments may lie inside others

    def _cell(self, start: float, end: float) -> Segment:
        first = bisect_right(self._ends, start)
        last = bisect_left(self.stretches, end, key=lambda each: each.start)
        parts = [each for each in self.stretches[first:last] if each.speech and each.end > start]
        seconds = [min(end, each.end) - max(start, each.start) for each in parts]
        if not parts or sum(seconds) < (end - start) / 2:
            return silent(start, end)
        return spoken(start, end, _mean(parts, seconds), parts[seconds.index(max(seconds))].speaker)

    def save(self, path: str | Path, format: str | None = None) -> None:
        """Write the file whole, in `format` or that of the suffix. Raises InputError for an unknown one, OSError."""
        name = of_suffix(path) if format is None else format
        check(name in FORMATS, f"format must be one of {', '.join(FORMATS)}, got {name!r}")
        with replacing(path) as temporary:
            temporary.write_text(FORMATS[name](self), encoding="utf-8", newline="")

    def plot(self, path: str | Path | None = None) -> "Figure":
        """The picture as a matplotlib figure; with a path the file is written whole, too. InputError for its suffix."""
        if path is not None:
            require_picture(path)
        drawn = figure(self)
        if path is not None:
            with replacing(path) as temporary:
                drawn.savefig(temporary, dpi=110)
        return drawn
