import numpy as np
import pytest

from ser_gpu.atomic import write_csv
from ser_gpu.data.ravdess import EMOTIONS
from ser_gpu.results import circumplex, metrics, predictions
from ser_gpu.results.tables import markdown


@pytest.fixture
def table(clips, tmp_path):
    """Random answers of two folds to every clip, and of the validation part, as a cross-validation writes them."""
    generator = np.random.default_rng(0)
    rows = []
    for number, clip in enumerate(clips):
        shares = generator.dirichlet(np.ones(8)) * 0.5
        shares[clip.emotion] += 0.5 * (number % 3 > 0)
        shares /= shares.sum()
        row = {"fold": number % 2, "seed": 0, "part": "test" if number % 4 else "validation", "clip": clip.name}
        rows.append(row | {"actor": clip.actor, "emotion": EMOTIONS[clip.emotion], "predicted": ""})
        rows[-1] |= {emotion: f"{share:.5f}" for emotion, share in zip(EMOTIONS, shares, strict=True)}
    path = tmp_path / "predictions.csv"
    write_csv(path, rows)
    return path


def test_answers_are_read_by_part(table, clips):
    test, validation = (predictions.read(table, part) for part in ("test", "validation"))
    assert len(test.clips) + len(validation.clips) == len(clips)
    assert test.probabilities.sum(axis=1) == pytest.approx(np.ones(len(test.clips)), abs=1e-4)
    assert (test.labels == [clip.emotion for clip in test.clips]).all()
    with pytest.raises(ValueError, match="no answers to the train part"):
        predictions.read(table, "train")


def test_the_report_is_that_of_the_answers(table):
    answers = predictions.read(table)
    report = answers.report()
    assert report["accuracy"] == metrics.headline(answers.labels, answers.predicted)["accuracy"]
    assert report["calibration_error"] == pytest.approx(
        metrics.calibration_error(answers.labels, answers.probabilities), abs=1e-3
    ), "probabilities are stored with five digits"


def test_trainings_answer_together_by_the_mean_of_their_probabilities(table):
    one = predictions.read(table)
    other = one.probabilities[:, ::-1]
    twice = predictions.Predictions(
        one.clips * 2, np.tile(one.folds, 2), np.concatenate([one.probabilities, other])
    ).together()
    assert twice.clips == one.clips
    assert (twice.folds == one.folds).all()
    np.testing.assert_allclose(twice.probabilities, (one.probabilities + other) / 2)


def test_accuracy_of_named_clips_is_by_fold(table):
    answers = predictions.read(table)
    of_fold = {1: {clip.name for clip in answers.clips}}
    right = answers.predicted == answers.labels
    named, others = answers.accuracy_of(of_fold)
    assert named == pytest.approx(right[answers.folds == 1].mean())
    assert others == pytest.approx(right[answers.folds == 0].mean())
    assert np.isnan(answers.accuracy_of({})[0])


def test_errors_that_keep_a_side_are_counted():
    emotions = ("calm", "sad", "angry", "fearful", "disgust")
    confusion = np.zeros((5, 5), int)
    confusion[1, 0], confusion[1, 2], confusion[2, 3], confusion[2, 4], confusion[0, 0] = 3, 1, 4, 9, 50
    found = circumplex.kept_by_errors(confusion, emotions, circumplex.AROUSAL)
    assert found["errors"] == 8, "disgust has no side"
    assert found["kept"] == pytest.approx(7 / 8)
    assert found["chance"] == pytest.approx(1 / 3), "one of three wrong emotions is on the same side"


def test_even_errors_keep_a_side_by_chance():
    confusion = np.ones((8, 8), int)
    for side in (circumplex.AROUSAL, circumplex.VALENCE):
        found = circumplex.kept_by_errors(confusion, EMOTIONS, side)
        assert found["kept"] == pytest.approx(found["chance"])
    assert np.isnan(circumplex.kept_by_errors(np.eye(8), EMOTIONS, circumplex.AROUSAL)["kept"])


def test_every_emotion_of_a_side_is_one_that_there_is():
    assert set(circumplex.AROUSAL) | set(circumplex.VALENCE) == set(EMOTIONS)


def test_a_table_has_a_line_a_row():
    assert markdown([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]).splitlines()[2:] == ["| 1 | x |", "| 2 | y |"]
