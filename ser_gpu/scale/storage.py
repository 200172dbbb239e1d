"""Files on this machine and at addresses such as s3://bucket/folder: a file system of fsspec for each."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ser_gpu.errors import InputError, reason
from ser_gpu.files import replacing

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_WILD = re.compile(r"[*?\[]")


def is_address(place: str) -> bool:
    """True for s3://..., gs://... and the like, False for a path on this machine."""
    return "://" in place


def absolute(place: str) -> str:
    """The same place for every process and machine.

    >>> absolute("s3://bucket/calls/")
    's3://bucket/calls'
    """
    return place.rstrip("/") if is_address(place) else str(Path(place).absolute())


def system(place: str) -> "tuple[AbstractFileSystem, str]":
    """The file system of a place, pyarrow's own where it has one, and the place's name there.

    Raises:
        OSError: nobody knows such an address, or it cannot be reached.
    """
    import fsspec
    import pyarrow as pa
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import FileSystem

    if not is_address(place):
        return fsspec.filesystem("file"), place
    try:
        try:
            found, name = FileSystem.from_uri(place)
        except pa.ArrowInvalid:  # none of pyarrow's own
            return fsspec.url_to_fs(place.removeprefix("fsspec+"))
        return ArrowFSWrapper(found), name
    except (pa.ArrowException, OSError, ValueError, ImportError) as error:
        raise OSError(f"{place}: cannot be opened: {reason(error)}") from None


def expand(pattern: str) -> list[str]:
    """The places that a pattern with *, ?, [...] or ** means, in order; a place without them is itself.

    Raises:
        InputError: there is nothing.
    """
    pattern = absolute(pattern)
    wild = _WILD.search(pattern)
    if wild is None or (not is_address(pattern) and Path(pattern).exists()):
        files, name = system(pattern)
        if not files.exists(name):
            raise InputError(f"{pattern}: no such file or folder")
        return [pattern]
    fixed = pattern[: wild.start()].rpartition("/")[0]
    files, name = system(fixed)
    found = [fixed.removesuffix(name) + each for each in sorted(files.glob(name + pattern[len(fixed) :]))]
    if not found:
        raise InputError(f"{pattern}: nothing has such a name")
    return found


def is_folder(place: str) -> bool:
    """True for a folder; at an address, for a prefix of names."""
    files, name = system(place)
    return files.isdir(name)


def list_files(place: str, depth: int | None = None) -> list[str]:
    """Every file in a folder and in those inside it, down to a depth, in order; none where there is no such folder."""
    files, name = system(place)
    if not files.exists(name):
        return []
    return [place.removesuffix(name) + each for each in sorted(files.find(name, maxdepth=depth))]


def open_file(place: str) -> BinaryIO:
    """The file at a place, to be read from anywhere in it.

    Raises:
        OSError: it cannot be read.
    """
    files, name = system(place)
    return files.open(name, "rb")


def remove(place: str) -> None:
    files, name = system(place)
    files.rm_file(name)


def write_file(place: str, content: bytes) -> None:
    """Write a file that is seen whole or not at all: by a rename here, and by the store at an address.

    Raises:
        OSError: it cannot be written; names the place.
    """
    if not is_address(place):
        with replacing(place) as temporary:
            temporary.write_bytes(content)
        return
    files, name = system(place)
    try:
        files.makedirs(name.rpartition("/")[0], exist_ok=True)
        with files.open(name, "wb") as stream:
            stream.write(content)
    except OSError as error:
        raise OSError(f"{place}: cannot be written: {reason(error).lower()}") from None
