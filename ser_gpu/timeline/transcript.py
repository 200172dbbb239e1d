"""The segments of a transcript in SRT, VTT, CSV or TextGrid, and the emotion of each."""

import csv
import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ser_gpu.audio.samples import SHORTEST_SECONDS, natural_blocks, resample
from ser_gpu.audio.silero import SpeechProbability
from ser_gpu.errors import InputError
from ser_gpu.files import read_text
from ser_gpu.timeline.segment import Segment, silent, spoken
from ser_gpu.timeline.speakers import Speakers

if TYPE_CHECKING:
    from ser_gpu.recognizer import Answers

FAR_SECONDS = 1e9

_CUE = re.compile(r"^[ \t]*([\d:.,]+)[ \t]*-->[ \t]*([\d:.,]+).*\n?((?:.*\S.*(?:\n|\Z))*)", re.MULTILINE)
_TAG = re.compile(r"<[^>]*>|\{\\[^}]*\}")
# what Praat reads: strings, and numbers that stand alone
_PRAAT = re.compile(r'(?<!\S)(?:"((?:[^"]|"")*)"|([-+.\deE]+))(?!\S)')


def read_transcript(path: str | Path) -> list[Segment]:
    """The segments, not yet answered, of an SRT, VTT, CSV or TextGrid file, in the order of their starts.

    CSV has the columns start and end and, where known, text and speaker. Of a TextGrid the first tier of intervals
    counts, without those that have no text. Raises InputError for what cannot be read, or has no segment.
    """
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise InputError(f"{path}: segments are read from {', '.join(_READERS)}")
    try:
        rows = list(reader("\n".join(read_text(path).splitlines())))
        found = [silent(_seconds(a), _seconds(b), who or None, " ".join(text.split())) for a, b, text, who in rows]
    except InputError:
        raise
    except (ArithmeticError, LookupError, ValueError, csv.Error):
        found = []
    if not found or not all(0 <= each.start <= each.end < float("inf") for each in found):
        raise InputError(f"{path}: segments need a start and an end, in seconds or hours:minutes:seconds")
    return sorted(found, key=lambda each: each.start)


def answered(
    answers: "Answers", recording: object, given: Sequence[Segment], speakers: Speakers | None = None
) -> tuple[str, Iterator[tuple[float, list[Segment]]]]:
    """As `ser_gpu.timeline.stretches`, of given segments in the order of their starts; memory grows with the longest.

    Speech outside of them is not answered. One that is silent or shorter than 50 ms has no emotion, and one that begins
    after the recording is left out.
    """
    name, blocks = natural_blocks(recording, None, answers.sample_rate)

    def parts() -> Iterator[tuple[float, list[Segment]]]:
        kept = np.zeros(0, np.float32)  # the last samples, from the start of the segment on
        heard = end = 0.0
        for each in [*given, silent(FAR_SECONDS, FAR_SECONDS)]:
            while heard < each.end and (part := next(blocks, None)):
                rate, block = part
                heard += len(block) / rate
                kept = np.concatenate([kept, block])[-max(1, round((heard - each.start) * rate)) :]
                yield heard, []
            if each.start >= heard:
                break
            last, speaker = min(each.end, heard), each.speaker
            if speakers and speaker is None:
                speaker = speakers.of(each.start, last)
            bounds = (max(0, len(kept) - round((heard - at) * rate)) for at in (each.start, last))
            sound = kept[slice(*bounds)]
            found = silent(each.start, last, speaker, each.text)
            if len(sound) >= SHORTEST_SECONDS * rate and sound.any():
                shares = answers.of_recording(resample(sound, rate, SpeechProbability.sample_rate), speaker)
                named = dict(zip(answers.labels, shares.tolist(), strict=True))
                found = spoken(each.start, last, named, speaker, each.text)
            yield heard, [silent(end, each.start), found] if each.start > end else [found]
            end = max(end, last)
        yield heard, [silent(end, heard)] if heard > end else []

    return name, parts()


def _seconds(text: str) -> float:
    parts = text.strip().replace(",", ".").split(":")
    return sum(float(part) * 60**place for place, part in enumerate(reversed(parts)))


def _cues(text: str) -> Iterator[tuple[str, ...]]:
    for start, end, said in _CUE.findall(text):
        voice = re.search(r"<v[.\w]*\s+([^>]*)>", said)
        yield start, end, html.unescape(_TAG.sub("", said)), voice[1].strip() if voice else ""


def _rows(text: str) -> Iterator[tuple[str, ...]]:
    header, *lines = text.splitlines() or [""]
    separator = max(",;\t", key=header.count)
    names = [name.strip().lower() for name in next(csv.reader([header], delimiter=separator))]
    for row in csv.DictReader(lines, names, restval="", delimiter=separator):
        yield row["start"], row["end"], row.get("text", ""), row.get("speaker", "")


def _intervals(text: str) -> Iterator[tuple[str, ...]]:
    words = [number or string.replace('""', '"') for string, number in _PRAAT.findall(text)]
    if "IntervalTier" in words:
        first = words.index("IntervalTier") + 5
        for at in range(first, first + 3 * int(words[first - 1]), 3):
            start, end, said = words[at : at + 3]
            if said.strip():
                yield start, end, said, ""


_READERS = {".srt": _cues, ".vtt": _cues, ".csv": _rows, ".textgrid": _intervals}
