"""Formats that libsndfile does not read."""

import io
import os
import shutil
from collections import deque
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from ser_gpu.audio import ffmpeg
from ser_gpu.audio.samples import load, recording
from tests.audio.conftest import piped, refused
from tests.conftest import SAMPLE_RATE

FILES = [(".m4a", "aac"), (".3gp", "aac"), (".aac", "aac"), (".webm", "libopus"), (".wma", "wmav2"), (".wv", "wavpack")]


@pytest.mark.parametrize(("suffix", "codec"), FILES)
def test_recordings_of_phones_and_browsers_are_read_by_their_content_and_not_their_name(wav, encode, suffix, codec):
    path = encode(suffix, codec)
    heard, expected = load(path, SAMPLE_RATE), load(wav, SAMPLE_RATE)
    size = max(len(heard), len(expected)) + 4_000
    spectra = torch.fft.rfft(heard, size) * torch.fft.rfft(expected, size).conj()
    likeness = torch.fft.irfft(spectra, size).max() / (heard.norm() * expected.norm())  # however late a coder makes it
    assert likeness > 0.97, "lossy coders leave a few per cent; another sound has less than 0.5"
    assert torch.equal(load(path.rename(path.with_name("-f, a name: é%d.wav")), SAMPLE_RATE), heard)


@pytest.fixture
def program(monkeypatch, tmp_path):
    """A function that puts another program in the place of ffmpeg."""

    def put(script: str) -> None:
        path = tmp_path / "ffmpeg"
        path.write_text(f"#!/bin/sh\n{script}")
        path.chmod(0o700)
        monkeypatch.setattr(ffmpeg, "program", lambda: str(path))

    return put


SOURCES = {
    "bytes": Path.read_bytes,
    "memory": lambda path: io.BytesIO(path.read_bytes()),
    "file": lambda path: path.open("rb"),
    "pipe": lambda path: piped(path.read_bytes()),
    "path": lambda path: path,
}


@pytest.mark.parametrize("kind", SOURCES)
def test_any_source_is_read_like_a_file_and_by_a_path_which_any_system_has(kind, encode, program):
    """Not standard input by a name of its own, as /dev/stdin: ffmpeg must seek, and Windows has no such name."""
    path, real = encode(".m4a", "aac"), shutil.which("ffmpeg")
    expected = load(path, SAMPLE_RATE)
    program(f'for each; do case "$each" in */dev/*|pipe:0) exit 9;; esac; done; exec "{real}" "$@"')
    source = SOURCES[kind](path)
    with source if hasattr(source, "close") else nullcontext():
        if kind == "file":
            source.read(100)
        assert torch.equal(load(source, SAMPLE_RATE), expected)


def test_pieces_are_those_of_the_whole(encode, monkeypatch):
    path = encode(".m4a", "aac", "-ac", "2", "-ar", "44100")
    expected = load(path, SAMPLE_RATE)
    monkeypatch.setattr(ffmpeg, "_BLOCK_VALUES", 2 * 3_001)
    assert torch.equal(load(path, SAMPLE_RATE), expected), "how it is cut into blocks changes nothing"
    assert sum(map(len, recording(path, None, SAMPLE_RATE, 0.3)[1])) == len(expected)


def test_without_ffmpeg_one_line_says_what_it_is_and_how_to_read_it(tmp_path, no_ffmpeg):
    (tmp_path / "clip.m4a").write_bytes(b"\0\0\0\x20ftypM4A \0\0\2\0isomiso2" + bytes(100))
    with refused(r"clip\.m4a: is MP4 \(m4a, mp4: mostly AAC\); install ffmpeg to read it"):
        load(tmp_path / "clip.m4a", SAMPLE_RATE)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(("suffix", "codec"), [(".m4a", "aac"), (".webm", "libopus")])
def test_truncated_files_give_what_they_can_or_one_line(encode, suffix, codec, share):
    path = encode(suffix, codec)
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    if suffix == ".webm":
        assert len(load(path, SAMPLE_RATE)) > 0
    else:  # the table of what lies where is at its end
        with refused(r"clip\.m4a: cannot be read as audio \(ffmpeg: moov atom not found\)"):
            load(path, SAMPLE_RATE)


def test_a_video_without_sound_holds_no_sound(encode):
    path = encode(".mp4", "aac", "-f", "lavfi", "-i", "testsrc=d=0.1:s=32x32", "-map", "1:v", "-c:v", "mpeg4")
    with refused(r"clip\.mp4: holds no sound"):
        load(path, SAMPLE_RATE)


@pytest.mark.parametrize("script", ["ffconcat version 1.0\nfile '{}'\n", "#EXTM3U\n#EXTINF:1,\nfile://{}\n"])
def test_a_file_cannot_make_ffmpeg_open_another(encode, tmp_path, script):
    """Nor an address: the demuxers that could are not among those that may see a file."""
    other = encode(".aac", "aac")
    (tmp_path / "script").write_text(script.format(other))
    refusal = refused("script: cannot be read as audio")
    with refusal, ffmpeg.decoding(tmp_path / "script", "script", "text"):
        pass


AAC = b"\xff\xf1\x50\x80" + bytes(100)
HEADER = r"printf '.snd\0\0\0\030\377\377\377\377\0\0\0\006\0\0\076\200\0\0\0\001'; "
SAMPLE = r"printf '\077\0\0\0\277\0\0\0'; "
COMPLAINTS = "yes 'a complaint' | head -n 100000 >&2; exit 3"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        *((before + "exec sleep 60", r".*ffmpeg gave nothing for 0 s") for before in ("", HEADER, HEADER + SAMPLE)),
        (HEADER + SAMPLE + COMPLAINTS, r"damaged \(ffmpeg: a complaint\)"),
    ],
)
def test_what_stalls_or_breaks_is_one_line(program, monkeypatch, script, message):
    program(script)
    monkeypatch.setattr(ffmpeg, "STALL_SECONDS", 0.2 if "sleep" in script else 60.0)
    with refused(f"bytes: {message}"):
        deque(recording(AAC, None, SAMPLE_RATE)[1], maxlen=0)


def test_a_reader_that_stops_early_leaves_no_process(program, tmp_path):
    program(f"echo $$ > {tmp_path}/number; {HEADER} exec cat /dev/zero")
    pieces = recording(AAC, None, SAMPLE_RATE, 1.0)[1]
    next(pieces)
    pieces.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "number").read_text()), 0)
