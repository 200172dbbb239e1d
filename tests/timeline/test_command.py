import json

import numpy as np
import pytest
import soundfile

from ser_gpu.errors import MissingExtraError
from ser_gpu.timeline import command
from ser_gpu.timeline.command import main
from ser_gpu.voices.enrol import own_voice
from tests.timeline.conftest import RATE, speech_like


@pytest.fixture
def talk(tmp_path, of_commands, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("talk.wav", speech_like(9.0), RATE)
    turns = ((0, "alice"), (3, "bob"), (6, "alice"))
    lines = (f"SPEAKER talk 1 {at} 3.0 <NA> <NA> {who} <NA> <NA>\n" for at, who in turns)
    (tmp_path / "talk.rttm").write_text("".join(lines))
    return tmp_path / "talk.wav"


@pytest.fixture
def segments(talk):
    """What the command writes for these arguments."""

    def segments(*arguments):
        assert main(["talk.wav", *arguments, "--out", "written.json"]) == 0
        return json.loads((talk.parent / "written.json").read_text())["segments"]

    return segments


def test_one_command_writes_every_format_and_the_picture(talk):
    names = "json,jsonl,csv,rttm,vtt,srt,textgrid,audacity"
    assert main(["talk.wav", "--format", names, "--out", "out/talk", "--plot", "talk.png"]) == 0
    written = sorted(path.name for path in (talk.parent / "out").iterdir())
    assert written == sorted(f"talk{s}" for s in command.formats.SUFFIXES.values())
    assert json.loads((talk.parent / "out" / "talk.json").read_text())["segments"][-1]["end"] == 9.0
    assert talk.with_suffix(".png").stat().st_size > 1_000


def test_json_lines_come_as_it_goes(talk, capsys):
    assert main(["talk.wav", "--format", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["start"] == 0.0
    assert lines[-1]["end"] == 9.0


def test_terminal_shows_a_bar_a_minute(talk, capsys):
    assert main(["talk.wav", "talk.wav"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 4
    assert shown[:2] == shown[2:]
    assert "0:09" in shown[0]
    assert "#" in shown[1]


def test_several_files_go_into_a_folder(talk):
    soundfile.write("other.wav", speech_like(2.0, 1), RATE)
    assert main(["talk.wav", "other.wav", "--format", "vtt", "--out", "all"]) == 0
    assert sorted(path.name for path in (talk.parent / "all").iterdir()) == ["other.vtt", "talk.vtt"]


def test_interruption_keeps_what_was_done(talk, monkeypatch, capsys):
    def update(self, task, completed, **fields):
        if completed > 12:
            raise KeyboardInterrupt

    soundfile.write(talk, speech_like(20.0), RATE)
    monkeypatch.setattr(command.Progress, "update", update)
    assert main(["talk.wav", "--out", "talk.json"]) == 130
    kept = json.loads(talk.with_suffix(".json").read_text())
    assert 0 < kept["seconds"] < 20
    assert kept["segments"][-1]["end"] == kept["seconds"]
    assert "kept the first" in capsys.readouterr().err


WHO = ["talk.wav", "--speakers", "talk.rttm"]


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["missing.wav"], 1, "no such file"),
        (["a.wav", "--format", "json,vtt"], 2, "several files or formats need --out"),
        (["a.wav", "--out", "talk.xyz"], 2, "no format has the suffix"),
        (["a/x.wav", "b/x.wav", "--out", "folder"], 2, "under one name"),
        (["-", "--own-voice"], 2, "--own-voice: standard input cannot be read twice"),
        (["talk.wav", "--voice", "bob=alice.voice"], 2, "--voice bob: there is no --speakers"),
        ([*WHO, "--voice", "carol=alice.voice"], 2, "--voice carol: talk.rttm has only alice, bob"),
        ([*WHO, "--voice", "bob=alice.voice", "--voice", "bob=alice.voice"], 2, "name each once"),
        ([*WHO, "--voice", "bob=alice.voice", "--voice", "alice.voice"], 2, "name each once, as NAME=FILE"),
        (["talk.wav", "--speakers", "talk.wav"], 2, "is no text, so no RTTM"),
        (["talk.wav", "--voice", "missing.voice"], 2, "missing.voice: no such voice"),
    ],
)
def test_bad_use_is_one_line(talk, alice, capsys, arguments, code, problem):
    assert main(arguments) == code
    error = capsys.readouterr().err.strip()
    assert problem in error
    assert "\n" not in error


@pytest.mark.parametrize("arguments", [["--format", "xml"]])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(SystemExit) as ended:
        main(["a.wav", *arguments])
    assert ended.value.code == 2


def test_unreadable_file_does_not_stop_the_others(talk):
    (talk.parent / "broken.wav").write_bytes(b"RIFF")
    assert main(["broken.wav", "talk.wav", "--out", "all"]) == 1
    assert (talk.parent / "all" / "talk.json").exists()


def test_missing_detector_is_one_line(talk, monkeypatch, capsys):
    def missing(*_):
        raise MissingExtraError("the timeline needs silero-vad: pip install silero-vad")

    monkeypatch.setattr("ser_gpu.model.SpeechEmotionModel.hear", missing)
    assert main(["talk.wav"]) == 2
    assert capsys.readouterr().err.strip() == "error: the timeline needs silero-vad: pip install silero-vad"


def test_pipe_gives_the_same_segments(talk, small_model):
    with talk.open("rb") as file:
        from_stream = small_model.timeline(file)
    assert from_stream.stretches == small_model.timeline(talk).stretches
    samples, rate = soundfile.read(talk, dtype="float32")
    assert small_model.timeline((rate, np.asarray(samples))).stretches == from_stream.stretches


def test_speakers_are_answered_apart(segments, capsys):
    assert main(WHO) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in shown[-2:]] == ["alice", "bob"]
    assert {each["speaker"] for each in segments(*WHO[1:]) if each["speech"]} == {"alice", "bob"}


def test_a_voice_is_of_all_or_of_one_speaker(segments, alice):
    nobody, one, both, of_all = (
        segments(*WHO[1:], *voices)
        for voices in (
            [],
            ["--voice", f"alice={alice}"],
            ["--voice", f"alice={alice}", "--voice", f"bob={alice}"],
            ["--voice", alice],
        )
    )
    assert both == of_all

    def of(found, name):
        return [each["probabilities"] for each in found if each.get("speaker") == name]

    assert of(one, "bob") == of(nobody, "bob") != of(both, "bob")
    assert of(one, "alice") == of(both, "alice") != of(nobody, "alice")


def test_own_voice_is_enrolled_first(talk, segments, small_model, capsys):
    found = segments("--own-voice")
    assert "may not help" in capsys.readouterr().err
    own = small_model.timeline(talk, voice=own_voice(small_model, talk))
    assert found == json.loads(command.formats.as_json(own))["segments"]
