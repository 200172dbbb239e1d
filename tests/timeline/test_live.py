import io
import json
import os
import sys
import threading
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile

from ser_gpu import live
from ser_gpu.audio.samples import resample
from tests.timeline.conftest import RATE, speech_like


@pytest.fixture
def said(of_commands, monkeypatch, capsys):
    """The lines and the last words of the command, given these samples and arguments."""

    def said(samples, *arguments):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(samples.tobytes())))
        assert live.main(list(arguments)) == 0
        captured = capsys.readouterr()
        return [json.loads(line) for line in captured.out.splitlines()], captured.err

    return said


def speech_16_bits(seconds):
    return (speech_like(seconds) * 20_000).astype("<i2")


@pytest.mark.parametrize("named", [["-"], ["-", "--format", "s16le"], ["--format", "s16le", "--rate", str(RATE)]])
def test_raw_samples_are_answered_twice_a_second(named, said):
    lines, last = said(speech_16_bits(5.0), *named)
    assert "note" not in last
    assert len(lines) == 10
    assert lines[-1]["time"] == 5.0, "the last part of a second, too"
    assert any(line["speech"] and line["emotion"] in line["probabilities"] for line in lines)
    for words in ("real-time factor", "dropped 0.0 s", "ms of CPU time"):
        assert words in last


def test_less_than_half_a_second_is_answered(said):
    (line,), _ = said(speech_16_bits(0.4), "-")
    assert (line["time"], line["speech"]) == (0.4, True)


def test_all_formats_give_the_same(said):
    voice = np.repeat((speech_like(2.0) * 100).astype(np.int8)[:, None], 2, axis=1)
    whole, _ = said(voice.astype("<i2") * 256, "--format", "s16le", "--channels", "2")
    assert said((voice / 128).astype("<f4"), "--format", "f32le", "--channels", "2")[0] == whole


def test_a_voice_changes_the_answer(said, alice):
    without, known = (
        said(speech_16_bits(2.0), "-", *arguments)[0][-1]["probabilities"] for arguments in ([], ["--voice", alice])
    )
    assert without.keys() == known.keys()
    assert without != known


def in_file(samples, rate=RATE, format="WAV", subtype="PCM_16") -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return np.frombuffer(file.getvalue(), np.uint8)


def sized(size: bytes, content: np.ndarray) -> np.ndarray:
    """A WAV file whose writer could not know its size."""
    return np.frombuffer(content[:4].tobytes() + size + content[8:40].tobytes() + size + content[44:].tobytes(), "u1")


def assert_alike(lines, expected, tolerance):
    assert [line["time"] for line in lines] == [line["time"] for line in expected]
    for line, other in zip(lines, expected, strict=True):
        assert line["probabilities"] == pytest.approx(other["probabilities"], abs=tolerance)


