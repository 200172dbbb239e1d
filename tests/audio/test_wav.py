"""WAV files whose sizes are wrong give what is there."""

import io
import struct

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis.strategies import binary, integers, sampled_from

from ser_gpu.audio import ffmpeg
from ser_gpu.audio.samples import load
from tests.audio.conftest import or_one_line, refused
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


CHANGES = {
    **{
        f"{size} as the size of the file": lambda content, size=size: with_number(content, 4, size)
        for size in (0, 1, 36, 100, 2**31, 2**32 - 1)
    },
    "never closed": lambda content: with_number(with_number(content, after(content, b"data"), 0), 4, 0),
    "closed without samples": lambda content: with_number(with_number(content, after(content, b"data"), 0), 4, 36),
    "sizes that contradict each other": lambda content: with_number(content, after(content, b"data"), 100),
    "a foreign tail is no sound": lambda content: content + bytes(1_000),
    "a chunk behind the samples": lambda content: content + chunk(b"LIST", b"INFO"),
    "an odd chunk": lambda content: before_samples(content, chunk(b"note", b"words") + b"\0"),
    "an odd chunk without its last byte": lambda content: before_samples(content, chunk(b"note", b"words")),
    "a chunk that claims to be longer than the file": lambda content: before_samples(
        content, with_number(chunk(b"note", b"word"), 4, 2**31)
    ),
}


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content


def before_samples(content: bytes, other: bytes) -> bytes:
    return content.replace(b"data", other + b"data", 1)


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_header_says_wrongly_is_not_believed(wav, change):
    expected = load(wav, SAMPLE_RATE)
    wav.write_bytes(CHANGES[change](wav.read_bytes()))
    assert torch.equal(load(wav, SAMPLE_RATE), expected)


def test_no_samples_before_another_chunk_are_no_samples(wav):
    content = wav.read_bytes()
    head = content[: after(content, b"data")]
    wav.write_bytes(head + struct.pack("<I", 0) + chunk(b"LIST", b"INFO"))
    with refused(r"clip\.wav: holds no samples"):
        load(wav, SAMPLE_RATE)


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
    with refused(r"clip\.wav: "):
        load(wav, SAMPLE_RATE)


def test_truncated_samples_are_read_as_far_as_they_go(wav, voice):
    wav.write_bytes(wav.read_bytes()[: len(voice)])
    assert len(load(wav, SAMPLE_RATE)) == (len(voice) - 44) // 2


@settings(max_examples=60)
@given(at=integers(0, 60), damage=binary(min_size=1, max_size=8), size=sampled_from([44, 60, 1_044]))
def test_a_damaged_header_gives_samples_or_one_line(at, damage, size):
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(-9_000, 9_000, 500, dtype=np.int16)
    soundfile.write(file, noise, SAMPLE_RATE, format="WAV")
    content = bytearray(file.getvalue()[:size])
    content[at : at + len(damage)] = damage
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ffmpeg, "program", lambda: None)  # it would take a tenth of a second each time
        heard = or_one_line(lambda: load(bytes(content), SAMPLE_RATE))
    assert heard is None or len(heard) > 0
