"""A recording in a file or a pipe, as blocks of samples: whatever libsndfile reads, in constant memory."""

import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fstat
from pathlib import Path
from typing import BinaryIO

import soundfile
import torch
from torch import Tensor

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000
PIPE_LIMIT_BYTES = 2**31
_BLOCK_VALUES = 2**20


class AudioError(ValueError):
    """Audio that cannot be used; the message is one line that names the file."""


class AudioFile:
    """An open recording.

    Attributes:
        name: of the file, for messages.
        sample_rate: Hz.
    """

    def __init__(self, sound: soundfile.SoundFile, name: str):
        self._sound = sound
        self.name = name
        self.sample_rate = sound.samplerate

    def blocks(self) -> Iterator[Tensor]:
        """The samples in order, about four megabytes at a time, as far as there are any, whatever the header promises.

        Shape: -> [channels, frames] float32 each.

        Raises:
            AudioError: the data ends or breaks where the decoder needs more.
        """
        frames = max(1, _BLOCK_VALUES // self._sound.channels)
        while True:
            try:
                block = self._sound.read(frames, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError) as error:
                raise AudioError(f"{self.name}: damaged ({_reason(error)})") from None
            if len(block) == 0:
                return
            yield torch.from_numpy(block.T)


@contextmanager
def open_audio(source: str | PathLike | BinaryIO) -> Iterator[AudioFile]:
    """Open a recording by its path, or as a binary stream such as standard input; what comes through a pipe is kept in
    a temporary file while it is read, since decoders go back and forth.

    Raises:
        AudioError: the file is missing, forbidden, a folder or a device, empty, longer than 2 GiB if it is a pipe, no
            audio that libsndfile reads, or of a sample rate that no recording has.
    """
    name = str(source) if isinstance(source, str | PathLike) else "standard input"
    try:
        with _binary(source) as stream, _seekable(stream, name) as file, _decoder(file, name) as sound:
            yield AudioFile(sound, name)
    except OSError as error:
        raise AudioError(f"{name}: {(error.strerror or str(error)).lower()}") from None


@contextmanager
def _binary(source: str | PathLike | BinaryIO) -> Iterator[BinaryIO]:
    if not isinstance(source, str | PathLike):
        yield source
        return
    if Path(source).is_dir():
        raise AudioError(f"{source}: is a folder, not an audio file")
    try:
        with Path(source).open("rb") as stream:
            yield stream
    except FileNotFoundError:
        raise AudioError(f"{source}: no such file") from None


@contextmanager
def _seekable(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    kind = fstat(stream.fileno()).st_mode
    if stat.S_ISREG(kind):
        yield stream
        return
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        raise AudioError(f"{name}: is neither a file nor a pipe")
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(_Limited(stream, PIPE_LIMIT_BYTES, name), file)
        file.seek(0)
        yield file


class _Limited:
    """A stream that refuses to give more than a number of bytes."""

    def __init__(self, stream: BinaryIO, limit: int, name: str):
        self.stream, self.left, self.name = stream, limit, name

    def read(self, size: int) -> bytes:
        chunk = self.stream.read(size)
        self.left -= len(chunk)
        if self.left < 0:
            raise AudioError(f"{self.name}: more than {PIPE_LIMIT_BYTES // 2**30} GiB in a pipe, save it as a file")
        return chunk


def _decoder(file: BinaryIO, name: str) -> soundfile.SoundFile:
    if fstat(file.fileno()).st_size == 0:
        raise AudioError(f"{name}: is empty")
    try:
        sound = soundfile.SoundFile(file.fileno(), closefd=False)
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError) as error:
        raise AudioError(f"{name}: cannot be read as audio ({_reason(error)})") from None
    rate = sound.samplerate
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        sound.close()
        raise AudioError(
            f"{name}: the sample rate must be between {LOWEST_RATE:,} and {HIGHEST_RATE:,} Hz, it is {rate:,}"
        )
    return sound


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or str(error)
    return " ".join(text.split()).rstrip(".")
