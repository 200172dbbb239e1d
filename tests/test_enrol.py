import json
import shutil

import pytest
import torch

from ser_gpu import checkpoint, corpora, enrol, evaluate, predict
from ser_gpu.checkpoint import Provenance
from ser_gpu.cli import options
from ser_gpu.config import AudioConfig, CnnConfig, ModelConfig, TtaConfig
from ser_gpu.corpora.splits import Protocol
from ser_gpu.evaluation import enrolment
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.voices.voice import Voice


def save(path, seed=0, protocol=None, manifest_hash=""):
    torch.manual_seed(seed)
    config = ModelConfig(
        audio=AudioConfig(clip_seconds=1.0), cnn=CnnConfig(width=4, depth=2, members=1), tta=TtaConfig(enabled=False)
    )
    protocol = protocol or {**Protocol().as_dict(), "corpus": "tess"}
    checkpoint.save(path, SpeechEmotionModel(config), Provenance(protocol, manifest_hash, seed=0))
    return str(path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save(tmp_path_factory.mktemp("weights") / "a.pth")


@pytest.fixture
def recordings(tiny_ravdess):
    return sorted((tiny_ravdess / "Actor_01").iterdir())[::4]


def run(weights, out, *arguments):
    return enrol.main(["--weights", weights, "--device", "cpu", "--out", str(out), *map(str, arguments)])


def one_line(printed):
    assert "Traceback" not in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    return line


def test_a_voice_is_written_and_predict_uses_it(weights, recordings, tmp_path, capsys):
    assert run(weights, tmp_path / "a.voice", *recordings) == 0
    said = capsys.readouterr().err
    assert "note: 8 clips with speech may not help; 16 varied ones and more do" in said
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
    assert run(weights, tmp_path / "a.voice", tiny_ravdess / "Actor_02", "--emotion", "neutral", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["recordings"], said["emotions"]) == (32, ["neutral"])


def test_emotions_come_from_a_list(weights, recordings, tmp_path, capsys):
    manifest = tmp_path / "list.csv"
    for path in recordings[:3]:
        shutil.copy(path, tmp_path)
    rows = zip((path.name for path in recordings[:3]), ("anger", "sad", "sad"), strict=True)
    manifest.write_text("file,emotion\n" + "".join(f"{name},{emotion}\n" for name, emotion in rows))
    assert run(weights, tmp_path / "a.voice", "--emotions", manifest) == 0
    assert Voice.load(tmp_path / "a.voice").emotions == ("angry", "sad")
    assert run(weights, tmp_path / "a.voice", tmp_path / recordings[0].name, "--emotions", manifest) == 0
    assert Voice.load(tmp_path / "a.voice").emotions == ("angry",)
    capsys.readouterr()
    assert run(weights, tmp_path / "b.voice", recordings[5], "--emotions", manifest) == 2
    assert "names no emotion for" in one_line(capsys.readouterr().err)


def test_wrong_use_is_one_line(weights, recordings, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        enrol.main(["--out", "a.voice"])
    assert stopped.value.code == 2
    capsys.readouterr()
    for arguments, said in (
        ((tmp_path / "a.pth", recordings[0]), "the name must end in .voice"),
        ((tmp_path / "a.voice", tmp_path / "nothing.wav"), "nothing.wav: no such file"),
        ((tmp_path / "a.voice", recordings[0], "--emotion", "sleepy"), "no such emotion: sleepy"),
    ):
        assert run(weights, *arguments) == 2
        assert said in one_line(capsys.readouterr().err)
    assert not (tmp_path / "a.voice").exists()


def test_predict_refuses_a_voice_of_another_model_or_another_file(weights, recordings, tmp_path, capsys):
    assert run(weights, tmp_path / "a.voice", *recordings) == 0
    other = save(tmp_path / "b.pth", seed=1)
    capsys.readouterr()
    for model, voice, said in (
        (other, tmp_path / "a.voice", "a.voice: the voice was enrolled with another model"),
        (weights, weights, "a.pth: not a voice file"),
        (weights, recordings[0], "not a voice file"),
    ):
        assert predict.main(["--weights", model, "--voice", str(voice), "--device", "cpu", str(recordings[0])]) == 2
        assert said in one_line(capsys.readouterr().err)


def test_evaluate_scores_other_clips_than_the_enrolled_ones(weights, tiny_ravdess, tmp_path, capsys):
    more = ["--enrol", "3", "--enrol-clips", *enrolment.KINDS, "--draws", "2", "--out", str(tmp_path), "--json"]
    speakers = ["--test-speakers", "1", "2"]
    assert evaluate.main([weights, "--data", str(tiny_ravdess), "--device", "cpu", *speakers, *more]) == 0
    result = json.loads(capsys.readouterr().out)
    rows = {(row["kind"], row["count"]): row for row in result["enrolment"]}
    assert rows["none", 0]["clips"] == 64
    assert rows["none", 0]["uar"]["mean"] == pytest.approx(result["uar"])
    assert (rows["all", 0]["clips"], rows["all", 0]["draws"]) == (64, 1)
    for kind in enrolment.KINDS[:3]:
        assert rows[kind, 3]["clips"] == 64 - 2 * 3
        assert (rows[kind, 3]["speakers"], rows[kind, 3]["draws"]) == (2, 2)
        assert rows[kind, 3]["uar"]["sd"] is not None


def test_the_scores_are_of_the_answers_that_predict_gives_with_the_voice(weights, tiny_ravdess):
    model, clips = checkpoint.load_model(weights, "cpu"), corpora.load(tiny_ravdess).clips[:40]
    bank = options.read_clips(clips, model.sample_rate, torch.device("cpu"))
    found = enrolment.answers(model, bank, clips, ["labelled"], [4], draws=1)
    entry = found["entries"][1]
    for speaker, rows in enrolment.speakers(clips).items():
        enrolled = enrolment.chosen(clips, rows, "labelled", 4, 0)
        recordings, emotions = [clips[row].path for row in enrolled], [clips[row].emotion for row in enrolled]
        voice = model.enrol(recordings, emotions)
        scored = [i for i, row in enumerate(entry["rows"].tolist()) if clips[row].speaker == speaker]
        for i in scored[:3]:
            answer = model.predict(clips[entry["rows"][i]].path, voice=voice)
            expected = torch.tensor([answer.probabilities[label] for label in model.labels])
            torch.testing.assert_close(entry["probabilities"][i], expected, atol=1e-4, rtol=0)  # int16 in the bank


def test_more_clips_than_anybody_has_are_refused(weights, tiny_ravdess, tmp_path, capsys):
    more = ["--enrol", "32", "--test-speakers", "1", "--out", str(tmp_path)]
    assert evaluate.main([weights, "--data", str(tiny_ravdess), "--device", "cpu", *more]) == 2
    assert "nobody has 32 clips to enrol and one more to score" in one_line(capsys.readouterr().err)


def test_a_voice_is_made_of_its_speakers_own_clips(tiny_ravdess):
    clips = corpora.load(tiny_ravdess).clips
    rows = [i for i, clip in enumerate(clips) if clip.speaker == "03"]
    for kind in enrolment.KINDS[:3]:
        drawn = enrolment.chosen(clips, rows, kind, 4, draw=0)
        assert len({*drawn}) == 4
        assert {*drawn} <= {*rows}
        assert drawn == enrolment.chosen(clips, list(reversed(rows)), kind, 4, draw=0)
    assert {clips[row].emotion for row in enrolment.chosen(clips, rows, "neutral", 4, 0)} == {"neutral"}
    labelled = enrolment.chosen(clips, rows, "labelled", 8, draw=1)
    assert len({clips[row].emotion for row in labelled}) == 8
    assert enrolment.chosen(clips, rows, "neutral", 5, 0) is None
    draws = {tuple(enrolment.chosen(clips, rows, "unlabelled", 4, draw)) for draw in range(5)}
    assert len(draws) > 1


def test_several_trainings_answer_as_one(tiny_ravdess):
    rows = torch.tensor([0, 2])
    contents = [
        {
            "labels": ["a", "b"],
            "clips": ["x", "y", "z"],
            "speakers": ["s", "s", "s"],
            "truth": [0, 0, 1],
            "without": torch.tensor([[share, 1 - share]] * 3),
            "entries": [
                {
                    "kind": "unlabelled",
                    "count": 1,
                    "draw": draw,
                    "rows": rows,
                    "probabilities": torch.tensor([[share, 1 - share], [1 - share, share]]),
                }
                for draw in range(2)
            ],
        }
        for share in (0.9, 0.4)
    ]
    (every,), (one,) = enrolment.table(contents), enrolment.table([enrolment.together(contents)])
    assert (every["clips"], one["clips"], every["draws"]) == (4, 2, 2)
    assert (every["uar"]["mean"], every["uar"]["sd"], one["uar"]["mean"]) == (0.5, 0.0, 1.0)
    assert one["without"]["uar"] == 0.5
