"""Audio of every kind: the right samples, or one line that names the file."""

import bz2
import gzip
import io
import os
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile

from ser_gpu.audio import reader
from ser_gpu.audio.reader import name_of, open_audio
from ser_gpu.audio.samples import level, load
from tests.audio.conftest import or_one_line, piped, refused, same
from tests.conftest import SAMPLE_RATE, ran

# the largest error that a coding may leave at a peak of one
TOLERANCES = {
    0.02: "WAV/PCM_U8 AIFF/PCM_S8",
    1e-4: "WAV/PCM_16 WAVEX/PCM_16 RF64/PCM_16 W64/PCM_16 AIFF/PCM_16 NIST/PCM_16 VOC/PCM_16 FLAC/PCM_16",
    1e-5: "WAV/PCM_24 WAV/PCM_32 WAV/FLOAT WAV/DOUBLE WAVEX/PCM_24 CAF/PCM_24 FLAC/PCM_24",
    0.04: "WAV/ALAW WAV/ULAW AU/ULAW",
    0.2: "OGG/VORBIS MP3/MPEG_LAYER_III",
    0.3: "OGG/OPUS",
}
KINDS = [(*kind.split("/"), tolerance) for tolerance, kinds in TOLERANCES.items() for kind in kinds.split()]


@pytest.mark.parametrize(("container", "subtype", "tolerance"), KINDS, ids=lambda value: str(value))
def test_every_coding_gives_the_samples(voice, tmp_path, container, subtype, tolerance):
    path = tmp_path / f"clip.{container.lower()}"
    soundfile.write(path, voice, SAMPLE_RATE, format=container, subtype=subtype)
    heard, expected = load(path, SAMPLE_RATE).numpy(), level(voice)
    size = min(len(heard), len(expected))
    assert abs(len(heard) - len(expected)) <= (2_400 if subtype == "MPEG_LAYER_III" else 512), "a coder's padding"
    spectrum = np.fft.rfft(heard[:size]) * np.fft.rfft(expected[:size]).conj()
    late, both = int(np.fft.irfft(spectrum, size).argmax()), slice(2_000, size - 2_000)
    error = np.abs(np.roll(heard[:size], -late)[both] - expected[both])
    assert error.max() < tolerance


