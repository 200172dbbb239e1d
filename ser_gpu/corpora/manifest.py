"""A list of own recordings: a CSV with file (relative to the list), emotion, and optional columns."""

import csv
import io
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ser_gpu.corpora.clip import OWN, PART_ALIASES, UNKNOWN, Clip, by_id, canonical, gender
from ser_gpu.corpora.known import registered_name
from ser_gpu.errors import InputError, check, shortened
from ser_gpu.files import decoded, listed

# what is read, and the names of its column, in any case and order: the first of them that is there counts. `part` is
# for the protocol `listed`, `start` and what follows are seconds; other columns, such as `intensity`, are extra fields
COLUMNS = {
    "file": "file path filepath filename audio audiofile audiopath audiofilepath wav wavfile wavpath",
    "emotion": "emotion label class emotionlabel category",
    "speaker": "speaker speakerid spk spkid subject subjectid actor",
    "gender": "gender sex",
    "part": "part split subset",
    "corpus": "corpus",
    "group": "group",
    "start": "start begin starttime onset xmin offset",
    "end": "end stop endtime xmax offset",  # where another column is the start
    "duration": "duration",
}
_END = "\0"  # a row that no text has
Row = tuple[int, dict[str, str]]  # number of its line, and name -> field
_TIME = re.compile(r"((?:start|end)(?:time)?|begin|stop|onset|offset|duration)(?:in)?s(?:ec(?:ond)?s?)?")  # start (s)
_BEFORE_HEADER = re.compile(r'[\r\n]*(?:"?sep=(.)"?[ \t,;]*(?:\r\n?|\n))?', re.IGNORECASE)  # Excel names the separator


def read(path: str | Path) -> tuple[tuple[Clip, ...], dict[str, int]]:
    """The clips of a CSV or TSV file, and reason -> number of rows that are left out; ids are the given paths, without
    suffix where that is unique, and with start and end where a file has several clips.

    Raises InputError, with the line where a column or a field is missing or wrong, or a clip is there twice.
    """
    path = Path(path)
    clips: list[Clip] = []
    missing: list[str] = []
    line_of: dict[tuple, int] = {}
    left_out = 0
    for line, row in rows(path, path.read_bytes()):
        row = {name: value for name, value in row.items() if value.lower() not in UNKNOWN}
        if "file" in row and "emotion" not in row:
            left_out += 1
            continue
        try:
            clip = _clip(row, path.parent)
            first = line_of.setdefault((os.path.realpath(clip.path), clip.start, clip.end), line)
            check(first == line, f"{clip.id} is already in line {first}")
        except InputError as error:
            raise InputError(f"{path}, line {line}: {error}") from None
        if not os.path.isfile(clip.path):  # noqa: PTH113 - Path's raises where a name is too long
            missing.append(f"{clip.id} (line {line})")
        clips.append(clip)
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise InputError(f"{path}: no such file: {len(missing):,} of {len(clips):,}: {shown}")
    check(clips, f"{path}: no clip in it" + (f"; rows without an emotion: {left_out:,}" if left_out else ""))
    clips_of = Counter(clip.id for clip in clips)
    files_of = Counter(Path(file).with_suffix("") for file in clips_of)
    for place, clip in enumerate(clips):
        stem = Path(clip.id).with_suffix("")
        name = stem.as_posix() if files_of[stem] == 1 else clip.id
        name += f":{clip.start:.10g}-{clip.end:.10g}" if clips_of[clip.id] > 1 else ""
        clips[place] = replace(clip, id=name)
    return tuple(sorted(clips, key=by_id)), {"without an emotion": left_out} if left_out else {}


