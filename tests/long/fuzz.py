"""Damaged audio files: whatever the bytes, an answer or one line, soon, in little memory."""

import io
import multiprocessing
import os
import random
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import soundfile
import torch

from ser_gpu.audio.reader import AudioError
from ser_gpu.config import CnnConfig, ModelConfig
from ser_gpu.model import SpeechEmotionModel
from tests.long.memory import peak_megabytes

SECONDS_LIMIT = 5.0
MEGABYTES_LIMIT = 1_000.0
KINDS = (
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("WAV", "ALAW"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"),
    ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AU", "ULAW"),
    ("CAF", "PCM_24"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
)
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


def fuzz(voice: np.ndarray, mutations: int, seed: int, on_file: Callable[[], None] = lambda: None) -> dict:
    """Feed `mutations` damaged copies of one recording, in every format, to `predict`.

    Args:
        voice: [T] at 16 kHz.
        mutations: files to try.
        seed: of all randomness; each mutation can be made again from the seed and its number.

    Returns:
        How many were answered and refused in one line; what else happened, and to which mutation; the slowest file, and
        the peak memory of the process that read them, its libraries and model included.
    """
    counts: Counter[str] = Counter(answered=0, refused=0)
    failures, slowest, peak = [], 0.0, 0.0
    originals = _originals(voice)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant"
        reader = _Reader()
        for number in range(mutations):
            path.write_bytes(mutant(originals, seed, number))
            verdict, seconds, megabytes = reader.read(path)
            counts[verdict.split(":")[0]] += 1
            slowest, peak = max(slowest, seconds), max(peak, megabytes)
            if verdict not in ("answered", "refused"):
                failures.append(f"mutation {number}: {verdict}")
            on_file()
        reader.close()
    return {
        "mutations": mutations,
        "seed": seed,
        "counts": dict(counts),
        "failures": failures,
        "slowest_seconds": slowest,
        "megabytes_before": reader.megabytes_before,
        "peak_megabytes": peak,
    }


def mutant(originals: list[bytes], seed: int, number: int) -> bytes:
    """One damaged file: a valid one after one to four mutations."""
    generator = random.Random(f"{seed}/{number}")
    content = bytearray(generator.choice(originals))
    for _ in range(generator.randint(1, 4)):
        generator.choice(_MUTATIONS)(content, originals, generator)
    return bytes(content)


def _originals(voice: np.ndarray) -> list[bytes]:
    return [_encoded(voice, container, subtype) for container, subtype in KINDS]


def _encoded(voice: np.ndarray, container: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, voice, 16_000, format=container, subtype=subtype)
    return file.getvalue()


def _place(content: bytearray, generator: random.Random) -> int:
    """Half of the time in the header, where the damage is worst."""
    end = len(content) if generator.random() < 0.5 else min(len(content), 128)
    return generator.randrange(max(1, end))


def _flip(content: bytearray, _, generator: random.Random) -> None:
    for _ in range(generator.randint(1, 16)):
        if content:
            content[_place(content, generator)] ^= 1 << generator.randrange(8)


def _extreme(content: bytearray, _, generator: random.Random) -> None:
    at, order = _place(content, generator), generator.choice("<>")
    content[at : at + 4] = struct.pack(f"{order}I", generator.choice(_EXTREMES))


def _noise(content: bytearray, _, generator: random.Random) -> None:
    at = _place(content, generator)
    content[at : at + 64] = generator.randbytes(generator.randint(0, 128))


def _truncate(content: bytearray, _, generator: random.Random) -> None:
    del content[_place(content, generator) :]


def _repeat(content: bytearray, _, generator: random.Random) -> None:
    at, size = _place(content, generator), generator.randint(1, 512)
    content[at:at] = content[at : at + size] * generator.randint(1, 8)


def _splice(content: bytearray, originals: list[bytes], generator: random.Random) -> None:
    other = generator.choice(originals)
    content[_place(content, generator) :] = other[generator.randrange(len(other)) :]


_MUTATIONS = (_flip, _extreme, _noise, _truncate, _repeat, _splice)


class _Reader:
    """A process that predicts what it is given; it may hang or die, and is started again."""

    def __init__(self):
        self._start()

    def read(self, path: Path) -> tuple[str, float, float]:
        """Verdict, seconds, and peak megabytes of the process."""
        start = time.perf_counter()
        self.pipe.send(path)
        try:
            if not self.pipe.poll(SECONDS_LIMIT):
                self._restart()
                return f"too slow: over {SECONDS_LIMIT} s", SECONDS_LIMIT, 0.0
            verdict, megabytes = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._restart()
            return "crashed", time.perf_counter() - start, 0.0
        if megabytes > MEGABYTES_LIMIT:
            self._restart()
            verdict = f"too much memory: {megabytes:.0f} MB"
        return verdict, time.perf_counter() - start, megabytes

    def close(self) -> None:
        self.process.kill()
        self.process.join()

    def _restart(self) -> None:
        self.close()
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["ser_gpu.model", "ser_gpu.audio.formats"])
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.megabytes_before = self.pipe.recv()


def _serve(pipe: Connection) -> None:
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders write their doubts there
    model = SpeechEmotionModel(ModelConfig(cnn=CnnConfig(width=2, depth=1))).eval()
    pipe.send(peak_megabytes())
    for path in _received(pipe):
        try:
            model.predict(path)
            verdict = "answered"
        except AudioError as error:
            verdict = "refused" if _is_one_line(str(error), path) else f"not one line: {error}"
        except Exception as error:  # what this is all about
            verdict = f"traceback: {type(error).__name__}: {error}"
        pipe.send((verdict, peak_megabytes()))


def _received(pipe: Connection) -> Iterator[Path]:
    while True:
        try:
            yield pipe.recv()
        except EOFError:
            return


def _is_one_line(message: str, path: Path) -> bool:
    return "\n" not in message and str(path) in message
