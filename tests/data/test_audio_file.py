"""Audio of every kind: the right samples, or one line that names the file."""

import io
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ser_gpu.data import audio_file
from ser_gpu.data.audio_file import AudioError, open_audio
from ser_gpu.data.waveform import level, load, segments
from tests.conftest import SAMPLE_RATE, synthetic_voice

ROOT = Path(__file__).parent.parent.parent

# format, subtype, the largest error that the coding may leave at a peak of one
KINDS = [
    ("WAV", "PCM_U8", 0.02),
    ("WAV", "PCM_16", 1e-4),
    ("WAV", "PCM_24", 1e-5),
    ("WAV", "PCM_32", 1e-5),
    ("WAV", "FLOAT", 1e-5),
    ("WAV", "DOUBLE", 1e-5),
    ("WAV", "ALAW", 0.04),
    ("WAV", "ULAW", 0.04),
    ("WAVEX", "PCM_16", 1e-4),
    ("WAVEX", "PCM_24", 1e-5),
    ("RF64", "PCM_16", 1e-4),
    ("W64", "PCM_16", 1e-4),
    ("AIFF", "PCM_16", 1e-4),
    ("AIFF", "PCM_S8", 0.02),
    ("AU", "ULAW", 0.04),
    ("CAF", "PCM_24", 1e-5),
    ("FLAC", "PCM_16", 1e-4),
    ("FLAC", "PCM_24", 1e-5),
    ("OGG", "VORBIS", 0.2),
    ("OGG", "OPUS", 0.3),
    ("MP3", "MPEG_LAYER_III", 0.2),
]


@pytest.fixture
def voice():
    return 0.9 * level(torch.from_numpy(synthetic_voice(3, 1, 0, seconds=1.0))).numpy()


@pytest.mark.parametrize(("container", "subtype", "tolerance"), KINDS, ids=lambda value: str(value))
def test_every_coding_gives_the_samples(voice, tmp_path, container, subtype, tolerance):
    path = tmp_path / f"clip.{container.lower()}"
    soundfile.write(path, voice, SAMPLE_RATE, format=container, subtype=subtype)
    heard, expected = load(path, SAMPLE_RATE), level(torch.from_numpy(voice))
    size = min(len(heard), len(expected))
    assert abs(len(heard) - len(expected)) <= (2_400 if subtype == "MPEG_LAYER_III" else 512), "a coder's padding"
    offset = _lag(heard[:size].numpy(), expected[:size].numpy())
    both = slice(2_000, size - 2_000)
    error = np.abs(np.roll(heard.numpy()[:size], -offset)[both] - expected.numpy()[both])
    assert error.max() < tolerance


def _lag(heard: np.ndarray, expected: np.ndarray) -> int:
    """By how many samples a coder delays the sound."""
    spectrum = np.fft.rfft(heard) * np.fft.rfft(expected).conj()
    lag = int(np.fft.irfft(spectrum, len(heard)).argmax())
    return lag if lag < len(heard) // 2 else lag - len(heard)


