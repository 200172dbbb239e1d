"""A list of own recordings: a CSV with file (relative to the list), emotion, and optional columns."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ser_gpu.audio.folder import unread_suffixes
from ser_gpu.corpora.clip import OWN, Clip, by_id, canonical, gender
from ser_gpu.corpora.known import registered_name
from ser_gpu.errors import InputError

# in any order; `part` is for the protocol `listed`; other columns, such as `intensity`, become extra fields
COLUMNS = ("file", "emotion", "speaker", "gender", "part", "corpus", "group")
_OTHER_NAMES = {"file": "path", "emotion": "label", "gender": "sex", "part": "split"}
PART_ALIASES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def read(path: str | Path) -> tuple[Clip, ...]:
    """The clips of a CSV or TSV file in UTF-8; ids are the given paths, without suffix where that is unique.

    Raises InputError with the line where a column or a field is missing or wrong, or a file is absent or twice.
    """
    path = Path(path)
    if path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        raise InputError(f"{path}: neither a folder nor a list of files in CSV or TSV")
    clips: list[Clip] = []
    line_of: dict[str, int] = {}
    unread = unread_suffixes()
    for line, row in _rows(path):
        try:
            clip = _clip(row, path.parent, unread)
            if clip.id in line_of:
                raise InputError(f"{clip.id} is already in line {line_of[clip.id]}")
        except InputError as error:
            raise InputError(f"{path}, line {line}: {error}") from None
        clips.append(clip)
        line_of[clip.id] = line
    if not clips:
        raise InputError(f"{path}: no clip in it")
    stem_of = {clip.id: Path(clip.id).with_suffix("").as_posix() for clip in clips}
    clips_of = Counter(stem_of.values())
    short = (replace(clip, id=stem) if clips_of[stem := stem_of[clip.id]] == 1 else clip for clip in clips)
    return tuple(sorted(short, key=by_id))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    # line number, and name -> field
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=max(",;\t|", key=header.count), restval="")
            names = _names(path, reader.fieldnames or [])
            for row in reader:
                if any(row.pop(None, ())):
                    raise InputError(f"{path}, line {reader.line_num}: more fields than columns")
                if any(row.values()):
                    yield reader.line_num, {name: row[column].strip() for column, name in names.items()}
    except UnicodeDecodeError:
        raise InputError(f"{path}: not text in UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV file: {error}") from None


def _names(path: Path, columns: list[str]) -> dict[str, str]:
    # column of the file -> name in `COLUMNS`, or its own in lower case
    lower = {column.strip().lower(): column for column in columns if column.strip()}
    names = {column: name for name, column in lower.items()}
    for name in COLUMNS:
        other = _OTHER_NAMES.get(name)
        if column := lower.get(name, lower.get(other)):
            names[column] = name
        elif name in ("file", "emotion"):
            shown = ", ".join(columns[:8]) + (", ..." if len(columns) > 8 else "")
            raise InputError(f"{path}, line 1: no column {name} or {other}; there are: {shown or 'none'}")
    return names


def _clip(row: dict[str, str], folder: Path, unread: Mapping[str, str]) -> Clip:
    file, emotion, speaker, sex, part, corpus, group = (row.get(name, "") for name in COLUMNS)
    if not file:
        raise InputError("no file is named")
    if not emotion:
        raise InputError(f"no emotion for {file}")
    if part and part.lower() not in PART_ALIASES:
        raise InputError(f"part must be train, validation or test, got {part!r}")
    name = file if (folder / file).is_file() else file.replace("\\", "/")  # as Windows writes it
    path = folder / name
    if not path.is_file():
        raise InputError(f"no such file: {file}")
    if reason := unread.get(path.suffix.lower()):
        raise InputError(f"{file}: {reason}")
    return Clip(
        id=Path(name).as_posix(),
        path=path,
        emotion=canonical(emotion),
        speaker=speaker or None,
        corpus=registered_name(corpus) or corpus or OWN,
        gender=gender(sex),
        group=group or None,
        part=PART_ALIASES.get(part.lower()),
        extra=tuple((key, value) for key, value in row.items() if key not in COLUMNS and value),
    )
