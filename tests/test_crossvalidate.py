import json
import subprocess
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from ser_gpu import crossvalidate, train
from ser_gpu.corpora.splits import ALIASES
from ser_gpu.errors import InputError
from ser_gpu.evaluation import predictions
from ser_gpu.files import write_json
from tests import ranks

NETWORK = ("cnn.width=4", "cnn.depth=2", "cnn.members=1")
SMALL = (*NETWORK, "audio.clip_seconds=1", "augment.enabled=false", "tta.enabled=false")


def command(data, runs, *more):
    which = ["--protocol", "stratified", "--folds", "0", "1", "--runs", str(runs), "--data", str(data)]
    two_at_a_time = ["--jobs", "2"]  # a thread each: two that wait for work would take it from the other tests
    training = ["--device", "cpu", "--epochs", "1", "--batch-size", "64", "--set", *SMALL]
    return [*which, *two_at_a_time, *training, *more]


@pytest.fixture
def run(tiny_ravdess, capsys):
    """Run a command, and give its exit code and what it printed to stdout and stderr."""
    return lambda runs, *more: (crossvalidate.main(command(tiny_ravdess, runs, *more)), *capsys.readouterr())


def read(runs):
    """The table and the answers of a cross-validation."""
    path = runs / "stratified" / "table.json"
    return json.loads(path.read_text()), predictions.read_rows(path.with_suffix(".predictions.csv.gz"))


@pytest.fixture(scope="module")
def finished(tiny_ravdess, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    assert crossvalidate.main(command(tiny_ravdess, runs)) == 0
    return runs


def test_every_fold_has_a_row_and_every_clip_a_prediction(finished):
    table, rows = read(finished)
    assert [(row["fold"], row["seed"]) for row in table["rows"]] == [(0, 0), (1, 0)]
    assert (table["runs"], table["planned"]) == (2, 2)
    uar = table["summary"]["test"]["uar"]
    assert uar["mean"] == pytest.approx(sum(row["test"]["uar"] for row in table["rows"]) / 2)
    assert uar["sd_seeds"] is None
    assert table["rows"][0]["manifest_hash"] != table["rows"][1]["manifest_hash"]
    scored = sum(row[part]["clips"] for row in table["rows"] for part in ("validation", "test"))
    assert len(rows) == scored
    assert {row["fold"] for row in rows} == {"0", "1"}
    assert [*table["rows"][0]["test"]["by"]["gender"]] == ["male", "female"]


def test_ranks_of_torchrun_take_the_trainings_in_turn(finished, tiny_ravdess, tmp_path):
    """Bit for bit, since each training has half of the cores as with --jobs 2."""
    trainings = ranks.python("ser_gpu.crossvalidate", *command(tiny_ravdess, tmp_path))
    codes, printed = ranks.run(2, trainings, tmp_path / "log.txt")
    assert codes == [0, 0], printed
    assert printed.count("stratified, test part, 2 of 2 trainings") == 1
    (table, rows), (other, same) = read(finished), read(tmp_path)
    for row in (*table["rows"], *other["rows"]):
        del row["seconds"]
    assert (table, rows) == (other, same)


def test_seeds_of_a_fold_answer_as_one_model_too(finished, run, tmp_path):
    path = tmp_path / "two.json"
    code, out, _ = run(finished, "--folds", "0", "--seeds", "0", "1", "--table", str(path))
    assert code == 0
    assert "seeds together" in out
    table = json.loads(path.read_text())
    scored = sum(row["test"]["clips"] for row in table["rows"])
    every, together = table["pooled"]["all answers"], table["pooled"]["seeds together"]
    assert (every["clips"], together["clips"]) == (scored, scored / 2)
    low, high = every["interval95"]["uar"]
    assert low <= every["uar"] <= high
    assert every["accuracy"] == pytest.approx(table["summary"]["test"]["accuracy"]["mean"])


def test_started_again_it_trains_nothing_that_is_done_and_other_settings_need_another_name(finished, run):
    log = finished / "stratified" / "fold0-seed0" / "log.txt"
    before = log.read_text()
    code, out, err = run(finished)
    assert (code, log.read_text()) == (0, before)
    assert "note: 192 of the 1,440 RAVDESS speech clips found" in err, "what every training said"
    assert "stratified, test part, 2 of 2 trainings" in out
    rows = [[cell.strip() for cell in line.split("│")[1:6]] for line in out.splitlines() if "│" in line]
    assert [row for row in rows if row[0] == "chance"] == [["chance", "", "", "0.125", "0.125"]]
    assert [row[4] for row in rows if row[0] == "most frequent emotion"] == ["0.125"]
    for others, said in ((["--lr", "1"], "training.lr is 0.002 there and 1.0 here"), (["--no-test"], "test is True")):
        code, _, err = run(finished, *others)
        assert code == 2
        assert f"fold0-seed0: a training with other settings ({said}" in err


@pytest.mark.parametrize(
    "again",
    [
        ("--lr", "0.001", "--data", "here"),
        ("--data", str(Path("here").resolve()), "--set", "training.lr=1e-3"),
        ("--data", "here", "--lr", "1e-3", "--device", "cpu"),
    ],
)
def test_the_same_settings_may_be_written_otherwise(again, tmp_path):
    run = crossvalidate.Run("actors5", 1, 0, tmp_path)
    args = train.parser().parse_args(["--protocol", "actors5", "--fold", "1", "--data", "here", "--lr", "1e-3"])
    write_json(tmp_path / "config.json", asdict(train.new_plan(args, torch.device("cpu"))))
    crossvalidate.hold_to_one_setting([run], again)
    for other, more in ((replace(run, protocol="actors6"), ()), (run, ["--no-test"]), (run, ["--data", "there"])):
        with pytest.raises(InputError, match="other settings"):
            crossvalidate.hold_to_one_setting([other], [*again, *more])


def test_wrong_settings_are_said_once(run, tmp_path):
    assert run(tmp_path, "--lr", "-1") == (2, "", "error: TrainConfig.lr must be positive, got -1.0\n")


def test_a_training_that_fails_is_named_with_its_reason(run, tmp_path, monkeypatch):
    code, _, said = run(tmp_path, "--init", "missing{seed}.pth")
    assert (code, said) == (2, "error: missing0.pth: no such checkpoint\n"), "before any training"
    spoilt = tmp_path / "spoilt.csv"
    spoilt.write_text(f"file,emotion\n{spoilt},sad\n")
    code, _, said = run(tmp_path, "--data", str(spoilt), "--folds", "0")
    assert code == 2
    assert "error: fold 0, seed 0: " in said
    assert f"({tmp_path}/stratified/fold0-seed0/log.txt)" in said
    assert "no training of 1 came to its end" in said
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, -9))
    assert "error: fold 1, seed 0: the training was ended by signal 9" in run(tmp_path, "--folds", "1")[2]


