"""Timelines as text for other programs. Subtitles, RTTM and labels hold speech only; all name known speakers.

Times are to a millisecond, and what is shorter is left out.
"""

import csv
import html
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from ser_gpu.errors import InputError

if TYPE_CHECKING:
    from ser_gpu.timeline.segment import Segment, Timeline


def of_suffix(path: str | Path, option: str = "") -> str:
    """The format of a suffix. Raises InputError, which names the option too, where there is none."""
    suffix = Path(path).suffix.lower()
    for name, known in SUFFIXES.items():
        if known.lower() == suffix:
            return name
    raise InputError(f"{option}{path}: no format has the suffix {suffix!r}; name one of {', '.join(FORMATS)}")


def without_suffix(path: str) -> str:
    """The path without the suffix of a format; other dots belong to the name."""
    return re.sub(rf"({'|'.join(map(re.escape, SUFFIXES.values()))})$", "", path, flags=re.IGNORECASE)


def as_json(timeline: "Timeline") -> str:
    """An object with file, seconds, labels and segments."""
    head = {"file": timeline.name, "seconds": round(timeline.seconds, 3), "labels": list(timeline.labels)}
    segments = [segment.as_dict() for segment in lasting(timeline.segments)]
    return json.dumps({**head, "segments": segments}, indent=2) + "\n"


def as_jsonl(timeline: "Timeline") -> str:
    """One object per line, which can be read while it is written."""
    return "".join(json_line(timeline.name, segment) for segment in lasting(timeline.segments))


def json_line(name: str, segment: "Segment") -> str:
    """One segment as a line of JSON."""
    return json.dumps({"file": name, **segment.as_dict()}) + "\n"


def as_csv(timeline: "Timeline") -> str:
    """One row per segment; a pause leaves fields empty."""
    text = io.StringIO()
    columns = ["start", "end", "speech", *_known(timeline), "emotion", "confidence", *timeline.labels]
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for each in lasting(timeline.segments):
        shares = {"confidence": each.confidence, **each.probabilities} if each.speech else {}
        times = {"start": f"{each.start:.3f}", "end": f"{each.end:.3f}", "speech": int(each.speech)}
        writer.writerow(vars(each) | times | {name: f"{share:.4f}" for name, share in shares.items()})
    return text.getvalue()


def as_rttm(timeline: "Timeline") -> str:
    """For pyannote and dscore: "emotion" or "speaker_emotion" is their speaker; names have no spaces."""
    name = _one_word(Path(timeline.name).stem) or "recording"
    return "".join(
        f"SPEAKER {name} 1 {each.start:.3f} {each.seconds:.3f} <NA> <NA> "
        f"{_one_word('_'.join(filter(None, (each.speaker, each.emotion))))} {each.confidence:.3f} <NA>\n"
        for each in _spoken(timeline)
    )


def as_vtt(timeline: "Timeline") -> str:
    """WebVTT, the subtitles of browsers; a speaker is a voice, <v NAME>."""
    cues = ["WEBVTT\n"]
    for each in _spoken(timeline):
        name = re.sub(r"[<>&\s]+", " ", each.speaker or "").strip()
        voice = "" if each.speaker is None else f"<v {name}>"
        said = html.escape(_share(each), quote=False)
        cues.append(f"{_clock(each.start, '.')} --> {_clock(each.end, '.')}\n{voice}{said}\n")
    return "\n".join(cues)


def as_srt(timeline: "Timeline") -> str:
    """SubRip, the subtitles of video players, which take < for a tag and know no escape: similar signs stand for it."""
    return "\n".join(
        f"{number}\n{_clock(each.start, ',')} --> {_clock(each.end, ',')}\n{_said(each).translate(_NO_TAGS)}\n"
        for number, each in enumerate(_spoken(timeline), 1)
    )


def as_textgrid(timeline: "Timeline") -> str:
    """For Praat: a tier `emotion` and, where known, `speaker` and `text`; a pause is an interval without text.

    Of segments that overlap, the later one begins where the other ends.
    """
    tiers = ["emotion", *_known(timeline)]
    ends = [0.0, *accumulate((round(each.end, 3) for each in timeline.segments), max)]
    bounds = zip(ends[:-1], ends[1:], timeline.segments, strict=True)
    intervals = [(start, end, each) for start, end, each in bounds if start < end]
    text = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    text += f"xmin = 0\nxmax = {ends[-1]:.3f}\ntiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
    for place, tier in enumerate(tiers, 1):
        text += f'    item [{place}]:\n        class = "IntervalTier"\n        name = "{tier}"\n'
        text += f"        xmin = 0\n        xmax = {ends[-1]:.3f}\n        intervals: size = {len(intervals)}\n"
        for number, (start, end, each) in enumerate(intervals, 1):
            said = (getattr(each, tier) or "").replace('"', '""')
            text += f"        intervals [{number}]:\n            xmin = {start:.3f}\n"
            text += f'            xmax = {end:.3f}\n            text = "{said}"\n'
    return text


def as_audacity(timeline: "Timeline") -> str:
    """A label track of Audacity: File, Import, Labels."""
    return "".join(f"{each.start:.3f}\t{each.end:.3f}\t{_said(each)}\n" for each in _spoken(timeline))


_WRITERS = (as_json, as_jsonl, as_csv, as_rttm, as_vtt, as_srt, as_textgrid, as_audacity)
FORMATS: dict[str, Callable[["Timeline"], str]] = {each.__name__.removeprefix("as_"): each for each in _WRITERS}
SUFFIXES = {name: f".{name}" for name in FORMATS} | {"textgrid": ".TextGrid", "audacity": ".txt"}
_NO_TAGS = str.maketrans("<>", "\u2039\u203a")


def lasting(segments: "Iterable[Segment]") -> "Iterator[Segment]":
    """Those that have a length, in whole milliseconds."""
    return (each for each in segments if round(each.start, 3) < round(each.end, 3))


def percent(share: float) -> int:
    """A share in percent, rounded, but to 0 and 100 only where it is none or all."""
    return min(max(round(100 * share), int(share > 0)), 100 - int(share < 1))


def _known(timeline: "Timeline") -> list[str]:
    return [name for name in ("speaker", "text") if any(getattr(each, name) for each in timeline.stretches)]


def _spoken(timeline: "Timeline") -> "Iterator[Segment]":
    return (segment for segment in lasting(timeline.segments) if segment.speech)


def _share(segment: "Segment") -> str:
    share = f"{segment.emotion} {percent(segment.confidence)} %"
    return f"[{share}] {_one_line(segment.text)}" if segment.text else share


def _said(segment: "Segment") -> str:
    return _share(segment) if segment.speaker is None else f"{_one_line(segment.speaker)}: {_share(segment)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())  # an empty line would end the cue


def _one_word(text: str) -> str:
    return re.sub(r"\s+", "_", text)


def _clock(seconds: float, point: str) -> str:
    whole, milliseconds = divmod(round(1_000 * seconds), 1_000)
    return f"{whole // 3_600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{milliseconds:03}"
