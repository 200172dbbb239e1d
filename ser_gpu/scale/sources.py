"""Which recordings are to be scored: folders, patterns, lists of files, and Parquet files that hold audio."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ser_gpu.audio.folder import audio_files
from ser_gpu.audio.formats import SUFFIXES
from ser_gpu.errors import InputError
from ser_gpu.scale import storage

if TYPE_CHECKING:
    import pyarrow as pa

LISTS = (".csv", ".tsv")
PARQUET = ".parquet"
PATH_COLUMNS = ("path", "file")
BYTES_COLUMNS = ("audio", "bytes")


@dataclass(frozen=True)
class RowGroup:
    """Recordings in one row group of a Parquet file.

    Attributes:
        place: of the file.
        group: number of the row group in it.
        column: that holds the bytes of an audio file, such as "audio.bytes".
        rows: numbers of the rows in the group.
        names: what to call each.
    """

    place: str
    group: int
    column: str
    rows: tuple[int, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Sources:
    """Recordings to score: files by their paths, and what Parquet files hold."""

    files: tuple[str, ...]
    groups: tuple[RowGroup, ...]

    def __len__(self) -> int:
        return len(self.files) + sum(len(group.names) for group in self.groups)

    def without(self, done: AbstractSet[str]) -> "Sources":
        """Those that are not done."""
        files = tuple(name for name in self.files if name not in done)
        groups = (_left(group, done) for group in self.groups)
        return Sources(files, tuple(group for group in groups if group.names))


def _left(group: RowGroup, done: AbstractSet[str]) -> RowGroup:
    left = [(row, name) for row, name in zip(group.rows, group.names, strict=True) if name not in done]
    return replace(group, rows=tuple(row for row, _ in left), names=tuple(name for _, name in left))


def find(places: Sequence[str]) -> Sources:
    """The recordings that some places name; a file that is named twice is one.

    Raises:
        ValueError: a place that names none, a list without paths, or two recordings of one name in Parquet files.
    """
    files: list[str] = []
    groups: list[RowGroup] = []
    for place in (found for pattern in places for found in storage.expand(pattern)):
        suffix = PurePosixPath(place).suffix.lower()
        if storage.is_folder(place):
            files += _of_folder(place)
        elif suffix in LISTS:
            files += _listed(place, _rows_of_csv(place, "\t" if suffix == ".tsv" else ","))
        elif suffix == PARQUET:
            _add_parquet(place, files, groups)
        else:
            files.append(place)
    files = list(dict.fromkeys(files))
    _require_distinct(files, groups)
    return Sources(tuple(files), tuple(groups))


def _of_folder(place: str) -> list[str]:
    if storage.is_address(place):
        found = [file for file in storage.list_files(place) if PurePosixPath(file).suffix.lower() in SUFFIXES]
    else:
        found = [str(path) for path in audio_files(place).paths]
    if not found:
        raise InputError(f"{place}: no audio file in this folder; Parquet files are named as {place}/*.parquet")
    return found


def _rows_of_csv(place: str, delimiter: str) -> tuple[list[str], Iterator[dict[str, str]]]:
    with storage.open_file(place) as file:
        content = file.read()
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig")), delimiter=delimiter)
        return list(reader.fieldnames or ()), reader
    except UnicodeDecodeError:
        raise InputError(f"{place}: not text in UTF-8") from None


def _listed(place: str, table: tuple[list[str], Iterator[dict[str, str]]]) -> list[str]:
    """The paths of a list; those that are relative are so to its folder."""
    columns, rows = table
    column = _column(place, columns)
    folder = place.rpartition("/")[0]
    named = (row[column] for row in rows if row[column])
    return [_resolved(name, folder) for name in named]


def _resolved(name: str, folder: str) -> str:
    """A path on this machine in one spelling, so that a file that is named twice is found to be one."""
    place = name if storage.is_address(name) or Path(name).is_absolute() else f"{folder}/{name}"
    return place if storage.is_address(place) else os.path.normpath(place)


def _column(place: str, columns: Sequence[str]) -> str:
    column = next((name for name in PATH_COLUMNS if name in columns), None)
    if column is None:
        raise InputError(f"{place}: no column {' or '.join(PATH_COLUMNS)}; there are: {', '.join(columns) or 'none'}")
    return column


def _add_parquet(place: str, files: list[str], groups: list[RowGroup]) -> None:
    """The recordings that a Parquet file holds or, where it holds none, lists."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        with storage.open_file(place) as file, ParquetFile(file) as parquet:
            schema = parquet.schema_arrow
            audio = audio_column(schema)
            if audio is None:
                column = _column(place, schema.names)
                files += _listed(place, (schema.names, parquet.read([column]).to_pylist()))
                return
            first = 0
            for number in range(parquet.num_row_groups):
                names = _names(place, parquet, number, audio.rpartition(".")[0], first)
                groups.append(RowGroup(place, number, audio, tuple(range(len(names))), names))
                first += len(names)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        raise InputError(f"{place}: is not a Parquet file") from None


def audio_column(schema: "pa.Schema") -> str | None:
    """The column that holds the bytes of audio files: `audio.bytes`, as data sets of Hugging Face have it, `audio` or
    `bytes`; None where there is none.
    """
    import pyarrow.types as types

    for name in BYTES_COLUMNS:
        if name in schema.names:
            kind = schema.field(name).type
            if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                return f"{name}.bytes"
            if types.is_binary(kind) or types.is_large_binary(kind):
                return name
    return None


def _names(place: str, parquet: object, group: int, within: str, first: int) -> tuple[str, ...]:
    """What the rows of a group call themselves, in the first column of paths that there is; else FILE#ROW."""
    candidates = (*PATH_COLUMNS, *([f"{within}.path"] if within else []))
    for column in candidates:
        table = parquet.read_row_group(group, columns=[column])
        if table.num_columns:
            values = table.column(0).combine_chunks()
            values = values.field("path") if column == f"{within}.path" else values
            return tuple(value or f"{place}#{first + row}" for row, value in enumerate(values.to_pylist()))
    return tuple(f"{place}#{first + row}" for row in range(parquet.metadata.row_group(group).num_rows))


def _require_distinct(files: Sequence[str], groups: Sequence[RowGroup]) -> None:
    seen = set(files)
    for group in groups:
        for name in group.names:
            if name in seen:
                raise InputError(f"{group.place}: the path {name!r} is there twice, so an answer would not tell which")
            seen.add(name)