@pytest.mark.parametrize("channels", range(1, 9))
def test_channels_are_averaged(voice, tmp_path, channels):
    weights = np.arange(1, channels + 1) / channels
    soundfile.write(tmp_path / "clip.wav", voice[:, None] * weights, SAMPLE_RATE, subtype="FLOAT")
    torch.testing.assert_close(
        load(tmp_path / "clip.wav", SAMPLE_RATE), level(torch.from_numpy(voice)), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("suffix", [".raw", ".txt", "", ".mp3"])
def test_the_content_tells_the_format_and_not_the_name(voice, tmp_path, suffix):
    path = tmp_path / f"any name, and a é{suffix}"
    soundfile.write(tmp_path / "clip.wav", voice, SAMPLE_RATE)
    (tmp_path / "clip.wav").rename(path)
    assert len(load(path, SAMPLE_RATE)) == len(voice)


@pytest.mark.parametrize("size", [0, 1, 2**31, 2**32 - 1])
def test_a_wrong_length_in_the_header_is_not_believed(voice, tmp_path, size):
    path = tmp_path / "clip.wav"
    soundfile.write(path, voice, SAMPLE_RATE)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", size)
    path.write_bytes(content)
    if size > 1:
        assert len(load(path, SAMPLE_RATE)) == len(voice)
    else:
        with pytest.raises(AudioError, match=r"clip\.wav: holds no samples"):
            load(path, SAMPLE_RATE)


def test_truncated_samples_are_read_as_far_as_they_go(voice, tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, voice, SAMPLE_RATE)
    path.write_bytes(path.read_bytes()[: len(voice)])
    assert len(load(path, SAMPLE_RATE)) == (len(voice) - 44) // 2


@pytest.mark.parametrize("container", ["FLAC", "OGG", "MP3"])
def test_truncated_coders_give_what_they_can_or_one_line(voice, tmp_path, container):
    path = tmp_path / "clip"
    soundfile.write(path, voice, SAMPLE_RATE, format=container)
    content = path.read_bytes()
    for share in (0.01, 0.3, 0.6, 0.95):
        path.write_bytes(content[: round(share * len(content))])
        try:
            assert 0 < len(load(path, SAMPLE_RATE)) <= len(voice) + 2_400
        except AudioError as error:
            message = str(error)
        else:
            continue
        assert message.startswith(f"{path}: ")
        assert "\n" not in message


def test_denormal_samples_are_heard(voice, tmp_path):
    soundfile.write(tmp_path / "clip.wav", voice * 1e-39, SAMPLE_RATE, subtype="FLOAT")
    heard = load(tmp_path / "clip.wav", SAMPLE_RATE)
    # steps of 1e-45 are left
    torch.testing.assert_close(heard, level(torch.from_numpy(voice)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("rate", [0, 1, 999, 768_001, 2**31 - 1])
def test_a_rate_that_no_recording_has_is_refused(voice, tmp_path, rate):
    path = tmp_path / "clip.wav"
    soundfile.write(path, voice, SAMPLE_RATE)
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack("<I", rate)
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"clip\.wav: (the sample rate must be between|cannot be read)"):
        load(path, SAMPLE_RATE)


def test_what_is_no_file_is_named_in_one_line(tmp_path):
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    cases = {
        tmp_path: "is a folder",
        tmp_path / "absent.wav": "no such file",
        tmp_path / "loop.wav": "too many levels of symbolic links|symbolic link loop",
        tmp_path / ("long" * 100): "file name too long",
        "/dev/null": "neither a file nor a pipe",
    }
    for path, message in cases.items():
        with pytest.raises(AudioError, match=message) as caught, open_audio(path):
            pass
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_file_without_permission_is_named(voice, tmp_path):
    soundfile.write(tmp_path / "clip.wav", voice, SAMPLE_RATE)
    (tmp_path / "clip.wav").chmod(0)
    with pytest.raises(AudioError, match=r"clip\.wav: permission denied"):
        load(tmp_path / "clip.wav", SAMPLE_RATE)


def test_what_the_system_refuses_is_named(voice, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    soundfile.write(tmp_path / "clip.wav", voice, SAMPLE_RATE)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AudioError, match=r"clip\.wav: permission denied"):
        load(tmp_path / "clip.wav", SAMPLE_RATE)


def piped(content: bytes):
    """A pipe into which another thread writes."""
    reading, writing = os.pipe()
    thread = threading.Thread(target=_feed, args=(writing, content))
    thread.start()
    return os.fdopen(reading, "rb"), thread


def _feed(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as pipe, io.BytesIO(content) as source:
        try:
            while chunk := source.read(65_536):
                pipe.write(chunk)
        except BrokenPipeError:
            pass


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_pipe_is_read_like_a_file(voice, tmp_path, container):
    path = tmp_path / "clip"
    soundfile.write(path, voice, SAMPLE_RATE, format=container)
    stream, thread = piped(path.read_bytes())
    with stream:
        heard = torch.cat(list(segments(stream, SAMPLE_RATE)))
    thread.join()
    assert torch.equal(heard, load(path, SAMPLE_RATE))


def test_a_named_pipe_is_read_like_a_file(voice, tmp_path):
    soundfile.write(tmp_path / "clip.wav", voice, SAMPLE_RATE)
    os.mkfifo(tmp_path / "pipe")
    content = (tmp_path / "clip.wav").read_bytes()
    thread = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
    thread.start()
    assert torch.equal(load(tmp_path / "pipe", SAMPLE_RATE), load(tmp_path / "clip.wav", SAMPLE_RATE))
    thread.join()


def test_a_pipe_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(audio_file, "PIPE_LIMIT_BYTES", 10_000)
    stream, thread = piped(bytes(200_000))
    with stream, pytest.raises(AudioError, match="standard input: more than"), open_audio(stream):
        pass
    thread.join()


def test_reading_takes_the_same_memory_for_any_length(tmp_path):
    """Four minutes at 48 kHz in 8 channels are 370 MB as float32."""
    script = f"""
import soundfile, numpy as np
from ser_gpu.data.waveform import segments
from tests.long.memory import peak_megabytes
path = {str(tmp_path / "long.wav")!r}
second = (np.random.default_rng(0).normal(size=(48_000, 8)) * 3_000).astype(np.int16)
with soundfile.SoundFile(path, "w", 48_000, 8, subtype="PCM_16") as file:
    for _ in range(60): file.write(second)
def megabytes():
    for piece in segments(path, 16_000, 10.0): pass
    return peak_megabytes()
first = megabytes()
with soundfile.SoundFile(path, "r+") as file:
    file.seek(0, 2)
    for _ in range(180): file.write(second)
print(megabytes() - first)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 30, "megabytes more for four minutes than for one; all of it would be 276"
