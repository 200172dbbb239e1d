"""A short voice, and files of it that libsndfile does not read."""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import soundfile

from ser_gpu.audio.samples import level
from ser_gpu.errors import AudioError
from tests.conftest import SAMPLE_RATE, synthetic_voice


@contextmanager
def refused(pattern: str = ""):
    """What is inside refuses in one line."""
    with pytest.raises(AudioError, match=pattern or None) as caught:
        yield
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def or_one_line(call: Callable):
    """What `call` gives; None where it refuses in one line."""
    found = None
    with suppress(pytest.fail.Exception), refused():
        found = call()
    return found


def same(found, expected) -> bool:
    """The same samples, bit for bit, as arrays or tensors."""
    return np.array_equal(np.asarray(found), np.asarray(expected))


def piped(content: bytes):
    """A pipe into which another thread writes."""
    reading, writing = os.pipe()

    def feed() -> None:
        with suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
            pipe.write(content)

    threading.Thread(target=feed).start()
    return os.fdopen(reading, "rb")


@pytest.fixture
def voice() -> np.ndarray:
    """[T] float32, a bit over a second, its peak at 0.9."""
    return np.float32(0.9) * level(synthetic_voice(3, 1, 0, seconds=1.0))


@pytest.fixture
def wav(voice, tmp_path):
    """The voice as a 16-bit WAV file."""
    path = tmp_path / "clip.wav"
    soundfile.write(path, voice, SAMPLE_RATE)
    return path


@pytest.fixture
def encode(wav, tmp_path):
    """A function that makes ffmpeg write the voice: suffix and codec -> path."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")

    def encoded(suffix: str, codec: str, *arguments: str):
        path = tmp_path / f"clip{suffix}"
        command = ["ffmpeg", "-loglevel", "error", "-y", "-i", wav, "-c:a", codec, *arguments, path]
        done = subprocess.run(command, capture_output=True, text=True)
        if "Unknown encoder" in done.stderr:
            pytest.skip(f"this ffmpeg cannot write {codec}")
        assert done.returncode == 0, done.stderr
        return path

    return encoded


@pytest.fixture
def no_ffmpeg(monkeypatch, tmp_path):
    """A machine on which ffmpeg is not installed."""
    monkeypatch.setenv("PATH", str(tmp_path))
