"""A recording in a file, a pipe or memory, as blocks of samples in constant memory, by libsndfile or else ffmpeg."""

import io
import os
import stat
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

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000
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
    try:
        name = getattr(source, "name", None)
    except ValueError:  # a detached stream
        name = None
    if source is sys.stdin or source is getattr(sys.stdin, "buffer", None) or (type(name) is int and name == 0):
        return "standard input"
    return os.fsdecode(name) if isinstance(name, str | bytes) and name else "stream"


@contextmanager
def open_audio(source: Source) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """Open a path, the bytes of a file, or a binary stream: the rate in Hz, and the samples in blocks of about 4 MB.
    The blocks end where the samples do, whatever the header says. What is no plain file is copied into a temporary
    one, since decoders must seek. ffmpeg reads what libsndfile cannot.
    Shape: -> [channels, frames] float32 each. Raises AudioError where there is no audio that can be read."""
    name = name_of(source)
    try:
        with ExitStack() as held:
            file = _plain_file(source, name, held)
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            head = os.read(file.fileno(), HEAD_BYTES)
            if not head:
                raise AudioError.of(name, "is empty")
            file, kind = held.enter_context(wav.mended(file, head)), kind_of(head)
            sound = None if kind is not None and kind.reader == "ffmpeg" else _libsndfile(file, name, kind)
            if sound is None:
                rate, blocks = held.enter_context(ffmpeg.decoding(file, name, kind.name))
            else:
                held.enter_context(sound)
                rate, blocks = sound.samplerate, _blocks(sound, name)
            if not LOWEST_RATE <= rate <= HIGHEST_RATE:
                problem = f"the sample rate must be between {LOWEST_RATE:,} and {HIGHEST_RATE:,} Hz, it is {rate:,}"
                raise AudioError.of(name, problem)
            yield rate, blocks
    except OSError as error:
        raise AudioError.of(name, (error.strerror or str(error)).lower()) from None


def _plain_file(source: Source, name: str, held: ExitStack) -> BinaryIO:
    if isinstance(source, str | os.PathLike):
        if "\0" in name or not name:
            raise AudioError.of(name or "''", "is no name of a file")
        if Path(name).is_dir():
            raise AudioError.of(name, "is a folder, not an audio file")
        try:
            source = held.enter_context(Path(name).open("rb"))  # noqa: SIM115
        except FileNotFoundError:
            problem = "is an address, not a file: download it first" if "://" in name else "no such file"
            raise AudioError.of(name, problem) from None
        except UnicodeEncodeError:  # half of a surrogate pair
            raise AudioError.of(name, "is no name of a file") from None
    elif isinstance(source, bytes | bytearray | memoryview):
        source = io.BytesIO(bytes(source))
    if _is_plain(source):
        kind = os.fstat(source.fileno()).st_mode
        if stat.S_ISREG(kind):
            source.flush()
            return source
        if not stat.S_ISFIFO(kind) and not stat.S_ISSOCK(kind):
            raise AudioError.of(name, "is neither a file nor a pipe")
    copy = held.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    copy.writelines(_chunks(source, name))
    copy.flush()
    return copy


def _is_plain(stream: BinaryIO) -> bool:
    """Whether it comes from `open`: the descriptor of another stream, such as gzip's, may hold other bytes."""
    try:
        is_buffered = type(stream) in (io.BufferedReader, io.BufferedRandom)
        return is_buffered and type(stream.raw) is io.FileIO and not stream.closed
    except ValueError:  # its raw stream is detached
        return False


def _chunks(stream: BinaryIO, name: str) -> Iterator[bytes]:
    left = STREAM_LIMIT_BYTES
    try:
        if isinstance(stream, io.TextIOBase):
            raise TypeError("it is open as text, open it as binary (mode 'rb', or its .buffer)")
        if getattr(stream, "seekable", bool)():
            stream.seek(0)
        while chunk := stream.read(_COPIED_BYTES):
            if not isinstance(chunk, bytes | bytearray | memoryview):
                raise TypeError(f"it gives {type(chunk).__name__}, not bytes")
            left -= len(chunk)
            if left < 0:
                raise AudioError.of(name, f"more than {STREAM_LIMIT_BYTES // 2**30} GiB in a stream, save it as a file")
            yield chunk
    except AudioError:
        raise
    except Exception as error:  # a stream may be anybody's code
        raise AudioError.of(name, f"cannot be read ({type(error).__name__}: {reason(error)})") from None


def _libsndfile(file: BinaryIO, name: str, kind: Kind | None) -> "SoundFile | None":
    """None where ffmpeg should try the file."""
    import soundfile  # here, since importing this package reads nothing and should cost nothing

    has_ffmpeg = kind is not None and kind.reader is not None and ffmpeg.program() is not None
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    try:
        sound = soundfile.SoundFile(file.fileno(), closefd=False)
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError) as error:
        if has_ffmpeg:
            return None
        if kind is None:
            raise AudioError.of(name, f"cannot be read as audio ({reason(error)})") from None
        unlike = ", not audio" if kind.reader is None else " that libsndfile cannot read; ffmpeg, where installed, may"
        raise AudioError.of(name, f"is {kind.name}{unlike}") from None
    if sound.frames == _UNKNOWN_FRAMES and has_ffmpeg:  # FLAC from a pipe: libsndfile loses its end
        sound.close()
        return None
    return sound


def _blocks(sound: "SoundFile", name: str) -> Iterator[np.ndarray]:
    import soundfile

    frames = max(1, _BLOCK_VALUES // sound.channels)
    try:
        while len(block := sound.read(frames, dtype="float32", always_2d=True)):
            yield block.T
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise AudioError.of(name, f"damaged ({reason(error)})") from None
