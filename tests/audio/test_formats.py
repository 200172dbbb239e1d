"""What a file is, by its first bytes."""

import io
import re

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis.strategies import binary

from ser_gpu.audio.formats import HEAD_BYTES, kind_of
from ser_gpu.audio.samples import load
from tests.audio.conftest import refused
from tests.conftest import SAMPLE_RATE


@given(head=binary(max_size=HEAD_BYTES))
def test_any_bytes_have_a_kind_or_none(head):
    kind = kind_of(head)
    assert kind is None or kind.reader in ("libsndfile", "ffmpeg", None)


@pytest.mark.parametrize("container", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF"])
def test_what_libsndfile_writes_is_known(container):
    file = io.BytesIO()
    soundfile.write(file, np.zeros(100), SAMPLE_RATE, format=container)
    assert kind_of(file.getvalue()[:HEAD_BYTES]).reader == "libsndfile"


NO_AUDIO = {
    "a zip archive": b"PK\x03\x04\x14\0\0\0\0\0",
    "a PNG picture": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "a JPEG picture": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    "a PDF document": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "gzip-compressed": b"\x1f\x8b\x08\0\0\0\0\0",
    "a web page (HTML)": b"\n<!DOCTYPE html><html lang=en>",
    "text": "these are words, é".encode(),
    "nothing but zeros": bytes(2_000),
    "a playlist": b"#EXTM3U\n#EXTINF:1,\nhttp://example.org/a.aac\n",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "a NumPy array": b"\x93NUMPY\x01\0v\0{'descr': '<f4'",
}


@pytest.mark.parametrize("kind", NO_AUDIO)
def test_what_is_no_audio_is_named(kind, tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(NO_AUDIO[kind])
    with refused(rf"{re.escape(f'{path}: is {kind}')}.*, not audio$"):
        load(path, SAMPLE_RATE)


def test_text_whose_last_letter_is_cut_is_text():
    assert kind_of(("é" * HEAD_BYTES).encode()[: HEAD_BYTES - 1]).name == "text"


def test_a_tag_hides_no_format(voice):
    """Players write ID3 before AAC too; an MP3 file has it before its frames."""
    tag = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    assert kind_of(tag + b"\xff\xf1\x50\x80").name == "AAC"
    assert kind_of(tag + b"\xff\xfb\x90\x64").name == "an MP3 file"
    assert kind_of(tag).name == "an MP3 file"
