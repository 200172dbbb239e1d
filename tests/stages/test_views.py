import pytest
import torch

from ser_gpu.config import MelConfig, ViewsConfig
from ser_gpu.model import ModelConfig, SpeechEmotionModel
from ser_gpu.stages.views import Views

MEL = MelConfig()


@pytest.fixture
def decibels():
    """A tone in band 30 of the middle 80 frames, for three clips of three levels."""
    picture = torch.full((3, 1, MEL.n_mels, 188), -MEL.top_db)
    picture[:, 0, 30, 54:134] = torch.tensor([0.0, -10.0, -20.0])[:, None]
    return picture


def test_the_first_view_is_the_clip_and_every_view_has_its_clips_in_order(decibels):
    views = Views(ViewsConfig(), [MEL]).eval()(decibels).unflatten(0, (-1, 3))
    assert len(views) == 9
    assert torch.equal(views[0], decibels)
    loudest = views.amax(dim=(2, 3, 4))
    assert (loudest[:, 0] > loudest[:, 1]).all()
    assert (loudest[:, 1] > loudest[:, 2]).all()


def test_the_views_are_three_pitches_at_three_tempi(decibels):
    views = Views(ViewsConfig(semitones=2.0, tempo=1.25), [MEL]).eval()(decibels).unflatten(0, (-1, 3))
    band = [int(view[0, 0, :, 94].argmax()) for view in views]
    assert band[6] < band[0] < band[3]
    assert band == [band[0]] * 3 + [band[3]] * 3 + [band[6]] * 3
    sounding = [int((view[0, 0] > -40.0).any(dim=0).sum()) for view in views]
    assert sounding == pytest.approx([80, 80 / 1.25, 80 * 1.25] * 3, abs=1)


def test_training_and_a_configuration_without_views_hear_the_clip_alone(decibels):
    assert Views(ViewsConfig(), [MEL]).train()(decibels) is decibels
    assert Views(ViewsConfig(enabled=False), [MEL]).eval()(decibels) is decibels


def test_the_models_answer_is_the_mean_over_views(voices):
    model = SpeechEmotionModel(ModelConfig()).eval()
    of_views = model.cnn(model.spectrogram(voices)).mean(dim=0)
    expected = torch.stack(of_views.split(len(voices))).mean(dim=0)
    torch.testing.assert_close(model(voices), expected, atol=1e-6, rtol=0)  # float32, another order
