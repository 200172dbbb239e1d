import json
import os
import re
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile

from ser_gpu.timeline import command
from ser_gpu.timeline.command import main
from ser_gpu.voices.enrol import own_voice
from tests.conftest import started
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
    shown, error = capsys.readouterr()
    shown = shown.splitlines()
    assert len(shown) == 4
    assert shown[:2] == shown[2:]
    assert "00:09" in shown[0]
    assert re.search(r" #+ +[a-z]+ \d+ %(, [a-z]+ \d+ %)* of the time with speech$", shown[1])
    assert error == "", "no progress but on a terminal"


def test_a_line_is_standard_output(talk, capsys):
    assert main(["talk.wav", "--format", "csv", "--out", "-"]) == 0
    assert capsys.readouterr().out.startswith("start,end,")
    assert sorted(path.name for path in talk.parent.iterdir()) == ["talk.rttm", "talk.wav"]


@pytest.fixture
def other(talk):
    soundfile.write("other.wav", speech_like(2.0, 1), RATE)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("talk.wav other.wav --format vtt --out new", "new/other.vtt new/talk.vtt"),
        ("talk.wav --out new/ --plot new.SVG", "new.SVG new/talk.json"),
        ("talk.wav --format srt --out there", "there/talk.srt"),
        ("talk.wav --format srt,vtt --out talk.1", "talk.1.srt talk.1.vtt"),
        ("talk.wav --format srt,vtt --out x.y/talk.VTT", "x.y/talk.srt x.y/talk.vtt"),
        ("talk.wav --format textgrid --out 1.5", "1.5"),
        ("talk.wav other.wav --plot new", "new/other.png new/talk.png"),
        ("talk.wav --plot there --out there", "there/talk.json there/talk.png"),
        (". --out there", "there/other.json there/talk.json"),
        ("--list both.txt --format csv --out there", "there/other.csv there/talk.csv"),
    ],
)
def test_outputs_have_the_names_that_they_were_given(talk, other, capsys, arguments, expected):
    (talk.parent / "there").mkdir()
    (talk.parent / "both.txt").write_text("talk.wav\nother.wav\n")
    before = set(talk.parent.rglob("*"))
    assert main(arguments.split()) == 0
    written = {path for path in set(talk.parent.rglob("*")) - before if path.is_file()}
    assert sorted(str(path.relative_to(talk.parent)) for path in written) == sorted(expected.split())
    said = capsys.readouterr().err.strip().removeprefix("written: ").split(", ")
    assert sorted(map(os.path.normpath, said)) == sorted(expected.split())


def test_done_recordings_are_skipped(talk, other, capsys):
    command_line = ["talk.wav", "other.wav", "--out", "all", "--skip-done"]
    for done in (0, 2):
        assert main(command_line) == 0
        assert f"note: {done} of 2 recordings are skipped: their outputs are newer" in capsys.readouterr().err
    before = (talk.parent / "all" / "talk.json").stat().st_mtime_ns
    os.utime("other.wav", ns=(2 * before, 2 * before))
    assert main(command_line) == 0
    assert "1 of 2" in capsys.readouterr().err
    assert (talk.parent / "all" / "talk.json").stat().st_mtime_ns == before


def test_an_interrupted_recording_is_not_done(talk, monkeypatch):
    monkeypatch.setattr(command.Progress, "update", Mock(side_effect=KeyboardInterrupt))
    assert main(["talk.wav", "--out", "talk.json", "--skip-done"]) == 130
    assert not talk.with_suffix(".json").exists()


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
        (["a.wav", "--out", "talk.xyz"], 2, "--out talk.xyz: no format has the suffix"),
        (["a/x.wav", "b/x.wav", "--out", "folder"], 2, "--out folder/x.json: would be written over by --out"),
        (["a/x.wav", "b/x.mp3", "--plot", "folder"], 2, "--plot folder/x.png: would be written over by --plot"),
        (["talk.wav", "--plot", "x.docx"], 2, "--plot x.docx: a picture ends in one of"),
        (["talk.wav", "--out", "talk.rttm/x.json"], 2, "--out talk.rttm/x.json: cannot be written: not a directory"),
        (["talk.wav", "--out", "x.png", "--format", "json", "--plot", "x.png"], 2, "would be written over by --out"),
        (["talk.wav", "--skip-done"], 2, "--skip-done needs --out or --plot"),
        (["talk.wav", "a.wav", "--segments", "talk.srt"], 2, "--segments talk.srt: is of one recording"),
        (["-", "--own-voice"], 2, "--own-voice: standard input cannot be read twice"),
        (["talk.wav", "--voice", "bob=alice.voice"], 2, "--voice bob: nobody says who speaks"),
        ([*WHO, "--voice", "carol=alice.voice"], 2, "--voice carol: there are alice, bob"),
        ([*WHO, "--voice", "bob=alice.voice", "--voice", "bob=alice.voice"], 2, "name each once"),
        ([*WHO, "--voice", "bob=alice.voice", "--voice", "alice.voice"], 2, "name each once, as NAME=FILE"),
        (["talk.wav", "--speakers", "talk.wav"], 2, "is no text"),
        (["talk.wav", "--voice", "missing.voice"], 2, "missing.voice: no such voice"),
    ],
)
def test_bad_use_is_one_line(talk, alice, capsys, arguments, code, problem):
    (talk.parent / "talk.srt").write_text(SRT)
    assert main(arguments) == code
    error = capsys.readouterr().err.strip()
    assert problem in error
    assert "\n" not in error


