import pytest
import torch

from ser_gpu.config import CnnConfig, MelConfig, ModelConfig, TtaConfig
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.tta import TestTimeAugmentation

MEL = MelConfig()


def copies_of(decibels, **settings):
    return TestTimeAugmentation(TtaConfig(**settings), MEL).eval()(decibels).unflatten(0, (-1, 3))


@pytest.fixture
def decibels():
    """A tone in band 30 of the middle 80 frames, for three clips of three levels."""
    clip = torch.full((3, 1, MEL.n_mels, 188), -MEL.top_db)
    clip[:, 0, 30, 54:134] = torch.tensor([0.0, -10.0, -20.0])[:, None]
    return clip


def test_the_first_copy_is_the_clip_and_every_copy_has_its_clips_in_order(decibels):
    copies = copies_of(decibels)
    assert len(copies) == 9
    assert torch.equal(copies[0], decibels)
    loudest = copies.amax(dim=(2, 3, 4))
    assert (loudest[:, 0] > loudest[:, 1]).all()
    assert (loudest[:, 1] > loudest[:, 2]).all()


def test_the_copies_are_at_three_pitches_and_three_tempi(decibels):
    copies = copies_of(decibels, semitones=2.0, tempo=1.25)
    band = [int(copy[0, 0, :, 94].argmax()) for copy in copies]
    assert band[6] < band[0] < band[3]
    assert band == [band[0]] * 3 + [band[3]] * 3 + [band[6]] * 3
    sounding = [int((copy[0, 0] > -40.0).any(dim=0).sum()) for copy in copies]
    assert sounding == pytest.approx([80, 80 / 1.25, 80 * 1.25] * 3, abs=1)


def test_without_other_tempi_there_are_three_pitches(decibels):
    assert torch.equal(copies_of(decibels, tempo=1.0), copies_of(decibels)[::3])


def test_training_and_a_configuration_without_it_hear_the_clip_alone(decibels):
    assert TestTimeAugmentation(TtaConfig(), MEL).train()(decibels) is decibels
    assert TestTimeAugmentation(TtaConfig(enabled=False), MEL).eval()(decibels) is decibels


def test_the_models_answer_is_the_mean_over_copies(voices):
    model = SpeechEmotionModel(ModelConfig(cnn=CnnConfig(width=16))).eval()
    of_copies = model.cnn(model.spectrogram(voices)).mean(dim=0)
    expected = torch.stack(of_copies.split(len(voices))).mean(dim=0)
    torch.testing.assert_close(model(voices), expected, atol=1e-6, rtol=0)  # float32, another order
