"""The studies of enrolment and of other corpora on synthetic data, and the tables and the figure made of them."""

import argparse
import gzip
import hashlib
import json

import numpy as np
import pytest
import torch

from experiments import (
    cross_corpus,
    enrolment_curve,
    enrolment_harm,
    enrolment_tables,
    enrolment_together,
    head_prior,
    ship,
    shrinkage,
    study,
    tta_copies,
)
from experiments import enrolment as enrolment_scores
from ser_gpu import checkpoint, corpora
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.corpora.splits import Protocol
from ser_gpu.errors import InputError
from ser_gpu.voices import plan
from tests.experiments.conftest import saved


def test_wrong_clips_are_enrolled(tiny_ravdess, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(enrolment_harm, "COUNT", 3)
    monkeypatch.setattr(enrolment_harm, "OF_ONE_EMOTION", 3)
    path = saved(tmp_path / "a.pth", Protocol("test-speakers", 0, ("1", "2", "3")), corpora.load(tiny_ravdess).clips)
    more = ["--data", str(tiny_ravdess), "--device", "cpu", "--draws", "2", "--out", str(tmp_path / "harm")]
    assert enrolment_harm.main([path, *more]) == 0
    assert "clips, all angry" in capsys.readouterr().out
    study = json.loads((tmp_path / "harm.json").read_text())
    assert len(study["rows"]) == len(enrolment_harm.CASES)
    rows = {row["name"]: row for row in study["rows"]}
    angry, said = (next(row for name, row in rows.items() if name.endswith(end)) for end in ("all angry", "is said"))
    assert 0.0 <= angry["recall"]["with"] <= 1.0
    assert said["recall"] is not None
    varied, noisy = rows["8 varied clips"], rows["8 varied clips in white noise at 10 dB"]
    assert varied["recall"] is None
    assert noisy["without"] == varied["without"], "the same clips are scored"


def test_the_weight_of_the_population_is_varied_and_left_as_it_was(tiny_ravdess, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shrinkage, "POPULATIONS", (0.0, 1e9))
    monkeypatch.setattr(shrinkage, "COUNTS", (2, 4))
    before = plan.POPULATION_WINDOWS
    path = saved(tmp_path / "a.pth", Protocol("speakers"), corpora.load(tiny_ravdess).clips)
    more = ["--data", str(tiny_ravdess), "--device", "cpu", "--draws", "1", "--out", str(tmp_path / "found")]
    assert shrinkage.main([path, *more]) == 0
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    loss = {(row["population_windows"], row["clips"]): row["log_loss"] for row in rows}
    assert len(loss) == 4
    assert loss[0.0, 2] != loss[1e9, 2]
    assert before == plan.POPULATION_WINDOWS
    path = saved(tmp_path / "b.pth", Protocol("all"), corpora.load(tiny_ravdess).clips)
    assert shrinkage.main([path, *more]) == 2
    assert "its protocol has no validation clips" in capsys.readouterr().err


def test_the_prior_of_a_head_is_varied_and_left_as_it_was(tiny_ravdess, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(head_prior, "PRIORS", (None, 1.0))
    monkeypatch.setattr(head_prior, "COUNTS", (4, 8))
    before = plan.HEAD_PRIOR
    path = saved(tmp_path / "a.pth", Protocol("speakers"), corpora.load(tiny_ravdess).clips)
    more = ["--data", str(tiny_ravdess), "--device", "cpu", "--draws", "1", "--out", str(tmp_path / "found")]
    assert head_prior.main([path, *more]) == 0
    assert "last layer not adapted" in capsys.readouterr().out
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    loss = {(row["prior"], row["clips"]): row["log_loss"] for row in rows}
    assert len(loss) == 4
    assert loss[None, 8] != loss[1.0, 8]
    assert before == plan.HEAD_PRIOR


def test_recipes_answer_together(tiny_ravdess, tmp_path, capsys):
    clips = corpora.load(tiny_ravdess).clips
    some = [clip for clip in clips if clip.speaker in ("01", "02")]
    for seed, recipe in enumerate(("first", "second")):
        model = checkpoint.load_model(saved(tmp_path / "a.pth", Protocol(), clips, seed), "cpu")
        answers = enrolment_scores.answers(model, ClipBank.read([clip.path for clip in some], 16_000), some, ["all"])
        (tmp_path / recipe / "fold0-seed0").mkdir(parents=True)
        checkpoint.write(tmp_path / recipe / "fold0-seed0" / "enrolment.pth", {"asked": {}, "answers": answers})
    folders = [str(tmp_path / recipe) for recipe in ("first", "second")]
    more = ["--data", str(tiny_ravdess), "--out", str(tmp_path / "found")]
    assert enrolment_together.main([*folders, *more]) == 0
    assert "men less" in capsys.readouterr().out
    alone, _, both = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert (alone["recipes"], both["recipes"]) == (["first"], ["first", "second"])
    assert (alone["trainings_of_a_fold"], both["trainings_of_a_fold"]) == (1, 2)
    assert both["enrolment"][0]["clips"] == len(some)
    assert all(-1.0 <= row["men_less_women"] <= 1.0 for row in both["enrolment"])
    assert enrolment_together.main([str(tmp_path), *more]) == 2
    assert "holds no training that experiments.enrolment scored" in capsys.readouterr().err


def test_copies_are_compared(tiny_ravdess, tmp_path, capsys, monkeypatch):
    path = saved(tmp_path / "a.pth", Protocol("speakers"), corpora.load(tiny_ravdess).clips)
    more = ["--data", str(tiny_ravdess), "--device", "cpu", "--draws", "1", "--count", "3"]
    assert tta_copies.main([path, *more, "--out", str(tmp_path / "found")]) == 0
    assert "three pitches" in capsys.readouterr().out
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [row["copies"] for row in rows] == [*tta_copies.COPIES]
    assert len({row["without"]["log_loss"] for row in rows}) == 3


@pytest.fixture
def two_corpora(tiny_ravdess, tmp_path):
    """Two lists, of a speaker each; three clips of an emotion."""
    for name, speaker in (("one", "01"), ("two", "02")):
        rows = [
            f"{path},{emotion},{name}\n"
            for emotion, code in (("happy", "03"), ("sad", "04"))
            for path in sorted(tiny_ravdess.rglob(f"03-01-{code}-*-{speaker}.wav"))[:3]
        ]
        (tmp_path / f"{name}.csv").write_text("file,emotion,speaker\n" + "".join(rows))
    return [f"{name}={tmp_path / name}.csv" for name in ("one", "two")]


def test_a_corpus_that_was_held_out_is_scored(two_corpora, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cross_corpus, "COUNTS", (2, 8))
    found = corpora.load_many(dict(text.split("=") for text in two_corpora))
    path = saved(tmp_path / "a.pth", Protocol("test-corpora", test_corpora=("two",)), found.clips)
    more = ["--corpora", *two_corpora, "--device", "cpu", "--draws", "1", "--out", str(tmp_path / "cross")]
    assert cross_corpus.main([path, *more]) == 0
    (row,) = json.loads((tmp_path / "cross.json").read_text())["rows"]
    assert (row["tested_on"], row["trained_on"], row["emotions"]) == ("two", "one", 2)
    found = [(each["kind"], each["count"], each["clips"]) for each in row["enrolled"]]
    assert found == [("unlabelled", 2, 4), ("labelled", 2, 4)], "of six clips; eight are too many"
    low, high = row["interval95"]
    assert 0.0 <= low <= row["uar"] <= high <= 1.0
    assert row["calibrated"]["temperature"] == 1.0, "no other corpus was held out"
    assert row["calibrated"]["uar"] == pytest.approx(row["uar"])
    monkeypatch.setattr(cross_corpus, "answers", None)  # they are kept
    assert cross_corpus.main([path, *more]) == 0
    assert json.loads((tmp_path / "cross.json").read_text())["rows"] == [row]
    assert cross_corpus.main([path, "--device", "cpu"]) == 2
    assert "--corpora names the corpora" in capsys.readouterr().err


def test_other_corpora_test_a_model_that_learnt_from_all_clips(two_corpora, tmp_path):
    found = corpora.load_many(dict(text.split("=") for text in two_corpora)).clips
    one = saved(tmp_path / "one.pth", Protocol("all"), [clip for clip in found if clip.corpus == "one"])
    both = saved(tmp_path / "both.pth", Protocol("all"), found)
    options = argparse.Namespace(data=None, corpus=None, corpora=two_corpora)
    assert {clip.corpus for clip in study.load(one, options, torch.device("cpu"))[2]} == {"two"}
    with pytest.raises(InputError, match="names no other"):
        study.load(both, options, torch.device("cpu"))


def test_corpora_that_several_trainings_held_out_are_calibrated_together(two_corpora, tmp_path):
    found = corpora.load_many(dict(text.split("=") for text in two_corpora))
    protocols = {name: Protocol("test-corpora", test_corpora=(name,)) for name in ("one", "two")}
    paths = [saved(tmp_path / f"{name}.pth", protocol, found.clips) for name, protocol in protocols.items()]
    more = ["--corpora", *two_corpora, "--device", "cpu", "--draws", "0", "--out", str(tmp_path / "cross")]
    assert cross_corpus.main([*paths, *more]) == 0
    rows = json.loads((tmp_path / "cross.json").read_text())["rows"]
    assert [(row["trained_on"], row["tested_on"]) for row in rows] == [("two", "one"), ("one", "two")]
    assert all(row["calibrated"]["temperature"] != 1.0 for row in rows), "each by the other one"


def enrolment_rows():
    def row(kind, count, uar, sd):
        scores = {"uar": {"mean": uar, "sd": sd}, "ece": {"mean": 0.02, "sd": sd}}
        return {"kind": kind, "count": count, **scores, "without": {"uar": 0.7, "ece": 0.03}}

    kinds = [("none", 0), ("all", 0), *((kind, n) for kind in ("unlabelled", "labelled") for n in (4, 8, 16))]
    return [row(kind, count, 0.7 + 0.01 * count, None if count == 0 else 0.01) for kind, count in kinds] + [
        row("neutral", 4, 0.71, 0.0)
    ]


@pytest.fixture
def stored(tmp_path, monkeypatch):
    gender, together = {"male": {"uar": 0.65}, "female": {"uar": 0.75}}, ("all answers", "seeds together")
    table = {
        "runs": 15,
        "summary": {part: {"uar": {"mean": 0.69, "sd_folds": 0.02}} for part in ("validation", "test")},
        "pooled": {which: {"uar": 0.7, "ece": 0.03, "by": {"gender": gender}} for which in together},
        "enrolment": {"all answers": enrolment_rows(), "seeds together": enrolment_rows()},
    }
    each = {"recipes": [enrolment_tables.PRETRAINED], "trainings_of_a_fold": 2}
    each["enrolment"] = [row | {"men_less_women": -0.11} for row in enrolment_rows()]
    table["rows"] = [each]
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table))
    monkeypatch.setattr(enrolment_tables, "weights_file", lambda name: path)
    monkeypatch.setattr(enrolment_tables, "study_file", lambda name: path)
    return path


