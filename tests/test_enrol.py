import json
import shutil

import pytest

from ser_gpu import checkpoint, enrol, predict
from ser_gpu.voices.voice import Voice
from tests.conftest import error_line


@pytest.fixture
def recordings(tiny_ravdess):
    return sorted((tiny_ravdess / "Actor_01").iterdir())[::4]


def run(weights, out, *arguments):
    return enrol.main(["--weights", weights, "--device", "cpu", "--out", str(out), *map(str, arguments)])


def test_a_voice_is_written_and_predict_uses_it(weights, recordings, tmp_path, capsys):
    assert run(weights, tmp_path / "a.voice", *recordings) == 0
    said = capsys.readouterr().err
    assert "note: 8 clips with speech may not help; 16 or more varied ones help on average" in said
    assert "a.voice (8 recordings, " in said
    more = ["--weights", weights, "--device", "cpu", "--json", str(recordings[0])]
    assert predict.main(more) == 0
    assert predict.main([*more, "--voice", str(tmp_path / "a.voice")]) == 0
    without, with_voice = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert without["probabilities"] != with_voice["probabilities"]
    voice = Voice.load(tmp_path / "a.voice")
    answer = checkpoint.load_model(weights, "cpu").predict(recordings[0], voice=voice)
    assert with_voice["confidence"] == answer.confidence


def test_a_folder_is_enrolled_and_said_as_json(weights, tiny_ravdess, tmp_path, capsys):
    folder = shutil.copytree(tiny_ravdess / "Actor_02", tmp_path / "folder")
    shutil.copytree(tiny_ravdess / "Actor_01", folder / "__MACOSX")
    (tmp_path / "list").write_text("folder\n")
    for named in ([folder], ["--list", tmp_path / "list"]):
        assert run(weights, tmp_path / "a.voice", *named, "--emotion", "neutral", "--json") == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["recordings"], said["emotions"]) == (32, ["neutral"])


def test_emotions_come_from_a_list(weights, recordings, tmp_path, capsys):
    manifest = tmp_path / "list.csv"
    for path in recordings[:3]:
        shutil.copy(path, tmp_path)
    rows = zip((path.name for path in recordings[:3]), ("anger", "sad", "sad"), strict=True)
    manifest.write_text("file,emotion\n" + "".join(f"{name},{emotion}\n" for name, emotion in rows))
    with manifest.open("a") as file:
        file.write("absent.wav,NaN\n")
    assert run(weights, tmp_path / "a.voice", "--emotions", manifest) == 0
    assert "left out: 1 without an emotion" in capsys.readouterr().err.splitlines()
    assert Voice.load(tmp_path / "a.voice").emotions == ("angry", "sad")


def test_emotions_come_from_folders(weights, recordings, tmp_path, capsys):
    for number, (emotion, path) in enumerate(zip(("anger", "sad", "sad"), recordings[:3], strict=True)):
        (tmp_path / "clips" / emotion).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "clips" / emotion / f"{number}.wav")
    assert run(weights, tmp_path / "a.voice", "--emotions", tmp_path / "clips") == 0
    assert "a folder per emotion" in capsys.readouterr().err
    voice = Voice.load(tmp_path / "a.voice")
    assert (voice.recordings, voice.emotions) == (3, ("angry", "sad"))


def test_several_speakers_are_not_one_voice(weights, tiny_ravdess, tmp_path, capsys):
    assert run(weights, tmp_path / "a.voice", "--emotions", tiny_ravdess) == 2
    assert "speakers, and a voice is that of one" in error_line(capsys.readouterr().err)


def test_a_part_of_a_file_is_not_enrolled(weights, recordings, tmp_path, capsys):
    (tmp_path / "list.csv").write_text(f"file,emotion,start,end\n{recordings[0]},sad,0,1\n{recordings[0]},happy,1,2\n")
    assert run(weights, tmp_path / "a.voice", "--emotions", tmp_path / "list.csv") == 2
    assert "is a part of its file" in error_line(capsys.readouterr().err)


def test_wrong_use_is_one_line(weights, recordings, tmp_path, capsys):
    for files in ([], ["a.wav", "--emotions", "list.csv"]):
        with pytest.raises(SystemExit, match="2"):
            enrol.main(["--out", "a.voice", *files])
    capsys.readouterr()
    for arguments, said in (
        ((tmp_path / "a.pth", recordings[0]), "the name must end in .voice"),
        ((f"{tmp_path}/b.voice/", recordings[0]), "the name must end in .voice"),
        ((tmp_path / "a.voice", tmp_path / "nothing.wav"), "nothing.wav: no such file"),
        ((tmp_path / "a.voice", "nothing.wav", "--emotion", "sleepy"), "no such emotion: sleepy"),
    ):
        assert run(weights, *arguments) == 2
        assert said in error_line(capsys.readouterr().err)
    assert not (tmp_path / "a.voice").exists()