def test_the_folds_of_speakers_are_counted_in_the_data(tiny_ravdess, tmp_path):
    """Six speakers: five folds, or one speaker out at a time."""
    training = ["--data", str(tiny_ravdess)]
    wav = next(tiny_ravdess.rglob("*.wav"))
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text(f"file,emotion\n{wav},sad\n")
    two = ["--corpora", f"one={tmp_path / 'one.csv'}", f"two={tmp_path / 'two.csv'}"]
    for protocol, arguments, folds in (
        ("speakers", training, 5),
        ("loso", ["--epochs", "1", *training], 6),
        ("loco", two, 2),
        ("twin-safe", [], 5),
        ("actors6", [], 6),
    ):
        args = Namespace(protocol=protocol, folds=None)
        assert crossvalidate.protocol_and_folds(args, arguments) == (ALIASES.get(protocol, protocol), range(folds))


def test_test_corpora_are_a_protocol_of_their_own_with_one_fold(monkeypatch, tmp_path):
    commands = []
    failed = lambda command, **_: commands.append(command) or subprocess.CompletedProcess(command, 1)  # noqa: E731
    monkeypatch.setattr(subprocess, "run", failed)
    several = ["--corpora", "a=a", "b=b", "--test-corpora", "b"]
    assert crossvalidate.main(["--runs", str(tmp_path), "--seeds", "0", "1", *several]) == 2
    asked = [train.parser().parse_args(each[3:]) for each in commands]
    assert [(each.protocol, each.test_corpora, each.fold) for each in asked] == [(None, ["b"], 0)] * 2
    outs = [str(tmp_path / "test-corpora" / f"fold0-seed{seed}") for seed in (0, 1)]
    assert [each.out for each in asked] == outs