def test_the_tables_are_those_of_the_stored_scores(stored):
    lines = enrolment_tables.new_speakers().splitlines()
    assert "| RAVDESS alone: 3 a fold | none | 0.690 ± 0.020 | 0.700 | 0.030 | -0.100 |" in lines
    assert any(
        "pretrained on other corpora, speaker groups | 8 clips, any | 0.780 ± 0.010 | 0.780 ± 0.010 | 0.020 | -0.110"
        in line
        for line in lines
    )
    assert len(lines) == 2 + 1 + len(enrolment_tables.SHOWN)
    lines = enrolment_tables.new_speakers_voices().splitlines()
    assert lines[2] == "| none |" + 3 * " 0.700 | 0.020 |"
    assert "| 16 clips, with labels |" + 3 * " 0.860 ± 0.010 | 0.020 |" in lines
    assert lines[-1] == "| none: men's UAR minus women's |" + 3 * " -0.100 |  |"
    assert len(lines) == 2 + len(enrolment_tables.SHOWN) + 1
    curve = enrolment_tables.enrolment().splitlines()
    assert len(curve) == 2 + 9
    assert curve[2].startswith("| none |  | 0.700 |")
    assert len(enrolment_tables.recipes().splitlines()) == 2 + len(enrolment_tables.RECIPES)


