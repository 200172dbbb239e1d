"""Timelines as files that other programs read. Each format is a function: a timeline -> its text.

| name       | suffix    | read by                                             |
|------------|-----------|-----------------------------------------------------|
| json       | .json     | anything; an object with `segments`                 |
| jsonl      | .jsonl    | line by line, while it is written                   |
| csv        | .csv      | spreadsheets, pandas                                |
| rttm       | .rttm     | pyannote, dscore; the emotion stands for the speaker |
| vtt        | .vtt      | browsers (`<track>`)                                |
| srt        | .srt      | video players                                       |
| textgrid   | .TextGrid | Praat                                               |
| audacity   | .txt      | Audacity: File, Import, Labels                      |

Times are seconds to a millisecond. Subtitles, RTTM and labels hold what is spoken; the others say also where nobody
speaks. Where it is known who speaks, all of them say it, too.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ser_gpu.errors import InputError
from ser_gpu.files import replacing
from ser_gpu.timeline.segment import Segment, Timeline


def save(timeline: Timeline, path: str | Path, format: str | None = None) -> None:
    """Write a timeline whole or not at all.

    Raises:
        ValueError: an unknown format or, where none is given, an unknown suffix.
        OSError: the file cannot be written.
    """
    name = of_suffix(path) if format is None else format
    if name not in FORMATS:
        raise InputError(f"format must be one of {', '.join(FORMATS)}, got {name!r}")
    with replacing(path) as temporary:
        temporary.write_text(FORMATS[name](timeline), encoding="utf-8", newline="")


def of_suffix(path: str | Path) -> str:
    """The format that a suffix means.

    >>> of_suffix("talk.TextGrid")
    'textgrid'

    Raises:
        ValueError: no format has it.
    """
    suffix = Path(path).suffix.lower()
    for name, known in SUFFIXES.items():
        if known.lower() == suffix:
            return name
    raise InputError(f"{path}: no format has the suffix {suffix!r}; name one of {', '.join(FORMATS)}")


def as_json(timeline: Timeline) -> str:
    """An object with the file, its seconds, the labels, and `segments`."""
    head = {"file": timeline.name, "seconds": round(timeline.seconds, 3), "labels": list(timeline.labels)}
    return json.dumps({**head, "segments": [segment.as_dict() for segment in timeline.segments]}, indent=2) + "\n"


def as_jsonl(timeline: Timeline) -> str:
    """An object a line."""
    return "".join(json_line(timeline.name, segment) for segment in timeline.segments)


def json_line(name: str, segment: Segment) -> str:
    """One segment as a line."""
    return json.dumps({"file": name, **segment.as_dict()}) + "\n"


def as_csv(timeline: Timeline) -> str:
    """A row a segment; what a pause does not have stays empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    who = ["speaker"] if timeline.speakers else []
    writer.writerow(["start", "end", "speech", *who, "emotion", "confidence", *timeline.labels])
    for segment in timeline.segments:
        shares = [segment.confidence, *segment.probabilities.values()] if segment.speech else []
        empty = [""] * (1 + len(timeline.labels) - len(shares))
        numbers = [f"{share:.4f}" for share in shares]
        times = [f"{segment.start:.3f}", f"{segment.end:.3f}"]
        speaker = [segment.speaker or ""] * len(who)
        writer.writerow([*times, int(segment.speech), *speaker, segment.emotion or "", *numbers, *empty])
    return text.getvalue()


def as_rttm(timeline: Timeline) -> str:
    """A line a segment with speech. It is of the emotion, or of "speaker_emotion"; names have no spaces there."""
    name = re.sub(r"\s+", "_", Path(timeline.name).stem) or "recording"
    return "".join(
        f"SPEAKER {name} 1 {segment.start:.3f} {segment.seconds:.3f} <NA> <NA> "
        f"{_in_one_word(segment)} {segment.confidence:.3f} <NA>\n"
        for segment in _spoken(timeline)
    )


def as_vtt(timeline: Timeline) -> str:
    """WebVTT subtitles; who speaks is their voice, <v NAME>."""
    cues = (f"{_clock(s.start, '.')} --> {_clock(s.end, '.')}\n{_voiced(s)}\n" for s in _spoken(timeline))
    return "\n".join(["WEBVTT\n", *cues])


def as_srt(timeline: Timeline) -> str:
    """SubRip subtitles."""
    cues = (
        f"{number}\n{_clock(segment.start, ',')} --> {_clock(segment.end, ',')}\n{_said(segment)}\n"
        for number, segment in enumerate(_spoken(timeline), 1)
    )
    return "\n".join(cues)


def as_textgrid(timeline: Timeline) -> str:
    """A TextGrid with one tier, `emotion`, and where it is known `speaker`; a pause is an interval without text."""
    end = f"{timeline.seconds:.3f}"
    tiers = ["emotion", "speaker"] if timeline.speakers else ["emotion"]
    lines = [
        *('File type = "ooTextFile"', 'Object class = "TextGrid"', ""),
        *("xmin = 0", f"xmax = {end}", "tiers? <exists>", f"size = {len(tiers)}", "item []:"),
    ]
    for place, tier in enumerate(tiers, 1):
        lines += [
            *(f"    item [{place}]:", '        class = "IntervalTier"', f'        name = "{tier}"'),
            *("        xmin = 0", f"        xmax = {end}", f"        intervals: size = {len(timeline.segments)}"),
        ]
        for number, segment in enumerate(timeline.segments, 1):
            text = (getattr(segment, tier) or "").replace('"', '""')
            lines += [
                *(f"        intervals [{number}]:", f"            xmin = {segment.start:.3f}"),
                *(f"            xmax = {segment.end:.3f}", f'            text = "{text}"'),
            ]
    return "\n".join(lines) + "\n"


def as_audacity(timeline: Timeline) -> str:
    """A label track."""
    return "".join(f"{s.start:.3f}\t{s.end:.3f}\t{_said(s)}\n" for s in _spoken(timeline))


FORMATS: dict[str, Callable[[Timeline], str]] = {
    "json": as_json,
    "jsonl": as_jsonl,
    "csv": as_csv,
    "rttm": as_rttm,
    "vtt": as_vtt,
    "srt": as_srt,
    "textgrid": as_textgrid,
    "audacity": as_audacity,
}
SUFFIXES = {name: f".{name}" for name in FORMATS} | {"textgrid": ".TextGrid", "audacity": ".txt"}


def _spoken(timeline: Timeline) -> Iterator[Segment]:
    return (segment for segment in timeline.segments if segment.speech)


def _said(segment: Segment) -> str:
    who = "" if segment.speaker is None else f"{segment.speaker}: "
    return f"{who}{segment.emotion} {segment.confidence:.0%}"


def _voiced(segment: Segment) -> str:
    if segment.speaker is None:
        return _said(segment)
    name = re.sub(r"[<>&\s]+", " ", segment.speaker).strip()
    return f"<v {name}>{segment.emotion} {segment.confidence:.0%}"


def _in_one_word(segment: Segment) -> str:
    names = [name for name in (segment.speaker, segment.emotion) if name is not None]
    return re.sub(r"\s+", "_", "_".join(names))


def _clock(seconds: float, point: str) -> str:
    """
    >>> _clock(3_725.0405, ",")
    '01:02:05,040'
    """
    whole, milliseconds = divmod(round(1_000 * seconds), 1_000)
    return f"{whole // 3_600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{milliseconds:03}"