FILES = {
    **{f"WAV {subtype}": lambda voice, subtype=subtype: in_file(voice, RATE, "WAV", subtype)
       for subtype in ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")},
    "WAVEX": lambda voice: in_file(voice, RATE, "WAVEX"),
    "RF64": lambda voice: in_file(voice, RATE, "RF64"),
    "FLAC": lambda voice: in_file(voice, RATE, "FLAC"),
    "two channels": lambda voice: in_file(np.stack([voice, voice], 1)),
    "one channel inverted": lambda voice: in_file(np.stack([voice, -voice], 1)),
    "an odd tail": lambda voice: np.append(in_file(voice), np.frombuffer(b"LIST\5\0\0\0words", "u1")),
    **{f"size {size.hex()}": lambda voice, size=size: sized(size, in_file(voice))
       for size in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\0\xf0\xff\x7f")},
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_a_file_in_the_pipe_is_known_by_its_header(kind, said):
    voice = (speech_like(4.0) * 100).astype(np.int8) / 128  # what all of them hold exactly
    assert_alike(said(FILES[kind](voice), "-")[0], said((voice * 32_768).astype("<i2"), "-")[0], 1e-4)


@pytest.mark.parametrize("format", ["MP3", "OGG", "WAV"])
def test_another_rate_or_a_lossy_coder_changes_little(format, said):
    voice, subtype = speech_like(3.0), {"MP3": "MPEG_LAYER_III", "OGG": "VORBIS", "WAV": "ULAW"}[format]
    lines, last = said(in_file(resample(voice, RATE, 48_000), 48_000, format, subtype), "-", "--rate", "8000")
    assert "note: standard input: its header is used, and not --rate\n" in last
    assert lines[-1]["time"] == pytest.approx(3.0, abs=0.6)
    assert any(line["speech"] for line in lines)


def test_raw_samples_that_begin_like_mp3_are_raw(said):
    voice = speech_16_bits(2.0)
    for first in (b"\xff\xfb", b"\xff\xf1", b"\x0b\x77", b"\x1f\x8b"):
        voice[:3] = np.frombuffer(first, "<i2")[0]
        assert len(said(voice, "-")[0]) == 4


def test_wav_is_answered_while_it_is_written(of_commands, monkeypatch, capsys):
    answered, waited = threading.Event(), []
    monkeypatch.setattr(live, "_show", lambda *_: answered.set())
    reading, writing = os.pipe()

    def record():
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(sized(b"\xff\xff\xff\xff", in_file(speech_like(1.0))).tobytes())
            pipe.flush()
            waited.append(answered.wait(60))

    threading.Thread(target=record).start()
    with os.fdopen(reading, "rb") as pipe:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
        assert live.main(["-"]) == 0
    assert waited == [True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(2 * RATE + 1), "ends inside a sample: 1 bytes of 2 are left"),
        (b"", "is empty"),
        (b"these are words\n" * 300, "is text, not audio"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is a PNG picture, not audio"),
        (b"PK\3\4" + bytes(100), "is a zip archive, not audio"),
        (in_file(np.zeros(0)).tobytes(), "holds no samples"),
    ],
)
def test_what_cannot_be_heard_is_one_line(content, message, of_commands, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert live.main(["-"]) == 2
    assert capsys.readouterr().err == f"error: standard input: {message}\n"


DEVICES = [
    {"name": "Speakers", "max_input_channels": 0, "default_samplerate": 48_000.0},
    {"name": "USB microphone", "max_input_channels": 2, "default_samplerate": 44_100.0},
    {"name": "Mixer", "max_input_channels": 32, "default_samplerate": 96_000.0},
]


class PortAudioError(Exception):
    pass


@pytest.fixture
def microphone(of_commands, monkeypatch, capsys):
    """A function that runs the command where a microphone gives these samples: [T, channels] at its own rate."""

    def heard(*arguments, sound=None, device=1, ends=True):
        asked = {}

        class InputStream:
            def __init__(self, **settings):
                asked.update(settings)
                if settings["device"] not in (None, device, DEVICES[device]["name"]):
                    raise ValueError(f"No input device matching {settings['device']!r}")
                if settings["samplerate"] != DEVICES[device]["default_samplerate"]:
                    raise PortAudioError("Error opening InputStream: Invalid sample rate [PaErrorCode -9997]")
                if settings["channels"] > DEVICES[device]["max_input_channels"]:
                    raise PortAudioError("Error opening InputStream: Invalid number of channels [PaErrorCode -9998]")

            def __enter__(self):
                size = asked["blocksize"]
                for block in [] if sound is None else np.split(sound, range(size, len(sound), size)):
                    asked["callback"](block, len(block), None, None)
                if ends:
                    asked["finished_callback"]()

            def __exit__(self, *_):
                pass

        def query_devices(device=None, kind=None):
            named = {each["name"]: each for each in DEVICES}
            return DEVICES if kind is None else named[device] if device in named else DEVICES[device or 1]

        library = SimpleNamespace(InputStream=InputStream, PortAudioError=PortAudioError, query_devices=query_devices)
        monkeypatch.setitem(sys.modules, "sounddevice", library)
        code = live.main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err, asked

    return heard


def test_a_microphone_is_heard_at_its_own_rate_in_its_own_channels(microphone, said):
    voice = speech_like(3.0)
    sound = resample(voice, RATE, 44_100)
    expected, _ = said(resample(sound, 44_100, RATE), "--format", "f32le")
    for channels in ([sound, sound], [sound, -sound]):
        code, lines, error, asked = microphone("--json", sound=np.stack(channels, 1))
        assert (asked["samplerate"], asked["channels"], asked["dtype"]) == (44_100, 2, "float32")
        assert_alike([json.loads(line) for line in lines], expected, 1e-3)
        assert (code, error) == (2, "error: microphone: ended, or gave nothing for 5 s\n"), "it was unplugged"


def test_a_microphone_that_gives_nothing_is_not_waited_for(microphone, monkeypatch):
    monkeypatch.setattr(live, "_SILENT_SECONDS", 0.1)
    assert microphone(ends=False)[::2] == (2, "error: microphone: ended, or gave nothing for 0 s\n")


@pytest.mark.parametrize("name", ["2", "Mixer"])
def test_a_microphone_is_chosen_by_name_or_number(name, microphone):
    code, lines, _, asked = microphone("--input", name, sound=np.zeros((96_000, 8)), device=2)
    assert (asked["samplerate"], asked["channels"], len(lines)) == (96_000, 8, 2)
    code, lines, _, _ = microphone("--list-inputs")
    assert lines == ["  1  USB microphone (2 channels, 44100 Hz)", "  2  Mixer (32 channels, 96000 Hz)"]
    assert code == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--input", "nose"], "No input device matching 'nose'"),
        (["--rate", "22050"], "Error opening InputStream: Invalid sample rate [PaErrorCode -9997]"),
        (["--channels", "3"], "Error opening InputStream: Invalid number of channels [PaErrorCode -9998]"),
    ],
)
def test_a_microphone_that_is_not_there_or_refuses_is_one_line(arguments, reason, microphone):
    expected = f"error: microphone: cannot be opened ({reason}); --list-inputs shows what there is\n"
    assert microphone(*arguments)[::2] == (2, expected)


def test_samples_of_standard_input_and_a_microphone_are_not_asked_for_together(microphone):
    code, _, said, _ = microphone("--input", "usb", "--format", "u8")
    assert (code, said) == (2, "error: --format is of standard input, and --input a microphone\n")


def test_microphone_without_its_library_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert live.main([]) == live.main(["--list-inputs"]) == 2
    assert set(capsys.readouterr().err.splitlines()) == {
        "error: sounddevice is not installed: pip install 'ser_gpu[live]'"
    }


def test_a_microphone_that_is_not_listened_to_counts_what_it_drops(microphone, monkeypatch):
    monkeypatch.setattr(live._Microphone, "chunks", [])
    listeners = []
    monkeypatch.setattr(live, "Stream", lambda _, rate, name: (listeners.append(rate), Mock(seconds=0))[1])
    real = live._Microphone.__init__
    monkeypatch.setattr(live._Microphone, "__init__", lambda self, args: (listeners.append(self), real(self, args))[1])
    microphone(sound=np.zeros((23 * 22_050, 2)))
    assert listeners[0].dropped_seconds == 1.5