EIGHT = {"kind": "unlabelled", "count": 8, "uar": 0.5}


def test_corpora_that_were_held_out_are_a_table(stored):
    rows = [
        {"trained_on": "A", "tested_on": "B", "clips": 1_200, "emotions": 4, "uar": uar}
        | {"enrolled": [EIGHT | {"without": 0.4}]}
        for uar in (0.3, 0.4)
    ]
    rows.append(rows[0] | {"tested_on": "C", "enrolled": []})
    stored.write_text(json.dumps({"rows": rows, "environment": {"ser_gpu": "0.3"}}))
    _, _, first, second, _, version = enrolment_tables.cross_corpus("cross-corpus").splitlines()
    assert version == "Measured with ser_gpu 0.3."
    assert first == "| A | B | 2 | 1,200 | 4 | 0.350 | 0.250 | 0.500 | 0.400 |"
    assert second == "| A | C | 1 | 1,200 | 4 | 0.300 | 0.250 |  |  |"


def test_new_corpora_are_calibrated_by_the_others():
    generator = np.random.default_rng(0)
    truth = {name: generator.integers(0, 3, 400) for name in ("a", "b", "c")}
    answers = {}
    for scale, name in enumerate(truth, start=1):  # logits that tell the truth, but too loudly
        right = generator.normal(size=(400, 4)) + np.eye(4)[truth[name]]
        answers[name] = scale * right, truth[name]
    pooled, scores = study.on_new_corpora(answers)
    assert scores["a"]["temperature"] > scores["c"]["temperature"] > 1.0, "c is the loudest, and not asked for its own"
    assert scores["c"]["temperature"] < pooled < scores["a"]["temperature"]
    assert scores["c"]["confidence_above_accuracy"] > 0.05 > scores["a"]["confidence_above_accuracy"]
    right = answers["a"][0][:, :3].argmax(axis=1) == truth["a"]  # the fourth emotion is not in the corpus
    assert scores["a"]["accuracy"] == pytest.approx(right.mean())
    answered = [share for share, _ in scores["a"]["answered"].values()]
    assert answered == sorted(answered, reverse=True)