@pytest.mark.parametrize("name", ["talk.wav", "link.wav", "talk.rttm", "alice.voice", "talk.srt", "model.onnx"])
@pytest.mark.parametrize("option", ["--out", "--plot"])
def test_what_is_read_is_not_written_over(talk, alice, capsys, name, option):
    (talk.parent / "link.wav").symlink_to(talk)
    (talk.parent / "talk.srt").write_text(SRT)
    (talk.parent / "model.onnx").write_bytes(b"weights")
    (talk.parent / "same.png").symlink_to(name)
    before = (talk.parent / name).read_bytes()
    read = ["--speakers", "talk.rttm", "--segments", "talk.srt", "--voice", "alice.voice", "--weights", "model.onnx"]
    assert main(["talk.wav", *read, "--format", "json", option, "same.png"]) == 2
    assert f"error: {option} same.png: is read by this command" in capsys.readouterr().err
    assert (talk.parent / name).read_bytes() == before


def test_unreadable_file_does_not_stop_the_others(talk):
    (talk.parent / "broken.wav").write_bytes(b"RIFF")
    assert main(["broken.wav", "talk.wav", "--out", "all"]) == 1
    assert (talk.parent / "all" / "talk.json").exists()


def test_pipe_gives_the_same_segments(talk, small_model):
    with talk.open("rb") as file:
        from_stream = small_model.timeline(file)
    assert from_stream.stretches == small_model.timeline(talk).stretches
    samples, rate = soundfile.read(talk, dtype="float32")
    assert small_model.timeline((rate, np.asarray(samples))).stretches == from_stream.stretches


def test_standard_input_is_read_once(talk):
    with talk.open("rb") as file, started("-m", "ser_gpu.timeline", "-", "--format", "json", stdin=file) as process:
        out, error = process.communicate()
    assert error == ""
    assert json.loads(out)["segments"][-1]["end"] == 9.0


def test_speakers_are_answered_apart(segments, capsys):
    assert main(WHO) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in shown[-2:]] == ["alice", "bob"]
    assert {each["speaker"] for each in segments(*WHO[1:]) if each["speech"]} == {"alice", "bob"}


@pytest.mark.parametrize(
    ("turns", "notes"),
    [
        ("0 3 alice, 1 1 bob", ["bob is left out: speaks only while somebody who began earlier does"]),
        ("0 9 alice, 9 1 bob", ["bob is left out: no turn of theirs begins before the end"]),
        ("0 2500 alice, 2600 2500 bob", ["talk.rttm: ends at 1:25:00, talk.wav at 00:09", "bob is left out: no turn"]),
        ("600 2 alice", ["talk.rttm: ends at 10:02", "alice is left out: no turn"]),
        ("0 9 alice, 9 0 alice", []),
        ("0 9 alice, 2 0 bob", ["bob is left out: their turns have no length"]),
        ("0 4 alice, 4 0.1 bob, 4.1 4 alice", ["bob is left out: their turns have no speech, or less than"]),
    ],
)
def test_who_is_left_out_is_said(talk, capsys, turns, notes):
    lines = (f"SPEAKER talk 1 {at} {seconds} <NA> <NA> {who}" for at, seconds, who in map(str.split, turns.split(",")))
    (talk.parent / "talk.rttm").write_text("\n".join(lines))
    assert main(WHO) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(notes)
    assert all(note in line for note, line in zip(notes, said, strict=True))


