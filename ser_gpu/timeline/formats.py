"""Timelines as text for other programs. Subtitles, RTTM and labels hold speech only; all name known speakers."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ser_gpu.errors import InputError

if TYPE_CHECKING:
    from ser_gpu.timeline.segment import Segment, Timeline


def of_suffix(path: str | Path) -> str:
    """The format of a suffix. Raises InputError where there is none."""
    suffix = Path(path).suffix.lower()
    for name, known in SUFFIXES.items():
        if known.lower() == suffix:
            return name
    raise InputError(f"{path}: no format has the suffix {suffix!r}; name one of {', '.join(FORMATS)}")


def as_json(timeline: "Timeline") -> str:
    """An object with file, seconds, labels and segments."""
    head = {"file": timeline.name, "seconds": round(timeline.seconds, 3), "labels": list(timeline.labels)}
    return json.dumps({**head, "segments": [segment.as_dict() for segment in timeline.segments]}, indent=2) + "\n"


def as_jsonl(timeline: "Timeline") -> str:
    """One object per line, which can be read while it is written."""
    return "".join(json_line(timeline.name, segment) for segment in timeline.segments)


def json_line(name: str, segment: "Segment") -> str:
    """One segment as a line of JSON."""
    return json.dumps({"file": name, **segment.as_dict()}) + "\n"


def as_csv(timeline: "Timeline") -> str:
    """One row per segment; a pause leaves fields empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    who = ["speaker"] if timeline.speakers else []
    writer.writerow(["start", "end", "speech", *who, "emotion", "confidence", *timeline.labels])
    for each in timeline.segments:
        row = [f"{each.start:.3f}", f"{each.end:.3f}", int(each.speech), *([each.speaker] if who else []), each.emotion]
        shares = (each.confidence, *each.probabilities.values()) if each.speech else ()
        writer.writerow(row + ([f"{share:.4f}" for share in shares] or [""] * (1 + len(timeline.labels))))
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
        cues.append(f"{_clock(each.start, '.')} --> {_clock(each.end, '.')}\n{voice}{_share(each)}\n")
    return "\n".join(cues)


def as_srt(timeline: "Timeline") -> str:
    """SubRip, the subtitles of video players."""
    return "\n".join(
        f"{number}\n{_clock(each.start, ',')} --> {_clock(each.end, ',')}\n{_said(each)}\n"
        for number, each in enumerate(_spoken(timeline), 1)
    )


def as_textgrid(timeline: "Timeline") -> str:
    """For Praat: a tier `emotion` and, where known, `speaker`; a pause is an interval without text."""
    tiers = ["emotion", "speaker"] if timeline.speakers else ["emotion"]
    end, count = f"{timeline.seconds:.3f}", len(timeline.segments)
    text = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    text += f"xmin = 0\nxmax = {end}\ntiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
    for place, tier in enumerate(tiers, 1):
        text += f'    item [{place}]:\n        class = "IntervalTier"\n        name = "{tier}"\n'
        text += f"        xmin = 0\n        xmax = {end}\n        intervals: size = {count}\n"
        for number, each in enumerate(timeline.segments, 1):
            said = (getattr(each, tier) or "").replace('"', '""')
            text += f"        intervals [{number}]:\n            xmin = {each.start:.3f}\n"
            text += f'            xmax = {each.end:.3f}\n            text = "{said}"\n'
    return text


def as_audacity(timeline: "Timeline") -> str:
    """A label track of Audacity: File, Import, Labels."""
    return "".join(f"{each.start:.3f}\t{each.end:.3f}\t{_said(each)}\n" for each in _spoken(timeline))


_WRITERS = (as_json, as_jsonl, as_csv, as_rttm, as_vtt, as_srt, as_textgrid, as_audacity)
FORMATS: dict[str, Callable[["Timeline"], str]] = {each.__name__.removeprefix("as_"): each for each in _WRITERS}
SUFFIXES = {name: f".{name}" for name in FORMATS} | {"textgrid": ".TextGrid", "audacity": ".txt"}


def _spoken(timeline: "Timeline") -> Iterator["Segment"]:
    return (segment for segment in timeline.segments if segment.speech)


def _share(segment: "Segment") -> str:
    return f"{segment.emotion} {segment.confidence:.0%}"


def _said(segment: "Segment") -> str:
    return _share(segment) if segment.speaker is None else f"{segment.speaker}: {_share(segment)}"


def _one_word(text: str) -> str:
    return re.sub(r"\s+", "_", text)


def _clock(seconds: float, point: str) -> str:
    whole, milliseconds = divmod(round(1_000 * seconds), 1_000)
    return f"{whole // 3_600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{milliseconds:03}"
