import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ser_gpu import live
from ser_gpu.cli import options
from ser_gpu.voices.enrol import of_windows
from tests.timeline.conftest import RATE, speech_like


@pytest.fixture
def pcm(small_model, loud_is_speech, monkeypatch):
    monkeypatch.setattr(options, "model", lambda *_: small_model)

    def give(content: bytes):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))

    return give


def test_raw_samples_are_answered_twice_a_second(pcm, capsys):
    pcm((speech_like(5.0) * 20_000).astype("<i2").tobytes())
    assert live.main(["--format", "s16le", "--rate", str(RATE)]) == 0
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert len(lines) == 10
    assert lines[-1]["time"] > 4.5
    assert any(line["speech"] and line["emotion"] in line["probabilities"] for line in lines)
    assert "real-time ratio" in captured.err
    assert "dropped 0.0 s" in captured.err


def test_all_formats_give_the_same(pcm, capsys):
    voice = np.repeat((speech_like(2.0) * 100).astype(np.int8)[:, None], 2, axis=1)
    answers = []
    for name, samples in (("s16le", voice.astype("<i2") * 256), ("f32le", (voice / 128).astype("<f4"))):
        pcm(samples.tobytes())
        assert live.main(["--format", name, "--channels", "2"]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]


def test_a_dash_is_standard_input_of_16_bits(pcm, capsys):
    samples = (speech_like(2.0) * 20_000).astype("<i2").tobytes()
    answers = []
    for arguments in (["-"], ["--format", "s16le"], ["-", "--format", "s16le"]):
        pcm(samples)
        assert live.main(arguments) == 0
        captured = capsys.readouterr()
        answers.append(captured.out)
        assert "ms of processor time" in captured.err
    assert len(answers[0].splitlines()) == 4
    assert answers == [answers[0]] * 3


def test_a_voice_changes_the_answer(pcm, small_model, tmp_path, capsys):
    windows = 0.1 * torch.randn(20, 48_000, generator=torch.Generator().manual_seed(0)).numpy()
    of_windows(small_model, [windows]).save(tmp_path / "alice.voice")
    said = []
    for arguments in ([], ["--voice", str(tmp_path / "alice.voice")]):
        pcm((speech_like(2.0) * 20_000).astype("<i2").tobytes())
        assert live.main(["-", *arguments]) == 0
        said.append(json.loads(capsys.readouterr().out.splitlines()[-1])["probabilities"])
    assert said[0].keys() == said[1].keys()
    assert said[0] != said[1]


def test_half_a_sample_is_one_line(pcm, capsys):
    pcm(bytes(2 * RATE + 1))
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
