"""WAV files in whose header libsndfile finds too few samples: they get a new header.
Crashed recorders, and programs that write into a pipe, leave wrong sizes; others do not pad an odd chunk."""

import io
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

_MOST_CHUNKS = 1_000
_SEARCHED_BYTES = 2**16
_UNKNOWN = 0xFFFF_FFFF
_UNKNOWN_FROM = 0x7FFF_0000  # what programs write that cannot know the size, some of them less
_TYPES = {(1, 8): "u1", (1, 16): "<i2", (1, 32): "<i4", (3, 32): "<f4", (3, 64): "<f8"}  # (tag, bits) -> NumPy's


@contextmanager
def mended(path: Path, head: bytes) -> Iterator[Path]:
    """The file itself, with first bytes `head`; where its header hides samples, a temporary copy that shows them."""
    with ExitStack() as held:
        file = held.enter_context(path.open("rb")) if _is_wav(head) else None
        if file and (header := _Header(file)).hides_samples():
            with tempfile.NamedTemporaryFile(delete=False) as copy:
                path = Path(copy.name)
                held.callback(path.unlink)
                # the largest size means unknown: samples go on to the end
                parts = b"WAVE", b"fmt ", struct.pack("<I", len(header.format)), header.format, b"data\xff\xff\xff\xff"
                copy.write(b"RIFF\xff\xff\xff\xff" + b"".join(parts))
                file.seek(header.data_start)
                shutil.copyfileobj(file, copy)
        yield path


def coding(head: bytes) -> tuple[int, int, int, str, int | None] | None:
    """How to decode a WAV file of which more is to come, by its first bytes: where samples begin, their rate in Hz,
    channels, NumPy type, and how many bytes (None: up to the end). None where it is no WAV file, is compressed, or
    its samples begin later."""
    header = _Header(io.BytesIO(head)) if _is_wav(head) else None
    if header is None or header.was_repaired or len(header.format) < 16 or not head[header.data_start or len(head) :]:
        return None
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", header.format[:16])
    tag = int.from_bytes(header.format[24:26], "little") if tag == 0xFFFE else tag  # extensible
    size = header.data_size if 0 < header.data_size < _UNKNOWN_FROM else None
    return (header.data_start, rate, channels, _TYPES[tag, bits], size) if channels and (tag, bits) in _TYPES else None


def _is_wav(head: bytes) -> bool:
    return head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE"


class _Header:
    def __init__(self, file: BinaryIO):
        self._file, self._file_size = file, file.seek(0, os.SEEK_END)
        self.data_start, self.format, self.was_repaired = None, b"", False
        self._riff_size, self.data_size = self._number(4), 0
        at, inside, long_size = 12, 12, _UNKNOWN
        for _ in range(_MOST_CHUNKS):
            if not self._is_chunk(at):
                # a wrong place or length: look for the format or the samples
                self.was_repaired = True
                near = self._read(inside, _SEARCHED_BYTES)
                places = (near.find(name) for name in ([b"data"] if self.format else [b"data", b"fmt "]))
                at = min((inside + place for place in places if place >= 0), default=None)
                if at is None:
                    return
            name, size, inside = self._read(at, 4), self._number(at + 4), at + 8
            if name == b"data":
                self.data_start, self.data_size = inside, long_size if size == _UNKNOWN else size
                return
            if name == b"ds64":  # RF64 has its sizes here
                self._riff_size, long_size = self._number(inside, 8), self._number(inside + 8, 8)
            elif name == b"fmt ":
                self.format = self._read(inside, min(size, _SEARCHED_BYTES))
            at = inside + size + size % 2

    def hides_samples(self) -> bool:
        """libsndfile gives too little if the header has less than one sample, or wrong sizes and no next chunk."""
        if self.data_start is None or len(self.format) < 16:
            return False
        if self.was_repaired:
            return True
        end = self.data_start + self.data_size
        block = int.from_bytes(self.format[12:14], "little")  # bytes of one frame, a sample of each channel
        if self._file_size - end < max(block, 8) or self._is_chunk(end) or self._is_chunk(end + 1):
            return False
        return self.data_size < block or self._riff_size + 8 not in (end, end + 1)

    def _is_chunk(self, at: int) -> bool:
        name = self._read(at, 4)
        if len(name) < 4 or not all(0x20 <= byte < 0x7F for byte in name):
            return False
        return name == b"data" or at + 8 + self._number(at + 4) <= self._file_size

    def _number(self, at: int, size: int = 4) -> int:
        return int.from_bytes(self._read(at, size), "little")

    def _read(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        return self._file.read(size)
