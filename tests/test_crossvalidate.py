import csv
import json

import pytest

from ser_gpu import crossvalidate
from ser_gpu.results import crossvalidation


def command(data, runs, *more):
    small = ["--set", "cnn.width=4", "cnn.depth=2", "audio.clip_seconds=0.5", "augment.enabled=false"]
    options = ["--runs", str(runs), "--data", str(data), "--device", "cpu", "--epochs", "1", "--batch-size", "64"]
    return ["--protocol", "stratified", "--folds", "0", "1", *options, *small, *more]


@pytest.fixture(scope="module")
def finished(tiny_ravdess, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    assert crossvalidate.main(command(tiny_ravdess, runs, "--jobs", "2")) == 0
    return runs


def test_every_fold_has_a_row_and_every_clip_a_prediction(finished):
    table = json.loads((finished / "stratified" / "table.json").read_text())
    assert [(row["fold"], row["seed"]) for row in table["rows"]] == [(0, 0), (1, 0)]
    assert (table["runs"], table["planned"]) == (2, 2)
    uar = table["summary"]["test"]["uar"]
    assert uar["mean"] == pytest.approx(sum(row["test"]["uar"] for row in table["rows"]) / 2)
    assert uar["sd_seeds"] is None
    assert table["rows"][0]["manifest_hash"] != table["rows"][1]["manifest_hash"]
    with (finished / "stratified" / "table.predictions.csv").open() as file:
        predictions = list(csv.DictReader(file))
    scored = sum(row[part]["clips"] for row in table["rows"] for part in ("validation", "test"))
    assert len(predictions) == scored


def test_seeds_of_a_fold_answer_as_one_model_too(finished, tiny_ravdess, tmp_path, capsys):
    path = tmp_path / "two.json"
    more = ["--folds", "0", "--seeds", "0", "1", "--table", str(path)]
    assert crossvalidate.main(command(tiny_ravdess, finished, *more)) == 0
    table = json.loads(path.read_text())
    scored = sum(row["test"]["clips"] for row in table["rows"])
    every, together = table["pooled"]["all answers"], table["pooled"]["seeds together"]
    assert (every["clips"], together["clips"]) == (scored, scored / 2)
    low, high = every["interval95"]["uar"]
    assert low <= every["uar"] <= high
    assert every["accuracy"] == pytest.approx(table["summary"]["test"]["accuracy"]["mean"])
    assert "seeds together" in capsys.readouterr().out


def test_started_again_it_trains_nothing_that_is_done(finished, tiny_ravdess, capsys):
    log = finished / "stratified" / "fold0-seed0" / "log.txt"
    before = log.read_text()
    assert crossvalidate.main(command(tiny_ravdess, finished)) == 0
    assert log.read_text() == before
    assert "stratified, test part, 2 of 2 trainings" in capsys.readouterr().out


def test_other_settings_need_another_name(finished, tiny_ravdess, capsys):
    assert crossvalidate.main(command(tiny_ravdess, finished, "--lr", "1")) == 2
    assert "give these another --name" in capsys.readouterr().err


def test_a_training_that_fails_is_named_with_its_reason(tiny_ravdess, tmp_path, capsys):
    assert crossvalidate.main(command(tiny_ravdess, tmp_path, "--lr", "-1", "--folds", "0")) == 2
    printed = capsys.readouterr().err
    assert "error: fold 0, seed 0: TrainConfig.lr must be positive" in printed
    assert "no training of 1 came to its end" in printed


def test_spread_is_over_means():
    rows = [
        {"fold": fold, "seed": seed, "test": dict.fromkeys(crossvalidation.METRICS, value)}
        for fold, seed, value in ((0, 0, 0.1), (1, 0, 0.3), (0, 1, 0.3), (1, 1, 0.5))
    ]
    uar = crossvalidation.summary(rows, "test")["uar"]
    assert uar["mean"] == pytest.approx(0.3)
    assert uar["sd_seeds"] == pytest.approx(0.2 / 2**0.5)  # of 0.2 and 0.4
    assert uar["sd_folds"] == pytest.approx(0.2 / 2**0.5)


def test_trainings_of_two_recipes_make_no_table(finished):
    results = [
        json.loads((finished / "stratified" / f"fold{fold}-seed0" / "result.json").read_text()) for fold in (0, 1)
    ]
    assert crossvalidation.table("both", "stratified", results, 2)["runs"] == 2
    results[1]["config"]["model"]["cnn"]["width"] = 8
    with pytest.raises(ValueError, match=r"both: not trainings of one recipe, they differ in cnn\.width"):
        crossvalidation.table("both", "stratified", results, 2)
