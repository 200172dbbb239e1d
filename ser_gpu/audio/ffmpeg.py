"""Decode what libsndfile cannot read, such as the m4a and webm of phones and browsers, with the ffmpeg program.
A separate process, not its libraries (PyAV): a file that crashes a decoder, or never ends, fails alone."""

import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ser_gpu.audio.formats import DEMUXERS
from ser_gpu.errors import AudioError

STALL_SECONDS = 60.0
_BLOCK_VALUES = 2**20
_READ_BYTES = 2**12  # of the messages
_BEFORE = f"-nostdin -hide_banner -loglevel error -threads 1 -max_alloc {2**29}".split()
# a hostile file cannot open an address or a second file: neither is in the lists
_BEFORE += f"-protocol_whitelist file,pipe -format_whitelist {DEMUXERS}".split()
# "au" has the simplest header with rate and channels
_AFTER = ["-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-f", "au", "-c:a", "pcm_f32be", "pipe:1"]


def program() -> str | None:
    """The path of ffmpeg; None where it is not installed."""
    return shutil.which("ffmpeg")


@contextmanager
def decoding(path: Path, name: str, kind: str) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """Run ffmpeg on a file inside the block: the rate in Hz, and blocks of sound.
    Shape: -> [channels, frames] float32 each. Raises AudioError where ffmpeg is not installed (`kind` says what the
    file is), finds no sound, meets broken data, or gives nothing for a minute."""
    executable = program()
    if executable is None:
        raise AudioError.of(name, f"is {kind}; install ffmpeg to read it (apt, brew or conda install ffmpeg)")
    address = f"file:{path}"
    is_stalled = threading.Event()
    # a session of its own: Ctrl-C reaches only this program, which ends ffmpeg
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "start_new_session": True}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen([executable, *_BEFORE, "-i", address, *_AFTER], stderr=errors, **options) as process,
    ):

        def stop() -> None:
            is_stalled.set()
            process.kill()

        def read(size: int) -> bytes:
            watchdog = threading.Timer(STALL_SECONDS, stop)
            watchdog.start()
            try:
                return process.stdout.read(size)
            finally:
                watchdog.cancel()

        def error(problem: str) -> AudioError:
            process.wait()
            if is_stalled.is_set():
                return AudioError.of(name, f"{problem} (ffmpeg gave nothing for {STALL_SECONDS:.0f} s)")
            errors.seek(0)
            said = errors.read(_READ_BYTES).decode(errors="replace").strip()
            if "matches no streams" in said:
                return AudioError.of(name, "holds no sound")
            first = (said or f"ffmpeg ended with {process.returncode}").splitlines()[0]
            first = first.rpartition("] ")[2] if first.startswith("[") else first
            return AudioError.of(name, f"{problem} (ffmpeg: {first.removeprefix(f'{address}: ')})")

        def blocks(channels: int) -> Iterator[np.ndarray]:
            frame = 4 * channels  # bytes
            while content := read(frame * max(1, _BLOCK_VALUES // channels)):
                if frames := len(content) // frame:  # none where the file ends within a frame
                    values = np.frombuffer(content, ">f4", frames * channels).astype(np.float32)
                    yield values.reshape(frames, channels).T
            if process.wait() != 0:
                raise error("damaged")

        try:
            header = read(24)
            if len(header) < 24:
                raise error("cannot be read as audio")
            _, start, _, _, rate, channels = struct.unpack(">6I", header)
            read(start - 24)  # the title
            yield rate, blocks(channels)
        finally:
            process.kill()
