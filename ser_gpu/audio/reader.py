"""A recording in a file, a pipe or memory, as blocks of samples in constant memory, by libsndfile or else ffmpeg."""

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ser_gpu.audio import ffmpeg, wav
from ser_gpu.audio.formats import HEAD_BYTES, Kind, kind_of
from ser_gpu.errors import AudioError, reason

if TYPE_CHECKING:
    from soundfile import SoundFile

STREAM_LIMIT_BYTES = 2**31
_BLOCK_VALUES = 2**20
_COPIED_BYTES = 2**18
_UNKNOWN_FRAMES = 2**63 - 1

Source = str | os.PathLike | bytes | bytearray | memoryview | BinaryIO


def name_of(source: Source) -> str:
    """What messages call a recording: its path; for a stream, its own name where it is text, else "stream"."""
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return "bytes"
    name = getattr(source, "name", None)
    if source is getattr(sys.stdin, "buffer", sys.stdin) or (type(name) is int and name == 0):
        return "standard input"
    return os.fsdecode(name) if isinstance(name, str | bytes) and name else "stream"


@contextmanager
def open_audio(source: Source, name: str | None = None) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """Open a path, the bytes of a file, or a binary stream: the rate in Hz, and the samples in blocks of about 4 MB.
    The blocks end where the samples do, whatever the header says. What is no plain file is copied into a temporary
    one, since decoders must seek. ffmpeg reads what libsndfile cannot.
    Shape: -> [channels, frames] float32 each. Raises AudioError where there is no audio that can be read."""
    name = name or name_of(source)
    try:
        with ExitStack() as held:
            path = _path_of(source, name, held)
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
            if not head:
                raise AudioError.of(name, "is empty")
            kind = kind_of(head)
            mended = held.enter_context(wav.mended(path, head))
            sound = None if kind is not None and kind.reader == "ffmpeg" else _libsndfile(mended, name, kind)
            if sound is None:
                rate, blocks = held.enter_context(ffmpeg.decoding(path, name, kind.name))
            else:
                held.enter_context(sound)
                rate, blocks = sound.samplerate, _blocks(sound, name)
            yield rate, blocks
    except OSError as error:
        raise AudioError.of(name, (error.strerror or str(error)).lower()) from None


def _path_of(source: Source, name: str, held: ExitStack) -> Path:
    # of a file that any program can open, on any system: Windows shares no file descriptors with libsndfile and ffmpeg,
    # and some builds for macOS refuse libsndfile the calls of Python with which it would read a stream
    if isinstance(source, bytes | bytearray | memoryview):
        source = io.BytesIO(bytes(source))
    if isinstance(source, str | os.PathLike):
        path = Path(os.fsdecode(source))
        if not os.fsdecode(source) or "\0" in str(path):
            raise AudioError.of(name or "''", "is no name of a file")
        if path.is_dir():
            raise AudioError.of(name, "is a folder, not an audio file")
        if path.is_file() and path.suffix.lower() != ".raw":  # in which soundfile expects no header
            return path
        try:
            source = held.enter_context(path.open("rb"))
        except FileNotFoundError:
            is_address = ":/" in name[2:]  # a Path has one slash; the first two may be a drive
            problem = "is an address, not a file: download it first" if is_address else "no such file"
            raise AudioError.of(name, problem) from None
        except UnicodeEncodeError:  # half of a surrogate pair
            raise AudioError.of(name, "is no name of a file") from None
    with tempfile.NamedTemporaryFile(delete=False) as copy:
        path = Path(copy.name)
        held.callback(path.unlink)
        for chunk in _chunks(source, name):
            copy.write(chunk)
    return path


def _chunks(stream: BinaryIO, name: str) -> Iterator[bytes]:
    left = STREAM_LIMIT_BYTES
    while True:
        try:
            if isinstance(stream, io.TextIOBase):
                raise TypeError("it is open as text, open it as binary (mode 'rb', or its .buffer)")
            if left == STREAM_LIMIT_BYTES and getattr(stream, "seekable", bool)():
                stream.seek(0)
            chunk = bytes(memoryview(stream.read(_COPIED_BYTES)))
        except FileNotFoundError:  # of a remote file
            raise AudioError.of(name, "no such file") from None
        except Exception as error:  # a stream may be anybody's code
            raise AudioError.of(name, f"cannot be read ({type(error).__name__}: {reason(error)})") from None
        if not chunk:
            return
        left -= len(chunk)
        if left < 0:
            raise AudioError.of(name, f"more than {STREAM_LIMIT_BYTES // 2**30} GiB in a stream, save it as a file")
        yield chunk


def in_memory(stream: BinaryIO, name: str) -> bytes:
    """The bytes of a stream. Raises AudioError where it cannot be read."""
    return b"".join(_chunks(stream, name))


def _libsndfile(path: Path, name: str, kind: Kind | None) -> "SoundFile | None":
    """None where ffmpeg should try the file."""
    import soundfile  # here, since importing this package reads nothing and should cost nothing

    def has_ffmpeg() -> bool:  # asked only where it matters: it looks through all of $PATH
        return kind is not None and kind.reader is not None and ffmpeg.program() is not None

    try:  # a name that is no UTF-8 must be bytes, which Windows does not have
        sound = soundfile.SoundFile(str(path) if os.name == "nt" else os.fsencode(path))
    except soundfile.SoundFileError as error:
        if has_ffmpeg():
            return None
        if kind is None:
            raise AudioError.of(name, f"cannot be read as audio ({reason(error)})") from None
        unlike = ", not audio" if kind.reader is None else " that libsndfile cannot read; ffmpeg, where installed, may"
        raise AudioError.of(name, f"is {kind.name}{unlike}") from None
    if sound.frames == _UNKNOWN_FRAMES and has_ffmpeg():  # FLAC from a pipe: libsndfile loses its end
        sound.close()
        return None
    return sound


def _blocks(sound: "SoundFile", name: str) -> Iterator[np.ndarray]:
    import soundfile

    frames, is_int16 = max(1, _BLOCK_VALUES // sound.channels), sound.subtype == "PCM_16"
    try:  # libsndfile makes the same floats of 16 bits, in several times the time
        while len(block := sound.read(frames, dtype="int16" if is_int16 else "float32", always_2d=True)):
            yield np.multiply(block, np.float32(2**-15), dtype=np.float32).T if is_int16 else block.T
    except soundfile.SoundFileError as error:
        raise AudioError.of(name, f"damaged ({reason(error)})") from None
