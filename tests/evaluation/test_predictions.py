import csv
import gzip
from dataclasses import replace

import numpy as np
import pytest

from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.errors import InputError
from ser_gpu.evaluation import predictions
from ser_gpu.evaluation.report import Answers
from ser_gpu.files import write_csv


@pytest.fixture
def answers(clips):
    generator = np.random.default_rng(0)
    return Answers(clips, EMOTIONS, generator.normal(size=(len(clips), 8)), temperature=0.7)


@pytest.fixture(params=[".csv", ".csv.gz"])
def table(request, answers, tmp_path):
    """Answers of two folds, and of the validation part, as a cross-validation writes them."""
    rows = [
        {"fold": number % 2, "seed": 0, **row, "part": "test" if number % 4 else "validation"}
        for number, row in enumerate(predictions.rows(answers, "test"))
    ]
    path = tmp_path / f"table.predictions{request.param}"
    write_csv(path, rows)
    return path


def test_what_is_read_is_what_was_written(table, answers, clips):
    test, validation = (predictions.read(table, part) for part in ("test", "validation"))
    assert len(test.clips) + len(validation.clips) == len(clips)
    assert test.labels == EMOTIONS
    inside = [number for number in range(len(clips)) if number % 4]
    # eight shares with five digits, which are made to sum to one
    np.testing.assert_allclose(test.probabilities, answers.probabilities[inside], atol=5e-5, rtol=0)
    assert (test.truth == answers.truth[inside]).all()
    assert test.folds.tolist() == [number % 2 for number in inside]
    for mine, theirs in zip(test.clips, (clips[number] for number in inside), strict=True):
        for name in ("id", "emotion", "speaker", "gender", "corpus"):
            assert getattr(mine, name) == getattr(theirs, name)
        assert mine.get("intensity") == theirs.get("intensity")
    with pytest.raises(ValueError, match="no answers to the train part"):
        predictions.read(table, "train")


def test_the_report_is_that_of_the_answers(table, answers):
    inside = [number for number in range(len(answers.clips)) if number % 4]
    whole = replace(answers, clips=tuple(answers.clips[i] for i in inside), logits=answers.logits[inside])
    expected, report = whole.report(by_speaker=True), predictions.read(table).report(by_speaker=True)
    for exact in ("clips", "accuracy", "uar", "interval95", "confusion", "by", "per_emotion"):
        assert report[exact] == expected[exact]
    assert report["ece"] == pytest.approx(expected["ece"], abs=1e-3), "probabilities are stored with five digits"


def test_nothing_but_the_needed_columns_is_needed(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("part,clip,emotion,predicted,happy,bored\ntest,a,bored,bored,0.25,0.75\n")
    read = predictions.read(path)
    assert read.labels == ("happy", "bored")
    assert (read.clips[0].speaker, read.clips[0].gender, read.folds.tolist()) == (None, None, [0])
    assert read.report(by_speaker=True)["accuracy"] == 1.0


def test_trainings_answer_together_by_the_mean_of_their_probabilities(table):
    one = predictions.read(table)
    other = one.probabilities[:, ::-1]
    logits = np.log(np.concatenate([one.probabilities, other]))
    both = Answers(one.clips * 2, one.labels, logits, folds=np.tile(one.folds, 2))
    together = predictions.together(both)
    assert together.clips == one.clips
    assert (together.folds == one.folds).all()
    np.testing.assert_allclose(together.probabilities, (one.probabilities + other) / 2, atol=1e-6)


def test_the_same_rows_give_the_same_bytes(answers, tmp_path):
    rows = predictions.rows(answers, "test")
    for name in ("a.csv.gz", "b.csv.gz"):
        write_csv(tmp_path / name, rows)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    with gzip.open(tmp_path / "a.csv.gz", "rt", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv.gz", b"no gzip"),
        ("a.csv.gz", gzip.compress(b"part,clip", mtime=0)[:-4]),
        ("a.csv", b"\xff\xfe\x00"),
        ("a.csv", b"a,b\n1,2\n"),
        ("a.csv", b""),
        ("a.csv", b"part,clip,actor,emotion,predicted,sad,happy\ntest,x,5,sad,sad,0.9,0.1\n"),
        ("a.csv", b"part,clip,emotion,predicted,note\ntest,x,sad,sad,loud\n"),
        ("a.csv", b"fold,part,clip,emotion,predicted,sad\n,test,x,sad,sad,1\n"),
        ("a.csv", b"part,clip,emotion,predicted,sad,calm\ntest,a,sad,sad,much,0.5\n"),
        ("a.csv", b"part,clip,emotion,predicted,sad,calm\ntest,a,sad,sad,0.5\n"),
    ],
)
def test_what_is_no_table_is_one_line(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: (damaged, or )?not a (CSV file|table of predictions)"):
        predictions.read(tmp_path / name)
