import json

import numpy as np
import pytest
import soundfile
import torch

from ser_gpu import timeline as package
from ser_gpu.cli import options
from ser_gpu.errors import MissingExtraError
from ser_gpu.timeline import command
from ser_gpu.voices.enrol import of_windows, own_voice
from tests.timeline.conftest import RATE, speech_like


@pytest.fixture
def talk(tmp_path, small_model, loud_is_speech, monkeypatch):
    monkeypatch.setattr(options, "model", lambda *_: small_model)
    soundfile.write(tmp_path / "talk.wav", speech_like(9.0), RATE)
    return tmp_path / "talk.wav"


def test_one_command_writes_every_format_and_the_picture(talk, tmp_path):
    out, plot = tmp_path / "out" / "talk", tmp_path / "talk.png"
    names = "json,jsonl,csv,rttm,vtt,srt,textgrid,audacity"
    assert package.main([str(talk), "--format", names, "--out", str(out), "--plot", str(plot)]) == 0
    written = sorted(path.name for path in out.parent.iterdir())
    assert written == sorted(f"talk{s}" for s in command.formats.SUFFIXES.values())
    segments = json.loads((out.parent / "talk.json").read_text())["segments"]
    assert segments[-1]["end"] == 9.0
    assert plot.stat().st_size > 1_000


