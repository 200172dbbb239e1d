import pytest

from ser_gpu.evaluation import crossvalidation


def test_spread_is_over_means():
    rows = [
        {"fold": fold, "seed": seed, "test": dict.fromkeys(crossvalidation.METRICS, value)}
        for fold, seed, value in ((0, 0, 0.1), (1, 0, 0.3), (0, 1, 0.3), (1, 1, 0.5))
    ]
    uar = crossvalidation.summary(rows, "test")["uar"]
    assert uar["mean"] == pytest.approx(0.3)
    assert uar["sd_seeds"] == pytest.approx(0.2 / 2**0.5)  # of 0.2 and 0.4
    assert uar["sd_folds"] == pytest.approx(0.2 / 2**0.5)


def result(fold, width=4, parts=("validation", "test")):
    scores = {"clips": 10, **dict.fromkeys(crossvalidation.METRICS, 0.5), "by": {}, "log_loss": 1.0}
    own = dict.fromkeys(("manifest_hash", "parameters", "bfloat16", "temperature", "seconds", "environment"))
    config = {"training": {"fold": fold, "seed": 0, "lr": 0.1}, "model": {"cnn": {"width": width}}}
    return {"fold": fold, "seed": 0, "config": config, **own, **dict.fromkeys(parts, scores)}


def test_a_table_has_the_parts_that_all_trainings_have():
    table = crossvalidation.table("one", "loso", [result(0), result(1, parts=("test",))], planned=3)
    assert (table["runs"], table["planned"], [*table["summary"]]) == (2, 3, ["test"])
    assert table["rows"][0]["test"]["log_loss"] == 1.0


def test_trainings_of_two_recipes_make_no_table():
    with pytest.raises(ValueError, match=r"both: not trainings of one recipe, cnn\.width is 4 there and 8 here"):
        crossvalidation.table("both", "stratified", [result(0), result(1, width=8)], 2)


def test_each_training_may_begin_with_other_weights_or_none_does():
    begun = [result(0) | {"init_sha256": "a"}, result(1) | {"init_sha256": "b"}]
    assert [row["init_sha256"] for row in crossvalidation.table("x", "loso", begun, 2)["rows"]] == ["a", "b"]
    with pytest.raises(ValueError, match="a network to begin with is True there and False here"):
        crossvalidation.table("x", "loso", [*begun, result(2)], 3)
