"""Scores with enrolled clips: of a checkpoint, of a cross-validation, and of trainings that answer together."""

import json
from dataclasses import replace

import pytest
import torch

from experiments import enrolment
from ser_gpu import checkpoint, corpora, evaluate
from ser_gpu.cli import options
from ser_gpu.corpora.splits import Protocol
from tests.experiments.conftest import saved


@pytest.fixture(scope="module")
def weights(tiny_ravdess, tmp_path_factory):
    """A model of another corpus."""
    others = [replace(clip, corpus="tess") for clip in corpora.load(tiny_ravdess).clips]
    return saved(tmp_path_factory.mktemp("weights") / "a.pth", Protocol(), others)


def run(trained, data, *more):
    return enrolment.main([str(trained), "--data", str(data), "--device", "cpu", *more])


def test_other_clips_are_scored_than_the_enrolled_ones(weights, tiny_ravdess, tmp_path, capsys):
    more = ["--counts", "3", "--draws", "2", "--out", str(tmp_path / "found.json"), "--json"]
    assert run(weights, tiny_ravdess, "--test-speakers", "1", "2", *more) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((tmp_path / "found.json").read_text())
    rows = {(row["kind"], row["count"]): row for row in result["enrolment"]}
    assert rows["none", 0]["clips"] == 64
    speakers = ["--test-speakers", "1", "2", "--out", str(tmp_path), "--json"]
    assert evaluate.main([weights, "--data", str(tiny_ravdess), "--device", "cpu", *speakers]) == 0
    assert rows["none", 0]["uar"]["mean"] == pytest.approx(json.loads(capsys.readouterr().out)["uar"])
    assert (rows["all", 0]["clips"], rows["all", 0]["draws"]) == (64, 1)
    for kind in enrolment.KINDS[:3]:
        assert rows[kind, 3]["clips"] == 64 - 2 * 3
        assert (rows[kind, 3]["speakers"], rows[kind, 3]["draws"]) == (2, 2)
        assert rows[kind, 3]["uar"]["sd"] is not None


def test_the_scores_are_of_the_answers_that_predict_gives_with_the_voice(weights, tiny_ravdess):
    model, clips = checkpoint.load_model(weights, "cpu"), corpora.load(tiny_ravdess).clips[:40]
    clips, bank = options.read_clips(clips, model.sample_rate, torch.device("cpu"))
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
    more = ["--counts", "32", "--kinds", "unlabelled", "--test-speakers", "1", "--out", str(tmp_path / "found.json")]
    assert run(weights, tiny_ravdess, *more) == 2
    assert "error: nobody has 32 clips to enrol and one more to score" in capsys.readouterr().err


@pytest.fixture
def folder(tiny_ravdess, tmp_path):
    """A cross-validation of one fold and two seeds."""
    clips, rows = corpora.load(tiny_ravdess).clips, []
    for seed in (0, 1):
        (tmp_path / f"fold0-seed{seed}").mkdir()
        saved(tmp_path / f"fold0-seed{seed}" / "last.pth", Protocol(), clips, seed)
        rows.append({"fold": 0, "seed": seed})
    (tmp_path / "table.json").write_text(json.dumps({"rows": rows, "summary": {"validation": {}, "test": {}}}))
    return tmp_path


def test_a_cross_validation_is_scored_in_its_table(folder, tiny_ravdess, capsys):
    more = ["--counts", "0", "1", "--kinds", "unlabelled", "--draws", "2"]
    assert run(folder, tiny_ravdess, *more) == 0
    found = json.loads((folder / "table.json").read_text())
    assert [*found["enrolment"]] == ["all answers", "seeds together"]
    (none, one), (of_both, _) = found["enrolment"].values()
    assert (none["kind"], none["count"], one["kind"], one["count"]) == ("none", 0, "unlabelled", 1)
    assert (
        none["clips"] == 2 * of_both["clips"] == 2 * len(Protocol().split(corpora.load(tiny_ravdess).clips).ids("test"))
    )
    assert one["clips"] < none["clips"]
    assert "Enrolment, all answers" in capsys.readouterr().out

    stored = [folder / f"fold0-seed{seed}" / enrolment.FILE for seed in (0, 1)]
    before = [path.stat().st_mtime_ns for path in stored]
    assert run(folder, tiny_ravdess, *more) == 0
    assert [path.stat().st_mtime_ns for path in stored] == before, "the answers are computed once"
    assert json.loads((folder / "table.json").read_text()) == found
    saved(folder / "fold0-seed1" / "last.pth", Protocol(), corpora.load(tiny_ravdess).clips, seed=7)
    assert run(folder, tiny_ravdess, *more) == 0
    assert [path.stat().st_mtime_ns == time for path, time in zip(stored, before, strict=True)] == [True, False]


def test_what_is_no_cross_validation_is_one_line(folder, tiny_ravdess, capsys):
    (folder / "none.json").write_text('{"rows": [], "summary": {}}')
    for more, said in (
        (["--fold", "1"], "--allow-trained are for a single checkpoint"),
        (["--out", str(folder / "nowhere.json")], "nowhere.json: no table of a cross-validation"),
        (["--out", str(folder / "none.json")], "held nothing out"),
    ):
        assert run(folder, tiny_ravdess, *more) == 2
        assert said in capsys.readouterr().err


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
