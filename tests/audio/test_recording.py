"""Everything that can be a recording, and one line for everything else."""

import io
from collections import OrderedDict
from copy import deepcopy
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ser_gpu.audio.samples import load, recording
from tests.audio.conftest import AudioDecoder, refused, same
from tests.conftest import SAMPLE_RATE

RATE = 48_000


@pytest.fixture
def stereo() -> np.ndarray:
    """[T, 2] int16 at 48 kHz, as soundfile, sounddevice and Gradio give it."""
    return (9_000 * np.random.default_rng(0).normal(size=(RATE // 2, 2))).astype(np.int16)


@pytest.fixture
def path(stereo, tmp_path):
    soundfile.write(tmp_path / "clip.wav", stereo, RATE)
    return tmp_path / "clip.wav"


def heard(audio, sample_rate=None, seconds=60.0) -> tuple[str, np.ndarray]:
    name, pieces = recording(audio, sample_rate, SAMPLE_RATE, seconds)
    return name, np.concatenate(list(pieces))


class Series:
    """Like pandas, jax and others: it knows how to become an array."""

    def __init__(self, samples):
        self.samples = samples

    def __array__(self, dtype=None, copy=None):
        return self.samples


KINDS = {
    "a path": lambda path, audio: (path, None),
    "a text": lambda path, audio: (str(path), None),
    "bytes": lambda path, audio: (path.read_bytes(), None),
    "a stream": lambda path, audio: (io.BytesIO(path.read_bytes()), None),
    "[T, C]": lambda path, audio: (audio, RATE),
    "[C, T]": lambda path, audio: (audio.T, RATE),
    "big-endian": lambda path, audio: (audio.astype(">i2"), np.int64(RATE)),
    "floating point": lambda path, audio: (audio / 32_768, float(RATE)),
    "half as much in float32": lambda path, audio: ((audio / 65_536).astype(np.float32), Fraction(RATE)),
    "a tensor": lambda path, audio: (torch.from_numpy(audio), torch.tensor(RATE)),
    "a tensor with a gradient": lambda path, audio: (torch.tensor(audio / 32_768, requires_grad=True), RATE),
    "(rate, samples)": lambda path, audio: ((RATE, audio), None),
    "(samples, rate)": lambda path, audio: ((torch.from_numpy(audio.T), RATE), None),
    "(rate, list)": lambda path, audio: ((RATE, (audio / 32_768).tolist()), None),
    "a dictionary": lambda path, audio: ({"array": audio, "sampling_rate": RATE, "path": None}, None),
    "another mapping": lambda path, audio: (OrderedDict(sampling_rate=RATE, array=audio), None),
    "fields": lambda path, audio: (AudioDecoder(torch.from_numpy(audio.T / 32_768), RATE), None),
    "an array of others": lambda path, audio: (Series(audio), RATE),
    "a file beside a rate": lambda path, audio: (path, 8_000),
    "a pair beside a rate": lambda path, audio: ((RATE, audio), 8_000),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_samples_are_the_same_recording(path, stereo, kind):
    audio, rate = KINDS[kind](path, stereo)
    # steps of float32, where the scale is another
    np.testing.assert_allclose(heard(audio, rate)[1], load(path, SAMPLE_RATE), atol=1e-6)


def test_samples_are_cut_like_files(path, stereo):
    """Each piece has its own level, so that memory does not grow with the recording."""
    of_file = list(recording(path, None, SAMPLE_RATE, 0.2)[1])
    of_array = list(recording(stereo, RATE, SAMPLE_RATE, 0.2)[1])
    assert [len(piece) for piece in of_file] == [3_200, 3_200, 1_600]
    assert all(same(*pair) for pair in zip(of_file, of_array, strict=True))
    assert all(np.abs(piece).max() == 1 for piece in of_file)


def test_samples_without_a_rate_are_at_the_rate_of_the_model(stereo):
    assert len(heard(stereo)[1]) == len(stereo)


def test_what_is_given_is_left_as_it_is(stereo):
    for audio in (stereo, stereo / 32_768, torch.from_numpy(stereo / 32_768).float()):
        before = deepcopy(audio)
        heard(audio, SAMPLE_RATE)
        assert (audio == before).all()


def test_samples_in_memory_have_a_name(stereo):
    assert recording(stereo, RATE, SAMPLE_RATE)[0] == "audio"
    assert recording({"array": stereo, "sampling_rate": RATE, "path": "a.wav"}, None, SAMPLE_RATE)[0] == "a.wav"


REFUSED = [
    (None, None, "NoneType is no recording: give a path"),
    (5, None, "int is no recording"),
    (True, None, "bool is no recording"),
    (object(), None, "object is no recording"),
    (lambda: 0, None, "function is no recording"),
    ({}, None, "dict is no recording: .* or {'array': ..., 'sampling_rate': ...}"),
    ({"array": np.zeros(9)}, None, "dict is no recording"),
    ({"array": np.zeros(9), "sampling_rate": None}, None, "a whole number of Hz between 1,000 and 768,000, got None"),
    ({"array": None, "sampling_rate": 16_000}, None, "samples must be integers or floating point, got object"),
    ({"array": "a.wav", "sampling_rate": 16_000}, None, "samples must be integers or floating point"),
    ([0.1, 0.2], None, "list is no recording: give .*; predict_many takes several"),
    ([Path("a.wav")], None, "list is no recording"),
    ((Path("a.wav"), Path("b.wav"), Path("c.wav")), None, "tuple is no recording"),
    (("a.wav", "b.wav"), None, "the sample rate must be a whole number of Hz between 1,000 and 768,000, got 'a.wav'"),
    ((np.zeros(9), np.zeros(9)), None, "the sample rate must be a whole number"),
    ((0, np.zeros(9)), None, "the sample rate must be a whole number of Hz between"),
    ("a.wav", "fast", "the sample rate must be a whole number of Hz between 1,000 and 768,000, got 'fast'"),
    (np.array([0.0, np.nan]), None, "not finite"),
    (torch.tensor([0.0, float("inf")]), 16_000, "not finite"),
    (io.StringIO("a"), None, "open as text"),
]


@pytest.mark.parametrize(("audio", "rate", "message"), REFUSED)
def test_anything_else_is_one_line(audio, rate, message):
    with refused(f": .*{message}"):
        heard(audio, rate)


def test_what_is_wrong_in_memory_is_said_at_once():
    with refused():
        recording(np.zeros((2, 2, 2)), None, SAMPLE_RATE)
