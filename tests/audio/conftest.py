"""A short voice, files of it that libsndfile does not read, and things that may be a recording or none."""

import io
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, scalar_dtypes

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


class AudioDecoder:
    """What newer versions of Hugging Face datasets give: no dictionary, but with its fields."""

    def __init__(self, samples, rate):
        self.fields = {"array": samples, "sampling_rate": rate}

    def __getitem__(self, name):
        return self.fields[name]


RATES = st.none() | st.booleans() | st.integers(-10, 10**6) | st.floats() | st.text(max_size=5) | st.just(16_000)
SAMPLES = st.builds(
    lambda dtype, shape, seed: np.random.default_rng(seed).integers(-100, 100, shape).astype(dtype),
    scalar_dtypes().filter(lambda dtype: dtype.kind != "V"),
    array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=2_000).filter(lambda shape: np.prod(shape) < 10**6),
    st.integers(0, 9),
)
PLAIN = (
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.dates(), st.from_type(type)),
    *(st.text(max_size=30), st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3), st.binary(max_size=200)),
)
THINGS = st.recursive(
    st.one_of(*PLAIN, SAMPLES, SAMPLES.map(lambda array: array.tolist()), st.binary(max_size=200).map(io.BytesIO))
    | SAMPLES.filter(lambda array: array.dtype.kind in "if" and array.dtype.isnative).map(torch.from_numpy),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.tuples(RATES, inner),
        st.dictionaries(st.sampled_from(["array", "sampling_rate", "path"]), inner),
        st.fixed_dictionaries({"array": inner, "sampling_rate": RATES}),
    ),
    max_leaves=4,
)


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