def test_new_corpora_are_a_table(stored):
    row = {"trained_on": "7 corpora", "tested_on": "B", "emotions": 4, "uar": 0.3, "interval95": [0.2, 0.4]}
    row |= {"enrolled": [EIGHT | {"without": 0.47}], "calibrated": {"confidence_above_accuracy": 0.02}}
    row["calibrated"]["answered"] = {"0.3": [0.8, 0.5], "0.9": [0.0, None]}
    other = row | {"tested_on": "C", "uar": 0.5, "enrolled": [EIGHT | {"kind": "labelled", "without": 0.4}]}
    both = [row | {"confidence_above_accuracy": 0.3}, other | {"confidence_above_accuracy": 0.1}]
    stored.write_text(json.dumps({"rows": both}))
    lines = enrolment_tables.new_corpora().splitlines()
    assert lines[2] == "| B | 7 corpora | 0.250 | 0.300 | +0.300 | 0.300 | 0.200 to 0.400 | 0.500 | +0.020 |"
    assert lines[-1] == "| mean |  |  | 0.400 | +0.200 | 0.400 |  | 0.500 | +0.020 |"
    _, _, *gains = enrolment_tables.new_corpora_enrolled().splitlines()
    assert gains == ["| B | +0.030 |  |", "| C |  | +0.100 |", "| mean | +0.030 | +0.100 |"]
    assert enrolment_tables.new_corpora_coverage().splitlines()[2:] == [
        "| 0.3 | 0.800 | 0.500 | 2 |",
        "| 0.9 | 0.000 |  | 0 |",
    ]
    _, _, *variants = enrolment_tables.variants().splitlines()
    means = "| 0.300 | 0.500 | 0.400 | 0.500 | 0.500 |  | +0.020 |"
    assert variants == [f"| {variant} {means}" for variant in enrolment_tables.VARIANTS]


