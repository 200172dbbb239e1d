"""Your own recordings: a folder per emotion, or a CSV of file and emotion with whatever else is known.

Columns of the CSV, in any order; `file` and `emotion` are needed:

| column                    | what                                                                |
|---------------------------|---------------------------------------------------------------------|
| `file` or `path`          | the recording, relative to the CSV's folder                         |
| `emotion` or `label`      | any name; usual aliases become the canonical one                    |
| `speaker`                 | any text                                                            |
| `gender` or `sex`         | male, female, m, f                                                  |
| `part` or `split`         | train, validation or test, for the protocol `listed`                |
| `corpus`                  | a name                                                              |
| `group`                   | the same for repetitions of one utterance                           |
| `intensity`, `sentence`, others | kept with the clip                                            |
"""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ser_gpu.corpora import registered_name
from ser_gpu.corpora.clip import OWN, Clip, by_id, canonical, gender
from ser_gpu.corpora.corpus import Scan, counted, media_files, preferred, unreadable
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
SUFFIXES = (".csv", ".tsv", ".txt")
_DELIMITERS = ",;\t|"
_SHOWN_COLUMNS = 8


def folder_per_emotion(folder: str | Path) -> Scan:
    """Every recording in `folder/EMOTION/`, in any nesting below; ids are relative paths without suffix.

    Where the folders are called train, validation and test (or the like), those with the emotions lie in them.

    Raises:
        ValueError: there is no audio file in a folder of an emotion.
    """
    folder = Path(folder)
    found: dict[str, Clip] = {}
    left_out: Counter[str] = Counter()
    paths = media_files(folder)
    tops = {path.relative_to(folder).parts[0].lower() for path in paths if path.parent != folder}
    with_parts = bool(tops) and tops <= PART_ALIASES.keys()
    for path in paths:
        relative = path.relative_to(folder)
        *folders, _ = relative.parts
        part = PART_ALIASES[folders.pop(0).lower()] if with_parts and folders else None
        reason = unreadable(path) or (None if folders else "not in a folder of an emotion")
        if reason:
            left_out[reason] += 1
            continue
        clip_id = relative.with_suffix("").as_posix()
        clip = Clip(clip_id, path, canonical(folders[0]), speaker=None, corpus=OWN, part=part)
        left_out["duplicate"] += clip_id in found
        found[clip_id] = preferred(clip, found.get(clip_id))
    left_out += Counter()
    if not found:
        instead = f"; left out: {counted(left_out)}" if left_out else ""
        raise InputError(
            f"{folder}: neither a folder per emotion (such as happy/a.wav) nor official names of a corpus{instead}"
        )
    return Scan(tuple(sorted(found.values(), key=by_id)), dict(left_out))


def read(path: str | Path) -> Scan:
    """The clips of a CSV or TSV file in UTF-8; ids are the paths as given, without suffix where that is unique.

    Raises:
        ValueError: naming file and line: a column is missing, an emotion is empty, a part is unknown, a file is not
            there or is there twice.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: neither a folder nor a list of files in CSV or TSV")
    clips: dict[str, Clip] = {}
    line_of: dict[str, int] = {}
    for line, row in _rows(path):
        try:
            clip = _clip(row, path.parent)
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
    return Scan(tuple(sorted(short, key=by_id)), {})


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


def _clip(row: dict[str, str], folder: Path) -> Clip:
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
    if reason := unreadable(path):
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