def rows(path: str | Path, content: bytes, needed: Sequence[str] = ("file", "emotion")) -> Iterator[Row]:
    """The rows of a list and their line numbers, fields by names of `COLUMNS` or else their own in lower case.

    needed: columns that must be there. Raises InputError, with the line where one is wrong.
    """
    text = decoded(content, "cp1252")
    check(text is not None, f"{path}: neither a folder nor a list: no text in UTF-8, UTF-16 or Latin-1")
    before = _BEFORE_HEADER.match(text)
    file = io.StringIO(f"{text[before.end() :]}\n{_END}", newline="")
    header = file.readline()
    file.seek(0)
    reader = csv.reader(file, delimiter=before[1] or max(",;\t|", key=header.count))
    try:
        columns = next(reader, [])
        names = _names(path, columns, needed)
        for fields in reader:
            line = reader.line_num + len(before[0].splitlines())
            check(not any(fields[len(columns) :]), f"{path}, line {line}: more fields than columns")
            row = {name: fields[place].strip() for place, name in names.items() if place < len(fields)}
            if fields == [_END]:
                return
            wide = " ".join(row[name] for name in needed if re.search(r"[\r\n]", row.get(name, "")))
            check(not wide, f"{path}: a quotation mark is not closed: {shortened(wide, 60)}")
            if any(map(str.strip, fields)):
                yield line, row
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV file: {error}") from None
    raise InputError(f"{path}: a quotation mark is not closed")


def _names(path: str | Path, columns: list[str], needed: Sequence[str]) -> dict[int, str]:
    # place of a column -> name in `COLUMNS`, or its own in lower case
    names = {place: column.strip().lower() for place, column in enumerate(columns) if column.strip()}
    keys = {place: re.sub(r"[\W_]+", "", name) for place, name in names.items()}
    keys = {place: match[1] if (match := _TIME.fullmatch(key)) else key for place, key in keys.items()}
    for name, others in COLUMNS.items():
        places = [place for other in others.split() for place, key in keys.items() if key == other]
        if places:
            names[places[0]] = name
            del keys[places[0]]
        elif name in needed:
            shown = ", ".join(columns[:8]) + ", ..." * (len(columns) > 8) or "none"
            needs = " or ".join(others.split()[:3])
            raise InputError(f"{path}, line 1: no column {needs}; there are: {shortened(shown, 200)}")
    if twice := [name for name, count in Counter(names.values()).items() if count > 1]:
        raise InputError(f"{path}, line 1: two columns are named {twice[0]}")
    return names


def _clip(row: dict[str, str], folder: Path) -> Clip:
    file, emotion, speaker, sex, part, corpus, group, *_ = (row.get(name, "") for name in COLUMNS)
    check(file, "no file is named")
    check(not part or part.lower() in PART_ALIASES, f"part must be train, validation or test, got {part!r}")
    path = listed(folder, file)
    times = {name: seconds(row[name]) for name in ("start", "end", "duration") if name in row}
    if wrong := next((name for name, each in times.items() if not each >= 0), None):
        raise InputError(f"{wrong} must be seconds or hours:minutes:seconds, got {row[wrong]!r}")
    start = times.get("start", 0.0)
    end = times.get("end", start + times.get("duration", math.inf))
    check(end > start, f"{file}: the end, {end:g} s, must be after the start, {start:g} s")
    name = str(path) if Path(file).is_absolute() else Path(os.path.relpath(path, folder)).as_posix()
    corpus, part = registered_name(corpus) or corpus or OWN, PART_ALIASES.get(part.lower())
    extra = tuple((key, value) for key, value in row.items() if key not in COLUMNS and value)
    who = speaker or None, corpus, gender(sex), group or None
    return Clip(name, path, canonical(emotion), *who, part, extra, start, end)


def seconds(text: str) -> float:
    """Seconds from a text in seconds or hours:minutes:seconds, with a point or a comma; NaN for any other.

    >>> seconds("1:02,5")
    62.5
    """
    with suppress(ValueError, OverflowError):
        parts = map(float, reversed(text.replace(",", ".").split(":")))
        return sum(part * 60**place for place, part in enumerate(parts))
    return math.nan
