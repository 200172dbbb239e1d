"""Files on this machine and at addresses such as s3://bucket/folder, by the file systems of pyarrow and fsspec."""

import io
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ser_gpu.errors import InputError, reason
from ser_gpu.files import replacing

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

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


def open_system(place: str) -> "tuple[FileSystem, str]":
    """The file system of a place, and the place's name there.

    Raises:
        OSError: nobody knows such an address, or it cannot be reached.
    """
    import pyarrow as pa
    from pyarrow.fs import FileSystem, LocalFileSystem

    if not is_address(place):
        return LocalFileSystem(), place
    try:
        try:
            return FileSystem.from_uri(place)
        except pa.ArrowInvalid:  # none of pyarrow's own
            return FileSystem.from_uri(f"fsspec+{place}")
    except (pa.ArrowException, OSError, ValueError, ImportError) as error:
        raise OSError(f"{place}: cannot be opened: {reason(error)}") from None


def expand(pattern: str) -> list[str]:
    """The places that a pattern with *, ?, [...] or ** means, in order; a place without them is itself.

    Raises:
        ValueError: it means nothing.
    """
    pattern = absolute(pattern)
    if not _WILD.search(pattern) or (not is_address(pattern) and Path(pattern).exists()):
        return [pattern]
    found = _matches(pattern) if is_address(pattern) else _local_matches(Path(pattern))
    if not found:
        raise InputError(f"{pattern}: nothing has such a name")
    return found


def _local_matches(pattern: Path) -> list[str]:
    return sorted(map(str, Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))))


def _matches(pattern: str) -> list[str]:
    from fsspec.utils import glob_translate

    fixed = pattern[: _WILD.search(pattern).start()].rpartition("/")[0]
    is_match = re.compile(glob_translate(pattern)).match
    return [place for place in list_files(fixed) if is_match(place)]


def is_folder(place: str) -> bool:
    """True for a folder; at an address, for a prefix of names."""
    from pyarrow.fs import FileType

    if not is_address(place):
        return Path(place).is_dir()
    system, name = open_system(place)
    return system.get_file_info(name).type == FileType.Directory


def list_files(place: str) -> list[str]:
    """Every file in a folder at an address and in those inside it, in order; none where there is no such folder."""
    from pyarrow.fs import FileSelector

    system, name = open_system(place)
    prefix = place.removesuffix(name.strip("/"))
    infos = system.get_file_info(FileSelector(name, recursive=True, allow_not_found=True))
    return sorted(prefix + info.path.lstrip("/") for info in infos if info.is_file)


def open_file(place: str) -> BinaryIO:
    """The file at a place, to be read from anywhere in it.

    Raises:
        OSError: it cannot be read.
    """
    if not is_address(place):
        return Path(place).open("rb")
    system, name = open_system(place)
    return io.BufferedReader(_Raw(system.open_input_file(name)))


class _Raw(io.RawIOBase):
    """A file of pyarrow as a stream of Python's own."""

    def __init__(self, file: BinaryIO):
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


def write_file(place: str, content: bytes) -> None:
    """Write a file that is seen whole or not at all: by a rename here, and by the store at an address.

    Raises:
        OSError: it cannot be written; names the place.
    """
    if not is_address(place):
        with replacing(place) as temporary:
            temporary.write_bytes(content)
        return
    system, name = open_system(place)
    try:
        system.create_dir(name.rpartition("/")[0], recursive=True)
        with closing(system.open_output_stream(name)) as stream:
            stream.write(content)
    except OSError as error:
        raise OSError(f"{place}: cannot be written: {reason(error).lower()}") from None
