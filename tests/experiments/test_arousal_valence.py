import numpy as np
import pytest

from experiments import arousal_valence
from ser_gpu.corpora.clip import EMOTIONS


def test_errors_that_keep_a_side_are_counted():
    emotions = ("calm", "sad", "angry", "fearful", "disgust")
    confusion = np.zeros((5, 5), int)
    confusion[1, 0], confusion[1, 2], confusion[2, 3], confusion[2, 4], confusion[0, 0] = 3, 1, 4, 9, 50
    found = arousal_valence.kept_by_errors(confusion, emotions, arousal_valence.AROUSAL)
    assert found["errors"] == 8, "disgust has no side"
    assert found["kept"] == pytest.approx(7 / 8)
    assert found["chance"] == pytest.approx(1 / 3), "one of three wrong emotions is on the same side"


def test_even_errors_keep_a_side_by_chance():
    confusion = np.ones((8, 8), int)
    for side in (arousal_valence.AROUSAL, arousal_valence.VALENCE):
        found = arousal_valence.kept_by_errors(confusion, EMOTIONS, side)
        assert found["kept"] == pytest.approx(found["chance"])
    assert np.isnan(arousal_valence.kept_by_errors(np.eye(8), EMOTIONS, arousal_valence.AROUSAL)["kept"])


def test_every_emotion_of_a_side_is_one_that_there_is():
    assert set(arousal_valence.AROUSAL) | set(arousal_valence.VALENCE) == set(EMOTIONS)