@pytest.fixture
def asked(monkeypatch):
    """The trainings that a command asks for, none of which is run."""
    runs = []
    monkeypatch.setattr(crossvalidate, "train_all", lambda asked, *_: runs.extend(asked))
    return runs


@pytest.mark.parametrize(
    ("flags", "protocol", "folds"),
    [
        (["--data"], "speakers", [0, 1, 2, 3, 4]),
        (["--protocol", "twin-safe", "--folds", "3", "--data"], "grouped", [3]),
        ([], "actors5", [0, 1, 2, 3, 4]),
    ],
)
def test_data_of_ones_own_is_dealt_by_speakers_and_the_default_corpus_by_its_published_folds(
    flags, protocol, folds, asked, tiny_ravdess, tmp_path, capsys
):
    data = [str(tiny_ravdess)] if flags else []
    assert crossvalidate.main([*flags, *data, "--runs", str(tmp_path)]) == 2
    assert "no training of" in capsys.readouterr().err
    assert [(run.protocol, run.fold) for run in asked] == [(protocol, fold) for fold in folds]
    assert asked[0].out == tmp_path / protocol / f"fold{folds[0]}-seed0"


def test_a_refit_repeats_the_seed_or_another_one_of_the_fold(asked, tmp_path):
    first = tmp_path / "first"
    for place in ("fold0-seed0", "fold0-seed1", "fold1-seed1"):
        args = train.parser().parse_args(["--protocol", "actors5", "--fold", place[4], "--seed", place[-1]])
        write_json(first / place / "config.json", asdict(train.new_plan(args, torch.device("cpu"))))
        write_json(first / place / "result.json", {"temperature": 1.0})
    more = ["--folds", "0", "1", "--seeds", "1", "2", "--refit", str(first)]
    assert crossvalidate.main(["--runs", str(tmp_path), *more]) == 2
    repeated = [f"fold{run.fold}-seed{run.seed} of {Path(run.arguments[1]).name}" for run in asked]
    of = ("fold0-seed1", "fold1-seed1"), ("fold0-seed0", "fold1-seed1")
    assert repeated == [f"fold{fold}-seed{seed} of {of[seed - 1][fold]}" for seed in (1, 2) for fold in (0, 1)]


def test_fold_and_seed_in_an_argument_are_the_trainings_own(finished, run, tmp_path):
    """A training that begins with the weights of another one, whose folder the fold and the seed name."""
    first = str(finished / "stratified" / "fold{fold}-seed{seed}" / "last.pth")
    assert run(tmp_path, "--folds", "1", "--init", first)[0] == 0
    config = json.loads((tmp_path / "stratified" / "fold1-seed0" / "config.json").read_text())
    assert config["init"] == first.format(fold=1, seed=0)


def test_spread_is_over_means():
    rows = [
        {"fold": fold, "seed": seed, "test": dict.fromkeys(crossvalidate.METRICS, value)}
        for fold, seed, value in ((0, 0, 0.1), (1, 0, 0.3), (0, 1, 0.3), (1, 1, 0.5))
    ]
    uar = crossvalidate.summary(rows, "test")["uar"]
    assert uar["mean"] == pytest.approx(0.3)
    assert uar["sd_seeds"] == pytest.approx(0.2 / 2**0.5)  # of 0.2 and 0.4
    assert uar["sd_folds"] == pytest.approx(0.2 / 2**0.5)


def result_of(fold, width=4, parts=("validation", "test")):
    scores = {"clips": 10, **dict.fromkeys(crossvalidate.METRICS, 0.5), "by": {}, "log_loss": 1.0}
    own = dict.fromkeys(("manifest_hash", "parameters", "bfloat16", "temperature", "seconds", "environment"))
    config = {"training": {"fold": fold, "seed": 0, "lr": 0.1}, "model": {"cnn": {"width": width}}}
    return {"fold": fold, "seed": 0, "config": config, **own, **dict.fromkeys(parts, scores)}


def test_a_table_has_the_parts_that_all_trainings_have_and_each_may_begin_with_other_weights():
    begun = [result_of(0) | {"init_sha256": "a"}, result_of(1, parts=("test",)) | {"init_sha256": "b"}]
    table = crossvalidate.table("one", "loso", begun, planned=3)
    assert (table["runs"], table["planned"], [*table["summary"]]) == (2, 3, ["test"])
    assert table["rows"][0]["test"]["log_loss"] == 1.0
    assert [row["init_sha256"] for row in table["rows"]] == ["a", "b"]
