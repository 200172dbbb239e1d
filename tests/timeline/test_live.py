import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from ser_gpu import live
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


def test_raw_samples_are_answered_twice_a_second(said):
    lines, last = said(speech_16_bits(5.0), "--format", "s16le", "--rate", str(RATE))
    assert len(lines) == 10
    assert lines[-1]["time"] > 4.5
    assert any(line["speech"] and line["emotion"] in line["probabilities"] for line in lines)
    assert "real-time ratio" in last
    assert "dropped 0.0 s" in last


def test_all_formats_give_the_same(said):
    voice = np.repeat((speech_like(2.0) * 100).astype(np.int8)[:, None], 2, axis=1)
    whole, _ = said(voice.astype("<i2") * 256, "--format", "s16le", "--channels", "2")
    assert said((voice / 128).astype("<f4"), "--format", "f32le", "--channels", "2")[0] == whole


def test_a_dash_is_standard_input_of_16_bits(said):
    answers = []
    for arguments in (["-"], ["--format", "s16le"], ["-", "--format", "s16le"]):
        lines, last = said(speech_16_bits(2.0), *arguments)
        answers.append(lines)
        assert "ms of processor time" in last
    assert len(answers[0]) == 4
    assert answers == [answers[0]] * 3


def test_a_voice_changes_the_answer(said, alice):
    without, known = (
        said(speech_16_bits(2.0), "-", *arguments)[0][-1]["probabilities"] for arguments in ([], ["--voice", alice])
    )
    assert without.keys() == known.keys()
    assert without != known


def test_half_a_sample_is_one_line(of_commands, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(bytes(2 * RATE + 1))))
    assert live.main(["--format", "s16le"]) == 2
    assert "error: standard input: ends inside a sample: 1 bytes of 2 are left" in capsys.readouterr().err


def test_microphone_without_its_library_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert live.main([]) == 2
    assert capsys.readouterr().err.strip() == "error: sounddevice is not installed: pip install 'ser_gpu[live]'"


def test_microphone_that_is_too_slow_counts_what_it_drops(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace())
    microphone = live._Microphone()
    chunk = np.zeros((RATE // 2, 1), np.float32)
    for _ in range(23):
        microphone._heard(chunk, len(chunk), None, None)
    assert microphone.dropped_seconds == 1.5
