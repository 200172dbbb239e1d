import io
import json
import os
import signal
import sys
from operator import itemgetter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from ser_gpu import checkpoint, predict
from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.errors import InputError
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.prediction import Prediction
from ser_gpu.recognizer import Recognizer
from tests.conftest import SAMPLE_RATE, started, synthetic_voice


@pytest.fixture
def voice(tmp_path):
    path = tmp_path / "a voice é.wav"
    soundfile.write(path, synthetic_voice(2, 1, 0), SAMPLE_RATE)
    return path


def rows(printed):
    return [json.loads(line) for line in printed.splitlines()]


@pytest.fixture
def answered(weights, capsys):
    """Run the command with --json, and give its rows and what it printed to stderr."""

    def answered(*arguments, code=predict.options.DONE):
        assert predict.main([*map(str, arguments), "--weights", weights, "--json"]) == code
        printed = capsys.readouterr()
        return rows(printed.out), printed.err

    return answered


def test_it_prints_emotion_and_percentage_then_all_eight(voice, weights, capsys):
    assert predict.main([str(voice), "--weights", weights]) == 0
    first, *bars = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{voice}: ")
    assert first.endswith(" %")
    assert sorted(line.split()[0] for line in bars) == sorted(EMOTIONS)


@pytest.mark.parametrize(
    ("files", "given", "device"),
    [(99, [], "cpu"), (100, [], None), (99, ["--device", "cuda"], "cuda"), (100, ["--device", "cpu"], "cpu")],
)
def test_few_files_do_not_wait_for_the_start_of_cuda(files, given, device, voice, monkeypatch):
    asked = []

    def model(weights, name):
        asked.append(name)
        raise InputError("enough")

    monkeypatch.setattr(predict.options, "model", model)
    assert predict.main([*[str(voice)] * files, *given]) == 2
    assert asked == [device]


def test_on_a_gpu_one_batch_is_uploaded_while_another_is_answered():
    on_gpu = SimpleNamespace(device=torch.device("cuda"))
    for files, workers in ((2, {"workers": 2}), (1, {})):
        with predict.side_by_side(on_gpu, files) as found:
            assert found == workers


def test_the_threads_of_torch_are_left_as_they_were(voice, weights, monkeypatch, capsys):
    seen, before = [], torch.get_num_threads()
    real = SpeechEmotionModel.predict_many

    def watched(model, *args, **settings):
        seen.append((torch.get_num_threads(), settings["workers"]))
        return real(model, *args, **settings)

    monkeypatch.setattr(SpeechEmotionModel, "predict_many", watched)
    torch.set_num_threads(2)
    try:
        assert predict.main([str(voice), str(voice), "--weights", weights, "--device", "cpu"]) == 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [(1, 2)], "one thread for each of two workers"


def test_json_is_one_object_a_line(voice, answered):
    for row in answered(voice, voice, "--top", "3")[0]:
        assert row["file"] == str(voice)
        assert row["confidence"] == row["probabilities"][row["emotion"]]
        assert len(row["probabilities"]) == 3


@pytest.mark.parametrize("is_piped", [False, True])
def test_channels_apart_are_answered_and_named_each(is_piped, voice, answered, tmp_path, monkeypatch):
    left = soundfile.read(voice)[0]
    talk = tmp_path / "talk.wav"
    soundfile.write(talk, np.stack([left, 0.5 * left[::-1], 0 * left], 1), SAMPLE_RATE)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(talk.read_bytes())))
    file, name = ("-", "standard input") if is_piped else (str(talk), str(talk))
    (first, second, third, whole), _ = answered(file, voice, "--channels", "apart", code=1)
    assert [each["file"] for each in (first, second, third)] == [f"{name} channel {number}" for number in (1, 2, 3)]
    assert third["error"] == f"{name} channel 3: no speech found"
    assert whole["file"] == f"{voice} channel 1"
    assert first["probabilities"] == pytest.approx(whole["probabilities"], abs=1e-4), "16 bits were rounded twice"
    assert second["probabilities"] != first["probabilities"]


def test_a_folder_is_searched_and_nothing_in_it_is_left_out_silently(voice, answered):
    (voice.parent / "notes.txt").write_text("no audio")
    (row,), said = answered(voice.parent)
    assert (row["file"], said) == (str(voice), "")
    (voice.parent / ".Trash").mkdir()
    for name in ("a.gsm", "b.gsm", "c.m3u", ".Trash/d.wav"):
        (voice.parent / name).touch()
    found, said = answered(voice.parent)
    (note,) = said.splitlines()
    assert note.startswith(f"note: {voice.parent}: skipped 2 (.gsm: no header tells its rate), 1 (")
    skipped = {Path(row["file"]).name: row["skipped"] for row in found if "skipped" in row}
    assert skipped.keys() == {"a.gsm", "b.gsm", "c.m3u", "d.wav"}
    assert [row["file"] for row in found if "emotion" in row] == [str(voice)]


