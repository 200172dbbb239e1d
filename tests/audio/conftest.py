"""A short voice, and files of it that libsndfile does not read."""

import shutil
import subprocess
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
import torch

from ser_gpu.audio.waveform import level
from ser_gpu.errors import AudioError
from tests.conftest import SAMPLE_RATE, synthetic_voice


def or_one_line(call: Callable):
    """What `call` gives; None where it refuses in one line."""
    try:
        return call()
    except AudioError as error:
        message = str(error)
    assert message.isprintable()
    assert len(message) < 200
    return None


@pytest.fixture
def voice() -> np.ndarray:
    """[T] float32, a bit over a second, its peak at 0.9."""
    return 0.9 * level(torch.from_numpy(synthetic_voice(3, 1, 0, seconds=1.0))).numpy()


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
