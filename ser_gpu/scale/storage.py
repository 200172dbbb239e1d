"""Files on this machine and at addresses such as s3://bucket/folder, by file systems of fsspec."""

import re
from pathlib import Path
from typing import BinaryIO

import fsspec
import pyarrow as pa
from fsspec import AbstractFileSystem
from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow.fs import FileSystem

from ser_gpu.errors import check, reason


def is_address(place: str) -> bool:
    """True for s3://..., gs://... and the like, False for a path on this machine."""
    return "://" in place


def absolute(place: str) -> str:
    """The place with an absolute path, the same for every process."""
    return place.rstrip("/") if is_address(place) else str(Path(place).absolute())


def system(place: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a place (pyarrow's where it has one) and the name there. Raises OSError."""
    if not is_address(place):
        return fsspec.filesystem("file"), place
    try:
        try:
            found, name = FileSystem.from_uri(place)
        except pa.ArrowInvalid:  # none of pyarrow's own
            return fsspec.url_to_fs(place)
        return ArrowFSWrapper(found), name
    except (pa.ArrowException, OSError, ValueError, ImportError) as error:
        raise OSError(f"{place}: cannot be opened: {reason(error)}") from None


def expand(pattern: str) -> list[str]:
    """The places that match a pattern of *, ?, [...] or **, sorted. Raises InputError where there are none."""
    pattern = absolute(pattern)
    fixed = re.split(r"[*?\[]", pattern)[0]
    if fixed == pattern or (not is_address(pattern) and Path(pattern).exists()):
        files, name = system(pattern)
        check(files.exists(name), f"{pattern}: no such file or folder")
        return [pattern]
    folder = fixed.rpartition("/")[0]
    files, name = system(folder)
    found = [folder.removesuffix(name) + each for each in sorted(files.glob(name + pattern[len(folder) :]))]
    check(found, f"{pattern}: nothing has such a name")
    return found


def list_files(place: str, depth: int | None = None) -> list[str]:
    """The files under a folder, down to a depth, sorted; none where there is no such folder."""
    files, name = system(place)
    return [place.removesuffix(name) + each for each in sorted(files.find(name, maxdepth=depth))]


def open_file(place: str) -> BinaryIO:
    """Open the file at a place for reading; it can seek."""
    files, name = system(place)
    return files.open(name, "rb")


class Remote:
    """The file at an address as a stream, opened where it is read."""

    def __init__(self, place: str):
        self.name = place
        self._file: BinaryIO | None = None

    def read(self, size: int) -> bytes:
        """The next bytes. Raises OSError where it cannot be read."""
        self._file = self._file or open_file(self.name)
        if not (content := self._file.read(size)):
            self._file.close()
        return content