def test_an_unforeseen_error_is_that_of_its_file_alone(voice, answered, monkeypatch):
    """It is a bug of ours, and says so; the files beside it are answered."""
    spoilt = voice.with_name("spoilt.wav")
    soundfile.write(spoilt, synthetic_voice(3, 1, 0), SAMPLE_RATE)
    speech = Recognizer.speech

    def fails(model, recording, *rest):
        name, pieces = speech(model, recording, *rest)
        if recording == spoilt:
            pieces = (piece / 0 for piece in (1,))
        return name, pieces

    monkeypatch.setattr(Recognizer, "speech", fails)
    (first, bad, last), said = answered(voice, spoilt, voice, code=1)
    assert first == last
    assert bad["file"] == str(spoilt)
    assert "please report" in bad["error"]
    assert said == f"error: {bad['error']}\n"


def test_some_emotions_are_renormalised(voice, answered):
    (every,), (some,) = (answered(voice, *more)[0] for more in ([], ["--emotions", "anger,Happy"]))
    assert {*some["probabilities"]} == {"happy", "angry"}
    assert sum(some["probabilities"].values()) == pytest.approx(1)
    ratio = every["probabilities"]["happy"] / every["probabilities"]["angry"]
    assert some["probabilities"]["happy"] / some["probabilities"]["angry"] == pytest.approx(ratio)
    assert some["emotion"] == max(some["probabilities"], key=some["probabilities"].get)


def test_below_the_least_share_the_answer_is_unsure(voice, answered, weights, capsys):
    (row,), _ = answered(voice, "--least", "0.99")
    assert row["emotion"] == "unsure"
    likeliest, confidence = max(row["probabilities"].items(), key=itemgetter(1))
    assert (row["likeliest"], row["confidence"]) == (likeliest, confidence)
    assert predict.main([str(voice), "--weights", weights, "--least", "0.99", "--top", "1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{voice}: unsure ({likeliest} {100 * confidence:.1f} %, below 99 %)"
    assert said[1].split()[0] == likeliest
    (row,), _ = answered(voice, "--least", confidence)
    assert (row["emotion"], "likeliest" in row) == (likeliest, False), "the share itself is reached"


def test_shares_that_are_all_zero_are_shared_out():
    answer = Prediction("sad", 1.0, {"happy": 0.0, "sad": 1.0, "angry": 0.0})
    assert predict._among(answer, ("happy", "angry")).probabilities == {"happy": 0.5, "angry": 0.5}


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "cp437", "utf-8"])
def test_every_encoding_of_a_terminal_can_be_written_to(encoding, voice, weights, monkeypatch):
    strange = voice.rename(voice.with_name("größe 声.wav"))
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    assert predict.main([str(strange), str(strange), "--weights", weights]) == 0
    terminal.flush()
    printed = terminal.buffer.getvalue().decode(encoding)
    assert len(printed.splitlines()) == 2 * 9
    shown = str(strange).encode(encoding, "backslashreplace").decode(encoding)
    assert printed.startswith(f"{shown}: ")
    assert ("#" in printed) == (encoding != "utf-8")


def test_a_name_that_is_no_utf_8_is_escaped(voice, answered, weights, capsys):
    strange = Path(os.fsdecode(os.fsencode(voice.parent) + b"/\xff\n.wav"))
    voice.rename(strange)
    assert predict.main([str(strange), "--weights", weights]) == 0
    assert capsys.readouterr().out.startswith(f"{voice.parent}/\\udcff\\n.wav: ")
    assert answered(strange)[0][0]["file"] == str(strange)


