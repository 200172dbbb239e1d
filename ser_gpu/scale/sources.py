"""Find the recordings to score: in folders, patterns, lists of files, and Parquet files that hold audio."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
from pyarrow import types
from pyarrow.parquet import ParquetFile

from ser_gpu.audio.folder import HIDDEN, audio_files, is_hidden
from ser_gpu.audio.formats import SUFFIXES
from ser_gpu.corpora import manifest
from ser_gpu.errors import InputError, check, refusing
from ser_gpu.scale import storage

PATH_COLUMNS = ("path", "file")
BYTES_COLUMNS = ("audio", "bytes")


@dataclass(frozen=True)
class RowGroup:
    """Recordings in one row group of a Parquet file."""

    place: str  # of the file
    group: int  # its number in the file
    column: str  # that holds the bytes of audio files, such as "audio.bytes"
    rows: tuple[int, ...]  # their numbers in the group
    names: tuple[str, ...]  # of the recordings


@dataclass(frozen=True)
class Sources:
    """Recordings to score: paths of files, and row groups of Parquet files."""

    files: tuple[str, ...]
    groups: tuple[RowGroup, ...]
    notes: tuple[str, ...] = ()  # what is left out

    @property
    def names(self) -> list[str]:
        """The name of every recording."""
        return [*self.files, *(name for group in self.groups for name in group.names)]

    def without(self, done: Collection[str]) -> "Sources":
        """The recordings that are not in `done`."""
        groups = []
        for group in self.groups:
            left = [pair for pair in zip(group.rows, group.names, strict=True) if pair[1] not in done]
            if left:
                groups.append(RowGroup(group.place, group.group, group.column, *zip(*left, strict=True)))
        return Sources(tuple(name for name in self.files if name not in done), tuple(groups))


def find(places: Sequence[str]) -> Sources:
    """The recordings of some places; a file that is named twice counts once.

    Raises InputError where a place has none, a list has no paths, or two recordings in Parquet files share a name.
    """
    files: list[str] = []
    groups: list[RowGroup] = []
    notes: list[str] = []
    for place in (found for pattern in places for found in storage.expand(pattern)):
        suffix = PurePosixPath(place).suffix.lower()
        system, name = storage.system(place)
        if system.isdir(name):
            inside, skipped = _of_folder(place)
            files += inside
            notes += [f"{place}: skipped {count:,} ({reason})" for reason, count in skipped.items()]
        elif suffix in (".csv", ".tsv"):
            with storage.open_file(place) as file:
                rows = manifest.rows(place, file.read(), needed=("file",))
            files += _listed(place, [row.get("file") for _, row in rows])
        elif suffix == ".parquet":
            _add_parquet(place, files, groups)
        else:
            files.append(place)
    found = Sources(tuple(dict.fromkeys(files)), tuple(groups), tuple(notes))
    seen = set(found.files)
    for place, name in ((group.place, name) for group in groups for name in group.names):
        check(name not in seen, f"{place}: the path {name!r} is there twice, so an answer would not tell which")
        seen.add(name)
    return found


def _of_folder(place: str) -> tuple[list[str], dict[str, int]]:
    if storage.is_address(place):
        every = [file for file in storage.list_files(place) if PurePosixPath(file).suffix.lower() in SUFFIXES]
        found = [file for file in every if not is_hidden(PurePosixPath(file.removeprefix(place)))]
        skipped = {HIDDEN: len(every) - len(found)} if len(found) < len(every) else {}
    else:
        inside = audio_files(place)
        found, skipped = [str(path) for path in inside.paths], inside.skipped_counts
    check(found, f"{place}: no audio file in this folder; Parquet files are named as {place}/*.parquet")
    return found, skipped


def _listed(place: str, given: Sequence[str | None]) -> list[str]:
    # relative to the folder of the list, and normalised, so that a file named twice counts once
    folder = place.rpartition("/")[0]
    names = (name if "://" in name or Path(name).is_absolute() else f"{folder}/{name}" for name in given if name)
    return [name if storage.is_address(name) else os.path.normpath(name) for name in names]


def _add_parquet(place: str, files: list[str], groups: list[RowGroup]) -> None:
    refused = refusing(place, pa.ArrowInvalid, UnicodeDecodeError, problem="is not a Parquet file")
    with refused, storage.open_file(place) as file, ParquetFile(file) as parquet:
        audio = _audio_column(parquet.schema_arrow)
        if audio is None:
            columns = parquet.schema_arrow.names
            if not (column := next(filter(columns.__contains__, PATH_COLUMNS), None)):
                raise InputError(f"{place}: no column {' or '.join(PATH_COLUMNS)}; there are: {', '.join(columns)}")
            files += _listed(place, parquet.read([column]).column(0).to_pylist())
            return
        known = (*PATH_COLUMNS, f"{audio.removesuffix('.bytes')}.path")  # absent columns are not read
        table = parquet.read(known).flatten()
        stated = next((table[name].to_pylist() for name in known if name in table.column_names), None)
        first = 0
        for number in range(parquet.num_row_groups):
            rows = range(parquet.metadata.row_group(number).num_rows)
            names = ((stated and stated[first + row]) or f"{place}#{first + row}" for row in rows)
            groups.append(RowGroup(place, number, audio, tuple(rows), tuple(names)))
            first += len(rows)


def _audio_column(schema: pa.Schema) -> str | None:
    # `audio.bytes` (Hugging Face data sets), `audio` or `bytes`
    for name in (name for name in BYTES_COLUMNS if name in schema.names):
        kind = schema.field(name).type
        if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            return f"{name}.bytes"
        if types.is_binary(kind) or types.is_large_binary(kind):
            return name
    return None
