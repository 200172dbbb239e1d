import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import predict
from ser_gpu import checkpoint
from ser_gpu.checkpoint import Provenance
from ser_gpu.data.protocols import Protocol
from ser_gpu.data.ravdess import EMOTIONS
from ser_gpu.model import SpeechEmotionModel
from tests.conftest import SAMPLE_RATE, synthetic_voice
from tests.data.test_waveform import broken_files

ROOT = Path(predict.__file__).parent


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    checkpoint.save(path, SpeechEmotionModel(), Provenance(Protocol(), "", seed=0))
    return str(path)


@pytest.fixture
def voice(tmp_path):
    path = tmp_path / "a voice é.wav"
    soundfile.write(path, synthetic_voice(2, 1, 0), SAMPLE_RATE)
    return path


def test_it_prints_emotion_and_percentage_then_all_eight(voice, weights, capsys):
    assert predict.main([str(voice), "--weights", weights]) == 0
    first, *bars = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{voice}: ")
    assert first.endswith("%")
    assert sorted(line.split()[0] for line in bars) == sorted(EMOTIONS)


def test_json_is_one_object_a_line(voice, weights, capsys):
    assert predict.main([str(voice), str(voice), "--weights", weights, "--json", "--top", "3"]) == 0
    for line in capsys.readouterr().out.splitlines():
        row = json.loads(line)
        assert row["file"] == str(voice)
        assert row["confidence"] == row["probabilities"][row["emotion"]]
        assert len(row["probabilities"]) == 3


def test_a_folder_is_searched(voice, weights, capsys):
    (voice.parent / "notes.txt").write_text("no audio")
    assert predict.main([str(voice.parent), "--weights", weights, "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_bad_files_are_one_line_each_and_the_rest_goes_on(voice, weights, tmp_path, capsys):
    bad = broken_files(tmp_path)
    bad.remove("folder.wav")
    soundfile.write(tmp_path / "short.wav", np.ones(320, np.float32), SAMPLE_RATE)
    bad.append("short.wav")
    files = [str(tmp_path / name) for name in bad]
    assert predict.main([*files, str(voice), "--weights", weights, "--json"]) == 1
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert len(lines) == len(bad)
    for line, name in zip(lines, bad, strict=True):
        assert line.startswith("error: ")
        assert name in line
    rows = [json.loads(line) for line in printed.out.splitlines()]
    assert [row["file"] for row in rows] == [*files, str(voice)], "in the order of the arguments, the bad ones too"
    assert [f"error: {row['error']}" for row in rows[:-1]] == lines
    assert "emotion" in rows[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--weights", "absent.pth"], "absent.pth: no such checkpoint"), (["--device", "quantum"], "--device quantum")],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments, message, voice, capsys):
    assert predict.main([str(voice), *arguments]) == 2
    printed = capsys.readouterr().err.strip()
    assert message in printed
    assert "\n" not in printed


def test_an_empty_folder_is_wrong_use(tmp_path, weights, capsys):
    assert predict.main([str(tmp_path), "--weights", weights]) == 2
    assert "no audio file" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["a pipe", "a file"])
def test_a_dash_reads_standard_input(source, voice, weights):
    command = [sys.executable, "predict.py", "-", "--weights", weights, "--json"]
    if source == "a pipe":
        done = subprocess.run(command, cwd=ROOT, input=voice.read_bytes(), capture_output=True, check=True)
    else:
        with voice.open("rb") as stdin:
            done = subprocess.run(command, cwd=ROOT, stdin=stdin, capture_output=True, check=True)
    row = json.loads(done.stdout)
    expected = checkpoint.load(weights)[0].predict(voice)
    assert row == {"file": "-", **dataclasses.asdict(expected), "probabilities": row["probabilities"]}
    assert row["probabilities"] == expected.probabilities


def test_a_closed_standard_input_is_said(weights, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)  # what Python has where the shell says <&-
    assert predict.main(["-", "--weights", weights]) == 1
    assert capsys.readouterr().err == "error: standard input: is closed\n"


def test_an_answer_comes_before_the_next_file_is_read(voice, weights):
    command = [sys.executable, "predict.py", str(voice), "-", "--weights", weights, "--json"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, cwd=ROOT, env=buffered, **pipes) as process:
        assert json.loads(process.stdout.readline())["file"] == str(voice), "standard input is still open and empty"
        process.stdin.write(voice.read_bytes())
        process.stdin.close()
        assert json.loads(process.stdout.readline())["file"] == "-"


def test_a_reader_that_has_enough_ends_it_quietly(voice, weights):
    command = [sys.executable, "predict.py", *[str(voice)] * 2_000, "--weights", weights, "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        assert json.loads(process.stdout.readline())["file"] == str(voice)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 1


def test_silence_is_said_to_be_no_speech(tmp_path, weights, capsys):
    soundfile.write(tmp_path / "silence.wav", np.zeros(32_000), SAMPLE_RATE)
    assert predict.main([str(tmp_path), "--weights", weights, "--json"]) == 1
    printed = capsys.readouterr()
    assert printed.err == f"error: {tmp_path}/silence.wav: no speech found\n"
    assert json.loads(printed.out) == {
        "file": f"{tmp_path}/silence.wav",
        "error": f"{tmp_path}/silence.wav: no speech found",
    }


def test_doubts_of_a_decoder_are_kept_from_the_terminal(voice, tmp_path, weights):
    """libsndfile's MP3 decoder writes to the descriptor of stderr itself."""
    samples, rate = soundfile.read(voice)
    soundfile.write(tmp_path / "voice.mp3", np.tile(samples, 4), rate)
    content = bytearray((tmp_path / "voice.mp3").read_bytes())
    content[2_000:2_600] = bytes(600)
    (tmp_path / "voice.mp3").write_bytes(content)
    heard = f"import soundfile; soundfile.read({str(tmp_path / 'voice.mp3')!r})"
    assert subprocess.run([sys.executable, "-c", heard], capture_output=True).stderr, "there are doubts"
    done = subprocess.run(
        [sys.executable, "predict.py", str(tmp_path / "voice.mp3"), "absent.wav", "--weights", weights],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stderr == "error: absent.wav: no such file\n"
    assert str(tmp_path / "voice.mp3") in done.stdout


def python(*arguments):
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, done


def test_it_loads_nothing_that_prediction_does_not_need(voice, weights):
    """Training's and reporting's libraries would double the start of the command."""
    watch = f"import sys, predict; predict.main([{str(voice)!r}, '--weights', {weights!r}]); print(*sys.modules)"
    _, done = python("-c", watch)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "ser_gpu.stages.mel" in loaded
    assert loaded.isdisjoint({"nnAudio", "scipy", "torch_audiomentations", "sklearn", "matplotlib", "pooch", "librosa"})


def test_importing_the_package_prints_nothing():
    _, done = python("-c", "import ser_gpu")
    assert done.stdout == done.stderr == ""
