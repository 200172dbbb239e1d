"""The segments of a transcript in SRT, VTT, CSV or TextGrid, and the emotion of each."""

import html
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile
from pathlib import Path

import numpy as np

from ser_gpu.audio.samples import SHORTEST_SECONDS, natural_blocks, resample
from ser_gpu.audio.silero import SpeechProbability
from ser_gpu.corpora import manifest
from ser_gpu.errors import InputError, check, refusing
from ser_gpu.files import read_text
from ser_gpu.timeline.segment import Segment, silent, spoken
from ser_gpu.timeline.speakers import Speakers
from ser_gpu.timeline.stream import Answers

FAR_SECONDS = 1e9

_TIMES = re.compile(r"([\d:.,]+)\s*-->\s*([\d:.,]+)(?:\s.*)?")
_TAG = re.compile(r"<[^>]*>|\{\\[^}]*\}")
# what Praat reads: strings, and numbers that stand alone
_PRAAT = re.compile(r'(?<!\S)(?:"((?:[^"]|"")*)"|([-+.\deE]+))(?!\S)')


def read_transcript(path: str | Path) -> list[Segment]:
    """The segments, not yet answered, of an SRT, VTT, CSV or TextGrid file, in the order of their starts.

    CSV has the columns start, end or duration, and where known text and speaker. Of a TextGrid the first tier with text
    counts, without its intervals that have none. Raises InputError for what cannot be read, or has no segment.
    """
    reader = _READERS.get(Path(path).suffix.lower())
    check(reader is not None, f"{path}: segments are read from {', '.join(_READERS)}")
    found = []
    try:
        for start, end, text, speaker in reader(path):
            each = silent(*map(manifest.seconds, (start, end)), speaker or None, " ".join(text.split()))
            if not 0 <= each.start <= each.end < float("inf"):
                raise ValueError
            found.append(each)
    except InputError:
        raise
    except (ArithmeticError, LookupError, ValueError):
        there = f"; segment {len(found) + 1} has other ones" if found else ""
        times = "segments need a start and an end, in seconds or hours:minutes:seconds"
        raise InputError(f"{path}: {times}{there}") from None
    check(found, f"{path}: segments need a start and an end, and there is none")
    return sorted(found, key=lambda each: each.start)


def answered(
    answers: Answers, recording: object, given: Sequence[Segment], speakers: Speakers | None = None
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


def _cues(path: str | Path) -> Iterator[tuple[str, ...]]:
    lines = read_text(path, "cp1252").splitlines()
    starts = [at for at, line in enumerate(lines) if re.search(r"\d\s*(?:-->|->\s*\d)|-->\s*\d", line)]
    for at, following in pairwise([*starts, len(lines)]):
        if (times := _TIMES.fullmatch(lines[at].strip())) is None:
            raise ValueError
        said = list(takewhile(str.strip, lines[at + 1 : following]))
        if said and at + 1 + len(said) == following < len(lines) and said[-1].strip().isdecimal():
            said.pop()  # the number of the next cue, where no blank line is between the two
        voice = re.search(r"<v[.\w]*\s+([^>]*)>", "\n".join(said))
        yield *times.groups(), html.unescape(_TAG.sub("", "\n".join(said))), voice[1].strip() if voice else ""


def _rows(path: str | Path) -> Iterator[tuple[str, ...]]:
    with refusing(path, OSError):
        rows = list(manifest.rows(path, Path(path).read_bytes(), needed=("start",)))
    for _, row in rows:
        end = row.get("end") or str(manifest.seconds(row["start"]) + manifest.seconds(row["duration"]))
        yield row["start"], end, row.get("text", ""), row.get("speaker", "")


def _intervals(path: str | Path) -> Iterator[tuple[str, ...]]:
    words = [number or string.replace('""', '"') for string, number in _PRAAT.findall(read_text(path, "cp1252"))]
    for first in (at + 5 for at, word in enumerate(words) if word == "IntervalTier"):
        ends = range(first, first + 3 * int(words[first - 1]), 3)
        said = [(start, end, text, "") for start, end, text in (words[at : at + 3] for at in ends) if text.strip()]
        if said:
            yield from said
            return


_READERS = {".srt": _cues, ".vtt": _cues, ".csv": _rows, ".textgrid": _intervals}