def test_bad_files_are_one_line_each_and_the_rest_goes_on(voice, answered, tmp_path):
    (tmp_path / "text.wav").write_text("these are words")
    for name, samples in (("short", np.ones(320)), ("zeros", np.zeros(5 * SAMPLE_RATE))):
        soundfile.write(tmp_path / f"{name}.wav", samples, SAMPLE_RATE)
    files = [f"{tmp_path / name}.wav" for name in ("text", "missing", "short", "zeros")]
    answers, said = answered(*files, voice, code=1)
    lines = said.splitlines()
    assert all(line.startswith(f"error: {file}: ") for line, file in zip(lines, files, strict=True))
    assert [row["file"] for row in answers] == [*files, str(voice)], "in the order of the arguments, the bad ones too"
    assert [f"error: {row['error']}" for row in answers[:-1]] == lines
    assert lines[-1] == f"error: {files[-1]}: no speech found", "of silence"
    assert "emotion" in answers[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "absent.pth"], "absent.pth: no such checkpoint"),
        (
            ["--weights", "{folder}/model.pt2"],
            "model.pt2: a .pt2 file is for torch.export.load; predict takes a .pth or .onnx",
        ),
        (["--device", "quantum"], "--device quantum"),
        (["--emotions", "happy,bored"], "--emotions happy,bored: no such emotion: bored; there are neutral, calm"),
        (["--emotions", "happy"], "--emotions happy: name two or more of neutral, calm"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments, message, voice, capsys):
    (voice.parent / "model.pt2").touch()
    assert predict.main([str(voice), *(each.format(folder=voice.parent) for each in arguments)]) == 2
    (printed,) = capsys.readouterr().err.splitlines()
    assert message in printed
    assert len(printed) < 200 + len(str(voice.parent))


@pytest.mark.parametrize("arguments", [["--least", "1.5"], ["--least", "much"], ["--top", "0"]])
def test_a_wrong_value_of_a_flag_exits_with_2(arguments, voice, capsys):
    with pytest.raises(SystemExit, match="2"):
        predict.main([str(voice), *arguments])
    assert arguments[0] in capsys.readouterr().err


def test_a_dash_reads_a_file_as_standard_input_which_may_be_closed(voice, answered, weights, monkeypatch):
    with voice.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        (row,), _ = answered("-")
    expected = checkpoint.load(weights)[0].predict(voice)
    said = {"emotion": expected.emotion, "confidence": expected.confidence, "probabilities": expected.probabilities}
    assert row == {"file": "-", **said}
    monkeypatch.setattr(sys, "stdin", None)  # what Python has where the shell says <&-
    assert answered("-", code=1)[1] == "error: standard input: is closed\n"


def test_an_answer_comes_before_the_next_file_is_read_and_a_pipe_is_read_to_its_end(voice, weights):
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    files = [voice, "-"]
    with started("predict.py", *files, "--weights", weights, "--json", env=buffered, text=False) as process:
        first = json.loads(process.stdout.readline())
        assert first["file"] == str(voice), "standard input is still open and empty"
        process.stdin.write(voice.read_bytes())
        process.stdin.close()
        assert json.loads(process.stdout.readline()) == first | {"file": "-"}


@pytest.mark.parametrize("files", [["-"], ["{voice}"] * 2_000], ids=["waiting for input", "many files"])
def test_ctrl_c_ends_it_at_once(files, voice, weights):
    """The first answer, so that it is at work; then the signal of the key."""
    files = [voice, *(file.format(voice=voice) for file in files)]
    with started("predict.py", *files, "--weights", weights, "--json") as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == "interrupted\n"


def test_a_reader_that_has_enough_ends_it_quietly(voice, weights):
    with started("predict.py", *[voice] * 2_000, "--weights", weights, "--json") as process:
        assert json.loads(process.stdout.readline())["file"] == str(voice)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 1


def test_a_process_shows_no_doubts_of_a_decoder_and_loads_only_what_it_needs(voice, weights):
    """libsndfile's MP3 decoder writes to the descriptor of stderr itself; training's libraries double the start."""
    damaged = voice.with_name("damaged.mp3")
    samples, rate = soundfile.read(voice)
    soundfile.write(damaged, np.tile(samples, 4), rate, format="MP3")
    content = bytearray(damaged.read_bytes())
    content[2_000:2_600] = bytes(600)
    damaged.write_bytes(content)
    with started("-c", f"import soundfile; soundfile.read({str(damaged)!r})") as process:
        assert process.communicate()[1], "there are doubts"
    arguments = [str(damaged), "absent.wav", "--weights", weights]
    script = f"import sys; from ser_gpu import predict; predict.main({arguments!r}); print(*sys.modules)"
    with started("-c", script) as process:
        printed, said = process.communicate()
    assert said == "error: absent.wav: no such file\n"
    loaded = printed.splitlines()[-1].split()
    assert "ser_gpu.stages.mel" in loaded
    training = {"nnAudio", "scipy", "torch_audiomentations", "sklearn", "matplotlib", "pooch", "librosa"}
    assert training.isdisjoint(loaded)
