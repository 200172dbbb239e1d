"""Decode what libsndfile cannot read, such as the m4a and webm of phones and browsers, with the ffmpeg program.
A separate process, not its libraries (PyAV): a file that crashes a decoder, or never ends, fails alone."""

import os
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from ser_gpu.audio.formats import DEMUXERS
from ser_gpu.errors import AudioError

LONGEST_HOURS = 24
STALL_SECONDS = 60.0
_BLOCK_VALUES = 2**20
_COMMAND = (
    *("-nostdin", "-hide_banner", "-loglevel", "error", "-threads", "1", "-max_alloc", str(2**29)),
    # a hostile file cannot open an address or a second file: neither is in the lists
    *("-protocol_whitelist", "file,pipe", "-format_whitelist", DEMUXERS),
    *("-i", "file:/dev/stdin", "-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1"),
    *("-f", "au", "-c:a", "pcm_f32be", "pipe:1"),  # the simplest header with rate and channels
)


def program() -> str | None:
    """The path of ffmpeg; None where it is not installed."""
    return shutil.which("ffmpeg")


@contextmanager
def decoding(file: BinaryIO, name: str, kind: str) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """Run ffmpeg on an open, seekable file inside the block: the rate in Hz, and blocks of sound.
    Shape: -> [channels, frames] float32 each. Raises AudioError where ffmpeg is not installed (`kind` says what the
    file is), finds no sound, meets broken data, takes too long, or gives more than a day of sound."""
    path = program()
    if path is None:
        raise AudioError.of(name, f"is {kind}; install ffmpeg to read it (apt, brew or conda install ffmpeg)")
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    pipes = {"stdin": file.fileno(), "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # a session of its own: Ctrl-C reaches only this program, which ends ffmpeg
    with subprocess.Popen([path, *_COMMAND], **pipes, start_new_session=True) as process:
        output = _Output(process, name)
        try:
            yield output.header(), output.blocks()
        finally:
            process.kill()
            process.wait()
            output.listener.join()


class _Output:
    def __init__(self, process: subprocess.Popen, name: str):
        self._process, self._name = process, name
        self._errors: list[str] = []
        self._stalled = False
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def header(self) -> int:
        header = self._read(24)
        if len(header) < 24:
            raise self._error("cannot be read as audio")
        _, start, _, _, self._rate, self._channels = struct.unpack(">6I", header)
        self._read(start - 24)  # the title
        return self._rate

    def blocks(self) -> Iterator[np.ndarray]:
        frame = 4 * self._channels  # bytes
        left = LONGEST_HOURS * 3_600 * self._rate
        while content := self._read(frame * max(1, _BLOCK_VALUES // self._channels)):
            frames = len(content) // frame
            left -= frames
            if left < 0:
                raise AudioError.of(self._name, f"is longer than {LONGEST_HOURS} hours, cut it into parts")
            if frames:  # none where the file ends within a frame
                values = np.frombuffer(content, ">f4", frames * self._channels).astype(np.float32)
                yield values.reshape(frames, self._channels).T
        if self._process.wait() != 0:
            raise self._error("damaged")

    def _read(self, size: int) -> bytes:
        watchdog = threading.Timer(STALL_SECONDS, self._stop)
        watchdog.start()
        try:
            return self._process.stdout.read(size)
        finally:
            watchdog.cancel()

    def _stop(self) -> None:
        self._stalled = True
        self._process.kill()

    def _listen(self) -> None:
        for line in self._process.stderr:  # to its end, so that ffmpeg never waits for a reader
            if len(self._errors) < 8:
                self._errors.append(line[:400].decode(errors="replace").strip())

    def _error(self, problem: str) -> AudioError:
        self._process.wait()
        self.listener.join()
        if self._stalled:
            return AudioError.of(self._name, f"{problem} (ffmpeg gave nothing for {STALL_SECONDS:.0f} s)")
        if any("matches no streams" in line for line in self._errors):
            return AudioError.of(self._name, "holds no sound")
        first = (self._errors or [f"ffmpeg ended with {self._process.returncode}"])[0]
        first = first.rpartition("] ")[2] if first.startswith("[") else first
        return AudioError.of(self._name, f"{problem} (ffmpeg: {first.removeprefix('file:/dev/stdin: ')})")