@pytest.mark.parametrize("container", ["WAV", "AIFF", "FLAC"])
def test_samples_of_16_bits_are_the_floats_that_libsndfile_makes_of_them(voice, tmp_path, container):
    soundfile.write(path := tmp_path / "clip", voice, SAMPLE_RATE, format=container, subtype="PCM_16")
    with open_audio(path) as (_, blocks):
        (heard,) = blocks
    np.testing.assert_array_equal(heard[0], soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize("suffix", [".raw", ".txt", "", ".mp3", ".m4a"])
def test_the_content_tells_the_format_and_not_the_name(voice, wav, tmp_path, suffix):
    path = wav.rename(tmp_path / f"any name, and a é{suffix}")
    assert len(load(path, SAMPLE_RATE)) == len(voice)


@pytest.mark.parametrize(("channels", "scale"), [*((channels, 1.0) for channels in range(1, 9)), (1, 1e-39)])
def test_channels_are_averaged_and_denormal_samples_are_heard(voice, tmp_path, channels, scale):
    weights = scale * np.arange(1, channels + 1) / channels
    soundfile.write(tmp_path / "clip.wav", voice[:, None] * weights, SAMPLE_RATE, subtype="FLOAT")
    # of denormal samples steps of 1e-45 are left
    np.testing.assert_allclose(load(tmp_path / "clip.wav", SAMPLE_RATE), level(voice), atol=1e-5)


@pytest.mark.parametrize("container", ["FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("has_ffmpeg", [True, False])
def test_truncated_coders_give_what_they_can_or_one_line(voice, tmp_path, container, has_ffmpeg, request):
    if not has_ffmpeg:
        request.getfixturevalue("no_ffmpeg")
    path = tmp_path / "clip"
    soundfile.write(path, voice, SAMPLE_RATE, format=container)
    content = path.read_bytes()
    for share in (0.01, 0.3, 0.6, 0.95):
        path.write_bytes(content[: round(share * len(content))])
        heard = or_one_line(lambda: load(path, SAMPLE_RATE))
        assert heard is None or 0 < len(heard) <= len(voice) + 2_400


def test_a_coder_that_did_not_know_the_length_gives_everything(encode, wav):
    """Into a pipe, FLAC's header says nothing about the number of samples."""
    path = encode(".flac", "flac")
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    assert same(load(content, SAMPLE_RATE), load(wav, SAMPLE_RATE))


@pytest.mark.parametrize("rate", [0, 1, 999, 768_001, 2**31 - 1, 2**32 - 1])
def test_a_rate_that_no_recording_has_is_refused(wav, rate, no_ffmpeg):
    content = bytearray(wav.read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    wav.write_bytes(content)
    with refused(r"clip\.wav: (the sample rate must be a whole|is a WAV file that libsndfile)"):
        load(wav, SAMPLE_RATE)


def test_what_is_no_file_is_named_in_one_line(tmp_path):
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("these are words")
    soundfile.write(tmp_path / "header.wav", np.zeros(0, np.float32), SAMPLE_RATE)
    soundfile.write(tmp_path / "nan.wav", np.full(8_000, np.nan, np.float32), SAMPLE_RATE, subtype="FLOAT")
    cases = {
        tmp_path: "is a folder",
        tmp_path / "absent.wav": "no such file",
        tmp_path / "a\nb.wav": r"a\\nb.wav: no such file",
        tmp_path / "loop.wav": "too many levels of symbolic links|symbolic link loop",
        tmp_path / "empty.wav": r"empty\.wav: is empty",
        tmp_path / "text.wav": r"text\.wav: is text, not audio",
        tmp_path / "header.wav": r"header\.wav: holds no samples",
        tmp_path / "nan.wav": r"nan\.wav: holds samples that are not finite",
        tmp_path / ("long" * 100): "file name too long",
        "/dev/null": "/dev/null: is empty",
        "https://example.org/a.wav": "is an address",
        "https:/example.org/a.wav": "is an address",
        "": "is no name of a file",
        "a\0b.wav": "is no name of a file",
    }
    for path, message in cases.items():
        with refused(message):
            load(path, SAMPLE_RATE)


def test_what_the_system_refuses_is_named(wav, monkeypatch):
    monkeypatch.setattr(Path, "open", Mock(side_effect=PermissionError(13, "Permission denied")))
    with refused(r"clip\.wav: permission denied"):
        load(wav, SAMPLE_RATE)


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_pipe_is_read_like_a_file_also_by_its_name(voice, tmp_path, container):
    path, pipe = tmp_path / "clip", tmp_path / "pipe"
    soundfile.write(path, voice, SAMPLE_RATE, format=container)
    with piped(path.read_bytes()) as stream:
        assert same(load(stream, SAMPLE_RATE), load(path, SAMPLE_RATE))
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        pool.submit(pipe.write_bytes, path.read_bytes())
        assert same(load(pipe, SAMPLE_RATE), load(path, SAMPLE_RATE))


def test_a_stream_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(reader, "STREAM_LIMIT_BYTES", 10_000)
    with piped(bytes(200_000)) as stream, refused("stream: more than"), open_audio(stream):
        pass


class OnlyRead:
    """The least that a stream can be, and it gives a few bytes at a time."""

    def __init__(self, content: bytes):
        self._file = io.BytesIO(content)

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, 1_000))


def archived(content: bytes, folder: Path):
    path = folder / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("clip.wav", content)
    return zipfile.ZipFile(path).open("clip.wav")


def compressed(module, content: bytes, folder: Path):
    (folder / "clip.compressed").write_bytes(module.compress(content))
    return module.open(folder / "clip.compressed")


def temporary(make, content: bytes):
    file = make()
    file.write(content)  # and it is not flushed
    return file


STREAMS = {
    "bytes": lambda content, folder: content,
    "bytearray": lambda content, folder: bytearray(content),
    "memoryview": lambda content, folder: memoryview(content),
    "every second byte": lambda content, folder: memoryview(b"".join(bytes([b, 0]) for b in content))[::2],
    "BytesIO": lambda content, folder: io.BytesIO(content),
    "file": lambda content, folder: (folder / "clip.wav").open("rb"),
    "unbuffered file": lambda content, folder: (folder / "clip.wav").open("rb", buffering=0),
    "temporary file": lambda content, folder: temporary(tempfile.TemporaryFile, content),
    "named temporary file": lambda content, folder: temporary(tempfile.NamedTemporaryFile, content),
    "spooled file": lambda content, folder: temporary(tempfile.SpooledTemporaryFile, content),
    "member of a zip": archived,
    # gzip's and bz2's have a descriptor too, which is the compressed file's
    "gzip": lambda content, folder: compressed(gzip, content, folder),
    "bz2": lambda content, folder: compressed(bz2, content, folder),
    "only read": lambda content, folder: OnlyRead(content),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_any_binary_stream_is_read_from_its_start(wav, tmp_path, kind):
    stream = STREAMS[kind](wav.read_bytes(), tmp_path)
    if hasattr(stream, "seek"):
        stream.seek(3)
    assert same(load(stream, SAMPLE_RATE), load(wav, SAMPLE_RATE))
    if hasattr(stream, "seek"):
        assert same(load(stream, SAMPLE_RATE), load(wav, SAMPLE_RATE)), "and once more"
        stream.close()


def broken(_):
    raise RuntimeError("the server\nhas gone")


def closed(stream):
    stream.close()
    return stream


BROKEN = {
    "raises": (lambda path: SimpleNamespace(read=broken), "the server"),
    "gives text": (lambda path: SimpleNamespace(read=lambda _: "words"), "bytes-like object is required, not 'str'"),
    "text": (lambda path: path.open(encoding="latin-1"), "open as text, open it as binary"),
    "text in memory": (lambda path: io.StringIO("RIFF"), "open as text, open it as binary"),
    "closed": (lambda path: closed(path.open("rb")), "closed file"),
    "closed memory": (lambda path: closed(io.BytesIO(b"RIFF")), "closed file"),
    "for writing": (lambda path: path.open("ab"), "UnsupportedOperation: read"),
    "empty": (lambda path: io.BytesIO(), "is empty"),
    "no bytes": (lambda path: b"", "is empty"),
    "a name as bytes": (lambda path: os.fsencode(path), "is text, not audio"),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", BROKEN)
def test_a_stream_that_cannot_be_read_is_one_line(wav, kind):
    make, message = BROKEN[kind]
    with refused(message):
        load(make(wav), SAMPLE_RATE)


def test_nothing_is_left_in_the_temporary_folder(wav, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    content = wav.read_bytes()
    for audio in (content, content[:40] + bytes(4) + content[44:], b"words", SimpleNamespace(read=broken)):
        or_one_line(lambda audio=audio: load(audio, SAMPLE_RATE))
        assert not any((tmp_path / "temporary").iterdir())


def test_a_recording_is_called_by_its_name(wav, tmp_path):
    assert name_of(str(wav)) == name_of(wav) == str(wav)
    with wav.open("rb") as file:
        assert name_of(file) == str(wav)
    assert name_of(archived(b"", tmp_path)) == "clip.wav"
    assert name_of(io.BytesIO()) == name_of(OnlyRead(b"")) == "stream"
    assert name_of(b"RIFF") == "bytes"
    with piped(b"") as stream:
        assert name_of(stream) == "stream", "its name is a number"


def test_standard_input_alone_is_called_so(monkeypatch):
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(buffer))
    assert name_of(buffer) == "standard input"
    with open(0, "rb", closefd=False) as stream:
        assert name_of(stream) == "standard input"
    monkeypatch.setattr(sys, "stdin", None)
    assert name_of(buffer) == "stream"


def test_several_threads_decode_at_once(voice, tmp_path, encode):
    paths = [encode(".m4a", "aac")]
    for number, container in enumerate(["WAV", "FLAC", "OGG", "MP3"] * 2):
        paths.append(tmp_path / str(number))
        soundfile.write(paths[-1], np.roll(voice, 100 * number), 3 * SAMPLE_RATE, format=container)
    expected = [load(path, SAMPLE_RATE) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        heard = pool.map(lambda path: load(path, SAMPLE_RATE), paths * 4)
        assert all(same(*pair) for pair in zip(heard, expected * 4, strict=True))


def test_reading_takes_the_same_memory_for_any_length(tmp_path):
    path = tmp_path / "long.wav"
    script = f"""
import resource, soundfile, sys, numpy as np
from ser_gpu.audio.samples import recording
second = (np.random.default_rng(0).normal(size=(48_000, 8)) * 3_000).astype(np.int16)
with soundfile.SoundFile({str(path)!r}, "w", 48_000, 8, subtype="PCM_16") as file:
    for _ in range(10): file.write(second)
def megabytes():
    for piece in recording({str(path)!r}, None, 16_000, 10.0)[1]: pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / {2**20 if sys.platform == "darwin" else 2**10}
first = megabytes()
with soundfile.SoundFile({str(path)!r}, "r+") as file:
    file.seek(0, 2)
    for _ in range(40): file.write(second)
print(megabytes() - first)
"""
    assert float(ran("-c", script).stdout) < 30, "40 s at 48 kHz in 8 channels are 61 MB as float32"
