"""WAV files whose sizes are wrong give what is there."""

import struct

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis.strategies import binary, integers, sampled_from

from ser_gpu.audio import ffmpeg
from ser_gpu.audio.samples import load
from ser_gpu.errors import AudioError
from tests.audio.conftest import or_one_line
from tests.conftest import SAMPLE_RATE


def with_number(content: bytes, at: int, value: int) -> bytes:
    return content[:at] + struct.pack("<I", value) + content[at + 4 :]


def after(content: bytes, name: bytes) -> int:
    return content.index(name) + len(name)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
@pytest.mark.parametrize("size", [0, 1, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_wrong_size_of_the_samples_is_not_believed(voice, tmp_path, size, subtype):
    path = tmp_path / "clip.wav"
    soundfile.write(path, voice, SAMPLE_RATE, subtype=subtype)
    expected = load(path, SAMPLE_RATE)
    content = path.read_bytes()
    path.write_bytes(with_number(content, after(content, b"data"), size))
    heard = load(path, SAMPLE_RATE)
    assert 0 <= len(heard) - len(expected) <= 1, "an odd number of bytes is filled up, and taken for a sample"
    torch.testing.assert_close(heard[: len(expected)], expected, atol=1e-4, rtol=0)  # that sample moves the mean


@pytest.mark.parametrize("size", [0, 1, 36, 100, 2**31, 2**32 - 1])
def test_a_wrong_size_of_the_file_is_not_believed(wav, voice, size):
    expected = load(wav, SAMPLE_RATE)
    wav.write_bytes(with_number(wav.read_bytes(), 4, size))
    assert torch.equal(load(wav, SAMPLE_RATE), expected)


def test_a_recording_that_was_never_closed_has_both_sizes_at_nothing(wav):
    expected, content = load(wav, SAMPLE_RATE), wav.read_bytes()
    for whole in (0, 36):
        wav.write_bytes(with_number(with_number(content, after(content, b"data"), 0), 4, whole))
        assert torch.equal(load(wav, SAMPLE_RATE), expected)


def test_sizes_that_contradict_each_other_are_not_believed(wav):
    expected, content = load(wav, SAMPLE_RATE), wav.read_bytes()
    wav.write_bytes(with_number(content, after(content, b"data"), 100))
    assert torch.equal(load(wav, SAMPLE_RATE), expected)


def test_sizes_that_agree_are_believed_and_so_are_chunks_behind_the_samples(wav):
    expected, content = load(wav, SAMPLE_RATE), wav.read_bytes()
    wav.write_bytes(content + bytes(1_000))
    assert torch.equal(load(wav, SAMPLE_RATE), expected), "a foreign tail is no sound"
    wav.write_bytes(content + b"LIST" + struct.pack("<I", 4) + b"INFO")
    assert torch.equal(load(wav, SAMPLE_RATE), expected)


def test_no_samples_before_another_chunk_are_no_samples(wav):
    content = wav.read_bytes()
    head = content[: after(content, b"data")]
    wav.write_bytes(head + struct.pack("<I", 0) + b"LIST" + struct.pack("<I", 4) + b"INFO")
    with pytest.raises(AudioError, match=r"clip\.wav: holds no samples"):
        load(wav, SAMPLE_RATE)


@pytest.mark.parametrize("filled", [True, False])
def test_an_odd_chunk_may_lack_its_last_byte(wav, filled):
    expected, content = load(wav, SAMPLE_RATE), wav.read_bytes()
    odd = b"note" + struct.pack("<I", 5) + b"words" + b"\0" * filled
    at = content.index(b"data")
    wav.write_bytes(content[:at] + odd + content[at:])
    assert torch.equal(load(wav, SAMPLE_RATE), expected)


def test_a_chunk_that_claims_to_be_longer_than_the_file_is_skipped(wav):
    expected, content = load(wav, SAMPLE_RATE), wav.read_bytes()
    at = content.index(b"data")
    wav.write_bytes(content[:at] + b"note" + struct.pack("<I", 2**31) + b"word" + content[at:])
    assert torch.equal(load(wav, SAMPLE_RATE), expected)


def test_rf64_has_its_sizes_elsewhere(voice, tmp_path):
    path = tmp_path / "clip.rf64"
    soundfile.write(path, voice, SAMPLE_RATE, format="RF64", subtype="PCM_16")
    expected, content = load(path, SAMPLE_RATE), path.read_bytes()
    at = after(content, b"ds64") + 12
    path.write_bytes(content[:at] + struct.pack("<Q", 0) + content[at + 8 :])
    assert torch.equal(load(path, SAMPLE_RATE), expected)


@pytest.mark.parametrize("has_ffmpeg", [True, False])
@pytest.mark.parametrize("missing", ["data", "fmt ", "all"])
def test_a_missing_chunk_is_one_line(wav, missing, has_ffmpeg, request):
    if not has_ffmpeg:
        request.getfixturevalue("no_ffmpeg")
    content = wav.read_bytes()
    at = content.index(b"data")
    wav.write_bytes({"data": content[:at], "fmt ": content[:12] + content[at:], "all": content[:12]}[missing])
    with pytest.raises(AudioError) as caught:
        load(wav, SAMPLE_RATE)
    assert "clip.wav: " in str(caught.value)
    assert len(str(caught.value)) < 200


def test_truncated_samples_are_read_as_far_as_they_go(wav, voice):
    wav.write_bytes(wav.read_bytes()[: len(voice)])
    assert len(load(wav, SAMPLE_RATE)) == (len(voice) - 44) // 2


@settings(max_examples=60, deadline=None)
@given(at=integers(0, 60), damage=binary(min_size=1, max_size=8), size=sampled_from([44, 60, 1_044]))
def test_a_damaged_header_gives_samples_or_one_line(tmp_path_factory, at, damage, size):
    path = tmp_path_factory.getbasetemp() / "damaged.wav"
    noise = np.random.default_rng(0).integers(-9_000, 9_000, 500, dtype=np.int16)
    soundfile.write(path, noise, SAMPLE_RATE)
    content = bytearray(path.read_bytes()[:size])
    content[at : at + len(damage)] = damage
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ffmpeg, "program", lambda: None)  # it would take a tenth of a second each time
        heard = or_one_line(lambda: load(bytes(content), SAMPLE_RATE))
    assert heard is None or len(heard) > 0
