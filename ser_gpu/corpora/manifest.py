"""A list of your own recordings: a CSV of file and emotion with whatever else is known.

Columns, in any order, are those of `COLUMNS`, of which `file` and `emotion` are needed; a file is relative to the list.
The usual aliases of emotions become the canonical one; `part` is for the protocol `listed`. Others, such as
`intensity`, are kept with the clip.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ser_gpu.audio.folder import unread_suffixes
from ser_gpu.audio.formats import SUFFIXES
from ser_gpu.corpora.clip import OWN, Clip, by_id, canonical, gender
from ser_gpu.corpora.known import registered_name
from ser_gpu.errors import InputError

COLUMNS = {
    "file": ("file", "path"),
    "emotion": ("emotion", "label"),
    "speaker": ("speaker",),
    "gender": ("gender", "sex"),
    "part": ("part", "split"),
    "corpus": ("corpus",),
    "group": ("group",),
}
PART_ALIASES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
LIST_SUFFIXES = (".csv", ".tsv", ".txt")
_DELIMITERS = ",;\t|"
_SHOWN_COLUMNS = 8


def unusable(path: Path, unread: Mapping[str, str]) -> str | None:
    """Why a file cannot be a clip, whatever else its name says; None where it can.

    Args:
        unread: suffixes that are left out, and why.
    """
    suffix = path.suffix.lower()
    if path.name.startswith("."):
        return "hidden"
    if suffix not in SUFFIXES and suffix not in unread:
        return f"{suffix} (a format that is not read)"
    return unread.get(suffix) or (None if path.is_file() else "broken link")


def read(path: str | Path) -> tuple[Clip, ...]:
    """The clips of a CSV or TSV file in UTF-8; ids are the paths as given, without suffix where that is unique.

    Raises:
        ValueError: naming file and line: a column is missing, an emotion is empty, a part is unknown, a file is not
            there or is there twice.
    """
    path = Path(path)
    if path.suffix.lower() not in LIST_SUFFIXES:
        raise InputError(f"{path}: neither a folder nor a list of files in CSV or TSV")
    clips: dict[str, Clip] = {}
    line_of: dict[str, int] = {}
    unread = unread_suffixes()
    for line, row in _rows(path):
        try:
            clip = _clip(row, path.parent, unread)
            if clip.id in line_of:
                raise InputError(f"{clip.id} is already in line {line_of[clip.id]}")
        except ValueError as error:
            raise InputError(f"{path}, line {line}: {error}") from None
        clips[clip.id], line_of[clip.id] = clip, line
    if not clips:
        raise InputError(f"{path}: no clip in it")
    stems = Counter(_without_suffix(clip_id) for clip_id in clips)
    short = (
        replace(clip, id=stem) if stems[stem := _without_suffix(clip_id)] == 1 else clip
        for clip_id, clip in clips.items()
    )
    return tuple(sorted(short, key=by_id))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and fields of each row, by the names of `COLUMNS`; others under their own."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=max(_DELIMITERS, key=header.count), restval="")
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
    """Column of the file -> name that it has here."""
    lower = {column.strip().lower(): column for column in columns if column.strip()}
    names = {column: name for name, column in lower.items()}
    for name, aliases in COLUMNS.items():
        column = next((lower[alias] for alias in aliases if alias in lower), None)
        if column is not None:
            names[column] = name
        elif name in ("file", "emotion"):
            shown = ", ".join(columns[:_SHOWN_COLUMNS]) + (", ..." if len(columns) > _SHOWN_COLUMNS else "")
            raise InputError(f"{path}, line 1: no column {' or '.join(aliases)}; there are: {shown or 'none'}")
    return names


def _clip(row: dict[str, str], folder: Path, unread: Mapping[str, str]) -> Clip:
    known = {name: row.get(name, "") for name in COLUMNS}
    if not known["file"]:
        raise InputError("no file is named")
    if not known["emotion"]:
        raise InputError(f"no emotion for {known['file']}")
    part = known["part"].lower()
    if part and part not in PART_ALIASES:
        raise InputError(f"part must be train, validation or test, got {known['part']!r}")
    name = known["file"]
    if "\\" in name and not (folder / name).is_file():
        name = name.replace("\\", "/")
    path = folder / name
    if not path.is_file():
        raise InputError(f"no such file: {known['file']}")
    if reason := unusable(path, unread):
        raise InputError(f"{known['file']}: {reason}")
    return Clip(
        id=Path(name).as_posix(),
        path=path,
        emotion=canonical(known["emotion"]),
        speaker=known["speaker"] or None,
        corpus=registered_name(known["corpus"]) or known["corpus"] or OWN,
        gender=gender(known["gender"]),
        group=known["group"] or None,
        part=PART_ALIASES.get(part),
        extra=tuple((key, value) for key, value in row.items() if key not in COLUMNS and value),
    )


def _without_suffix(clip_id: str) -> str:
    return Path(clip_id).with_suffix("").as_posix()