def test_json_lines_come_as_it_goes(talk, capsys):
    assert package.main([str(talk), "--format", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["start"] == 0.0
    assert lines[-1]["end"] == 9.0


def test_terminal_shows_a_bar_a_minute(talk, capsys):
    assert package.main([str(talk)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 2
    assert "0:09" in shown[0]
    assert "#" in shown[1]


def test_several_files_go_into_a_folder(talk, tmp_path):
    soundfile.write(tmp_path / "other.wav", speech_like(2.0, 1), RATE)
    files = [str(talk), str(tmp_path / "other.wav")]
    assert package.main([*files, "--format", "vtt", "--out", str(tmp_path / "all")]) == 0
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["other.vtt", "talk.vtt"]


def test_interruption_keeps_what_was_done(talk, tmp_path, monkeypatch, capsys):
    def stopped(answers, recording, **options):
        name, parts = package.stretches(answers, recording, **options)

        def until():
            for seconds, segments in parts:
                yield seconds, segments
                if segments:
                    raise KeyboardInterrupt

        return name, until()

    soundfile.write(talk, speech_like(20.0), RATE)
    monkeypatch.setattr(command, "stretches", stopped)
    assert package.main([str(talk), "--out", str(tmp_path / "talk.json")]) == 130
    kept = json.loads((tmp_path / "talk.json").read_text())
    assert 0 < kept["seconds"] < 20
    assert kept["segments"][-1]["end"] == kept["seconds"]
    assert "kept the first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["missing.wav"], 1, "no such file"),
        (["a.wav", "--format", "json,vtt"], 2, "several files or formats need --out"),
        (["a.wav", "--out", "talk.xyz"], 2, "no format has the suffix"),
        (["a/x.wav", "b/x.wav", "--out", "folder"], 2, "under one name"),
    ],
)
def test_bad_use_is_one_line(talk, tmp_path, monkeypatch, capsys, arguments, code, problem):
    monkeypatch.chdir(tmp_path)
    assert package.main(arguments) == code
    error = capsys.readouterr().err.strip()
    assert problem in error
    assert "\n" not in error


@pytest.mark.parametrize("arguments", [["--format", "xml"], ["--step", "0"], ["--step", "nan"]])
def test_wrong_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        package.main(["a.wav", *arguments])
    assert ended.value.code == 2


def test_unreadable_file_does_not_stop_the_others(talk, tmp_path, capsys):
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    files = [str(tmp_path / "broken.wav"), str(talk)]
    assert package.main([*files, "--out", str(tmp_path / "all")]) == 1
    assert (tmp_path / "all" / "talk.json").exists()


def test_missing_detector_is_one_line(talk, monkeypatch, capsys):
    def missing():
        raise MissingExtraError("the timeline needs silero-vad: pip install silero-vad")

    monkeypatch.setattr("ser_gpu.timeline.stream.SpeechProbability", missing)
    assert package.main([str(talk)]) == 2
    assert capsys.readouterr().err.strip() == "error: the timeline needs silero-vad: pip install silero-vad"


def test_pipe_gives_the_same_segments(talk, small_model):
    with talk.open("rb") as file:
        from_stream = small_model.timeline(file)
    assert from_stream.stretches == small_model.timeline(talk).stretches
    samples, rate = soundfile.read(talk, dtype="float32")
    assert small_model.timeline((rate, np.asarray(samples))).stretches == from_stream.stretches


@pytest.fixture
def rttm(tmp_path):
    lines = (
        f"SPEAKER talk 1 {at} 3.0 <NA> <NA> {who} <NA> <NA>\n" for at, who in ((0, "alice"), (3, "bob"), (6, "alice"))
    )
    (tmp_path / "talk.rttm").write_text("".join(lines))
    return str(tmp_path / "talk.rttm")


@pytest.fixture
def alice(tmp_path, small_model):
    windows = 0.1 * torch.randn(20, 48_000, generator=torch.Generator().manual_seed(0)).numpy()
    of_windows(small_model, [windows]).save(tmp_path / "alice.voice")
    return str(tmp_path / "alice.voice")


def segments_of(path):
    return json.loads(path.read_text())["segments"]


def test_speakers_are_answered_apart(talk, rttm, tmp_path, capsys):
    assert package.main([str(talk), "--speakers", rttm]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in shown[-2:]] == ["alice", "bob"]
    assert package.main([str(talk), "--speakers", rttm, "--out", str(tmp_path / "a.json")]) == 0
    assert {each["speaker"] for each in segments_of(tmp_path / "a.json") if each["speech"]} == {"alice", "bob"}


def test_a_voice_is_of_all_or_of_one_speaker(talk, rttm, alice, tmp_path):
    nobody, one, both, of_all = (tmp_path / f"{name}.json" for name in ("nobody", "one", "both", "all"))
    assert package.main([str(talk), "--speakers", rttm, "--out", str(nobody)]) == 0
    assert package.main([str(talk), "--speakers", rttm, "--voice", f"alice={alice}", "--out", str(one)]) == 0
    voices = ["--voice", f"alice={alice}", "--voice", f"bob={alice}"]
    assert package.main([str(talk), "--speakers", rttm, *voices, "--out", str(both)]) == 0
    assert package.main([str(talk), "--speakers", rttm, "--voice", alice, "--out", str(of_all)]) == 0
    assert segments_of(both) == segments_of(of_all)

    def of(path, name):
        return [each["probabilities"] for each in segments_of(path) if each.get("speaker") == name]

    assert of(one, "bob") == of(nobody, "bob") != of(both, "bob")
    assert of(one, "alice") == of(both, "alice") != of(nobody, "alice")


def test_own_voice_is_enrolled_first(talk, small_model, tmp_path, capsys):
    assert package.main([str(talk), "--own-voice", "--out", str(tmp_path / "own.json")]) == 0
    assert "may not help" in capsys.readouterr().err
    own = small_model.timeline(talk, voice=own_voice(small_model, talk))
    assert segments_of(tmp_path / "own.json") == json.loads(command.formats.as_json(own))["segments"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["-", "--own-voice"], "--own-voice: standard input cannot be read twice"),
        (["talk.wav", "--voice", "bob=ALICE"], "and there is none"),
        (["talk.wav", "--speakers", "RTTM", "--voice", "carol=ALICE"], "--voice carol: RTTM has only alice, bob"),
        (["talk.wav", "--speakers", "RTTM", "--voice", "bob=ALICE", "--voice", "bob=ALICE"], "name each once"),
        (
            ["talk.wav", "--speakers", "RTTM", "--voice", "bob=ALICE", "--voice", "ALICE"],
            "name each once, as NAME=FILE",
        ),
        (["talk.wav", "--speakers", "talk.wav"], "is no text, so no RTTM"),
        (["talk.wav", "--voice", "missing.voice"], "missing.voice: no such voice"),
    ],
)
def test_bad_speakers_and_voices_are_one_line(talk, rttm, alice, tmp_path, monkeypatch, capsys, arguments, problem):
    monkeypatch.chdir(tmp_path)
    assert package.main([text.replace("ALICE", alice).replace("RTTM", rttm) for text in arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert problem.replace("RTTM", rttm) in error or problem in error
    assert "\n" not in error