def test_new_speakers_of_each_corpus_are_a_table(tmp_path, monkeypatch):
    rows = [
        ("savee", "savee/DC", "male", "sad", 0.2, 0.3, 0.5),  # right among sad and angry, and with 0.6
        ("savee", "savee/DC", "male", "angry", 0.0, 1.0, 0.0),
        ("tess", "tess/OAF", "female", "happy", 0.9, 0.1, 0.0),
        ("tess", "tess/YAF", "female", "sad", 0.9, 0.1, 0.0),
    ]
    lines = ["part,clip,corpus,speaker,gender,emotion,predicted,angry,sad,happy"]
    for number, (corpus, speaker, gender, emotion, *shares) in enumerate(rows):
        angry, sad, happy = shares
        lines.append(f"test,{number},{corpus},{speaker},{gender},{emotion},sad,{angry},{sad},{happy}")
    (tmp_path / "answers.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (tmp_path / "left out").write_text(json.dumps({"rows": [{"tested_on": "SAVEE", "uar": 0.2}]}))
    monkeypatch.setattr(enrolment_tables, "weights_file", lambda name: tmp_path / "answers.csv.gz")
    monkeypatch.setattr(enrolment_tables, "study_file", lambda name: tmp_path / "left out")
    lines = enrolment_tables.new_speakers_of_each_corpus().splitlines()
    # of SAVEE one of two is right, with confidences of 0.6 and 1.0
    assert lines[2] == "| SAVEE | 1 | 2 | 0.500 | 0.500 | 0.500 to 0.500 | 0.500 |  | +0.300 | 0.200 |"
    assert lines[3].startswith("| TESS | 2 | 2 | 0.500 | 0.500 |")
    assert lines[-1].startswith("| mean |  |  | 0.500 | 0.500 |")


def test_the_curve_is_drawn(stored, tmp_path, capsys):
    assert enrolment_curve.main([str(stored), "--out", str(tmp_path / "curve.png")]) == 0
    assert (tmp_path / "curve.png").stat().st_size > 3_000
    (legend,) = enrolment_curve.figure(enrolment_rows()).legends
    assert {text.get_text() for text in legend.get_texts()} > {"any clips", "neutral"}
    (tmp_path / "none.json").write_text("{}")
    assert enrolment_curve.main([str(tmp_path / "none.json")]) == 2
    assert "holds no scores with enrolled clips" in capsys.readouterr().err


def test_a_training_is_shipped_in_half_precision(tiny_ravdess, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    run.mkdir()
    path = saved(run / "last.pth", Protocol(), corpora.load(tiny_ravdess).clips)
    for name in ("metrics.csv", "curves.png"):
        (run / name).write_text("x")
    monkeypatch.setattr(ship, "weights_file", lambda name: tmp_path / name)
    assert ship.main([str(run), "shipped"]) == 2
    assert "holds no finished training" in capsys.readouterr().err
    (run / "result.json").write_text("{}")
    assert ship.main([str(run), "shipped"]) == 0
    whole, half = checkpoint.load_model(path, "cpu"), checkpoint.load_model(tmp_path / "shipped.pth", "cpu")
    for name, value in half.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[name], atol=1e-3, rtol=1e-3)  # float16 has 11 bits
    assert (tmp_path / "shipped.pth").stat().st_size < (run / "last.pth").stat().st_size
    digest = hashlib.sha256((tmp_path / "shipped.pth").read_bytes()).hexdigest()
    assert (tmp_path / "SHA256SUMS").read_text() == f"{digest}  shipped.pth\n"
    (tmp_path / "new.json").write_text('{"temperature": 1.75}')
    assert ship.main([str(run), "shipped", "--temperature-of", str(tmp_path / "new.json")]) == 0
    assert checkpoint.load_model(tmp_path / "shipped.pth", "cpu").temperature.item() == 1.75
    stated = {"temperature": 1.75, "temperature_of": "new.json"}
    assert json.loads((tmp_path / "shipped.training.json").read_text()) == stated