def test_the_turns_of_another_name_are_taken_with_a_note(talk, capsys):
    (talk.parent / "talk.rttm").write_text("SPEAKER tuesday 1 0 9 <NA> <NA> alice <NA> <NA>\n")
    assert main(WHO) == 0
    assert capsys.readouterr().err == "note: talk.rttm: is of tuesday, and is taken for talk\n"


def test_each_recording_has_its_own_turns(talk, other):
    with (talk.parent / "talk.rttm").open("a") as file:
        file.write("SPEAKER other.wav 1 0 3 <NA> <NA> carol <NA>\n")
    assert main(["talk.wav", "other.wav", "--speakers", "talk.rttm", "--out", "all"]) == 0
    for name, who in (("talk", {"alice", "bob"}), ("other", {"carol"})):
        segments = json.loads((talk.parent / "all" / f"{name}.json").read_text())["segments"]
        assert {each["speaker"] for each in segments if each["speech"]} == who


SRT = """1
00:00:00,500 --> 00:00:01,750
<v Bob>Hello, "you" &amp; me

2
00:00:01,000 --> 00:00:08,000
<i>two
lines</i>

3
00:10:00,000 --> 00:10:01,000
late
"""


def test_the_segments_of_a_transcript_are_answered(segments, talk, small_model, capsys):
    (talk.parent / "talk.srt").write_text(SRT)
    found = segments("--segments", "talk.srt")
    said = capsys.readouterr().err
    assert "note: talk.srt: 1 of 3 segments without an emotion" in said
    assert "note: talk.srt: ends at 10:01, talk.wav at 00:09: is it of another recording, or in milliseconds?" in said
    assert [(each["start"], each["end"], each.get("text"), each.get("speaker")) for each in found] == [
        (0.0, 0.5, None, None),
        (0.5, 1.75, 'Hello, "you" & me', "Bob"),
        (1.0, 8.0, "two lines", None),
        (8.0, 9.0, None, None),
    ]
    sound, _ = soundfile.read(talk, dtype="float32")
    for each in found[1:3]:
        alone = small_model.predict(sound[round(each["start"] * RATE) : round(each["end"] * RATE)])
        assert each["probabilities"] == pytest.approx(alone.probabilities, abs=1e-5), "float32 in other batches"
    named = segments("--segments", "talk.srt", "--speakers", "talk.rttm")
    assert [each.get("speaker") for each in named] == [None, "Bob", "alice", None]


def test_each_channel_is_answered_apart(talk, small_model, capsys):
    sound, _ = soundfile.read(talk)
    soundfile.write("call.wav", np.stack([sound, speech_like(9.0, 7)], axis=1), RATE)
    soundfile.write("right.wav", speech_like(9.0, 7), RATE)
    arguments = ["--channels", "apart", "--out", "all", "--plot", "all"]
    assert main(["call.wav", *arguments, "--skip-done"]) == 0
    written = sorted((talk.parent / "all").iterdir())
    assert [path.name for path in written[::2]] == ["call channel 1.json", "call channel 2.json"]
    for path, alone in zip(written[::2], (talk, "right.wav"), strict=True):
        found, expected = json.loads(path.read_text()), small_model.timeline(alone).segments
        assert found["file"] == path.stem.replace("call", "call.wav")
        assert found["segments"] == [each.as_dict() for each in expected]
    assert main(["call.wav", *arguments, "--skip-done"]) == 0
    assert "2 of 2" in capsys.readouterr().err
    assert main(["call.wav", "--channels", "apart"]) == 0
    assert "\ncall.wav channel 2: 00:09, " in capsys.readouterr().out


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


def test_own_voice_of_a_file_that_takes_none_is_one_line(talk, small_model, monkeypatch, capsys):
    monkeypatch.setattr(type(small_model), "network_hash", None)
    assert main(["talk.wav", "--own-voice"]) == 2
    assert "error: --own-voice: this .onnx file cannot enrol" in capsys.readouterr().err


def test_own_voice_is_enrolled_first(talk, segments, small_model, capsys):
    found = segments("--own-voice")
    assert "may not help" in capsys.readouterr().err
    own = small_model.timeline(talk, voice=own_voice(small_model, talk))
    assert found == json.loads(command.formats.as_json(own))["segments"]
