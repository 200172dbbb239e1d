from dataclasses import replace

import numpy as np
import pytest

from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.evaluation import metrics
from ser_gpu.evaluation.report import Answers, notes


@pytest.fixture
def answers(clips):
    """Answers to all clips that are right about half of the time."""
    logits = np.random.default_rng(0).normal(size=(len(clips), 8))
    logits[np.arange(len(clips)), [EMOTIONS.index(clip.emotion) for clip in clips]] += 1.5
    return Answers(clips, EMOTIONS, logits)


def changed(answers, change):
    """The same answers to changed clips."""
    return replace(answers, clips=tuple(replace(clip, **change(row, clip)) for row, clip in enumerate(answers.clips)))


def test_the_report_adds_up(answers):
    report = answers.report(by_speaker=True)
    confusion = np.array(report["confusion"])
    assert confusion.sum() == report["clips"] == 1_440
    assert np.trace(confusion) / 1_440 == pytest.approx(report["accuracy"])
    recalls = [row["recall"] for row in report["per_emotion"].values()]
    assert recalls == pytest.approx(confusion.diagonal() / confusion.sum(axis=1))
    assert {facet: [*values] for facet, values in report["by"].items()} == {
        "gender": ["male", "female"],
        "intensity": ["normal", "strong"],
    }
    for values in report["by"].values():
        weighted = sum(scores["clips"] * scores["accuracy"] for scores in values.values()) / 1_440
        assert weighted == pytest.approx(report["accuracy"])
    assert [*report["per_emotion"]["neutral"]["recall_by"]["intensity"]] == ["normal"], "neutral is never strong"
    assert [*report["per_emotion"]["angry"]["recall_by"]["intensity"]] == ["normal", "strong"]


def test_what_the_clips_do_not_know_is_not_there(answers):
    report = changed(answers, lambda *_: {"gender": None, "speaker": None, "extra": ()}).report(by_speaker=True)
    assert report["by"] == {}
    assert report["per_emotion"]["angry"]["recall_by"] == {}
    assert report["interval95"] == answers.report(by_speaker=False)["interval95"], "of clips, where no speaker is known"


def test_gender_may_be_known_of_some_clips_and_several_corpora_stand_side_by_side(answers):
    change = lambda row, clip: {"gender": clip.gender if row < 60 else None, "corpus": "a" if row % 3 else "b"}  # noqa: E731
    by = changed(answers, change).report(by_speaker=True)["by"]
    assert sum(scores["clips"] for scores in by["gender"].values()) == 60
    assert [(name, scores["clips"]) for name, scores in by["corpus"].items()] == [("a", 960), ("b", 480)]


def test_intervals_resample_speakers_or_clips(answers):
    predicted = answers.predicted
    for by_speaker, groups in ((True, [c.speaker for c in answers.clips]), (False, [c.id for c in answers.clips])):
        expected = metrics.bootstrap_intervals(answers.truth, predicted, groups)
        assert answers.report(by_speaker)["interval95"] == expected
    report = changed(answers, lambda *_: {"speaker": "01"}).report(by_speaker=True)
    assert report["interval95"] == answers.report(by_speaker=False)["interval95"], "one speaker cannot be resampled"


def test_calibration_is_told_before_and_after_the_temperature(answers):
    report = replace(answers, logits=5 * answers.logits, temperature=5.0).report(by_speaker=True)
    plain = answers.report(by_speaker=True)
    assert report["ece"] == pytest.approx(plain["ece"])
    assert report["log_loss"] == pytest.approx(plain["log_loss"])
    assert report["ece_before_temperature"] > report["ece"]
    for when, error in (("before", "ece_before_temperature"), ("after", "ece")):
        rows = report["reliability"][when]
        assert sum(row["clips"] for row in rows) == 1_440
        assert metrics.calibration_error(rows) == pytest.approx(report[error])


def test_any_label_set_will_do(clips):
    two = tuple(replace(clip, emotion="bored" if row % 2 else "happy") for row, clip in enumerate(clips[:10]))
    logits = np.tile([[1.0, 0.0]], (10, 1))
    report = Answers(two, ("happy", "bored"), logits).report(by_speaker=False)
    assert report["confusion"] == [[5, 0], [5, 0]]
    assert report["uar"] == report["chance"] == 0.5


@pytest.mark.parametrize(
    ("right", "count", "said"),
    [
        (1.0, 40, []),
        (0.5, 40, ["cannot be told from chance, 0.500"]),
        (1.0, 20, ["20 clips give rough scores"]),
        (0.5, 20, ["cannot be told from chance", "20 clips give rough scores"]),
    ],
)
def test_scores_of_a_guess_and_of_few_clips_are_named(right, count, said, answers):
    """A model that always says the same has an interval of no width."""
    some = tuple(replace(clip, emotion="happy" if row % 2 else "sad") for row, clip in enumerate(answers.clips[:count]))
    logits = np.array([[1.0, 0.0] if clip.emotion == "sad" or right < 1 else [0.0, 1.0] for clip in some])
    found = Answers(some, ("sad", "happy"), logits).report(by_speaker=False)
    assert found["most_frequent"] == {"emotion": "sad", "accuracy": 0.5}
    assert len(notes(found)) == len(said)
    assert all(part in note for part, note in zip(said, notes(found), strict=True))
