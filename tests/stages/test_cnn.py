import pytest
import torch

from ser_gpu.config import HEADS, CnnConfig
from ser_gpu.errors import InputError
from ser_gpu.stages.cnn import EmotionCnn


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("width", "depth"), [(32, 4), (16, 3), (48, 5)])
@pytest.mark.parametrize("frames", [187, 188])
def test_shapes(head, width, depth, frames):
    config = CnnConfig(members=1, width=width, depth=depth, head=head)
    cnn = EmotionCnn(config, 64, frames, 8).eval()
    assert cnn(torch.randn(2, 1, 64, frames)).shape == (1, 2, 8)


def test_members_differ_and_each_answers_as_if_it_were_alone():
    cnn = EmotionCnn(CnnConfig(members=3), 64, 188, 8).eval()
    spectrogram = torch.randn(2, 1, 64, 188)
    answers = cnn(spectrogram)
    assert answers.shape == (3, 2, 8)
    assert not torch.allclose(answers[0], answers[1])
    for member, answer in zip(cnn.members, answers, strict=True):
        torch.testing.assert_close(member(spectrogram), answer)


def test_the_default_has_about_a_million_parameters_and_takes_any_number_of_frames():
    cnn = EmotionCnn(CnnConfig(), 64, 188, 8).eval()
    assert 1.0e6 < sum(p.numel() for p in cnn.parameters()) < 1.5e6
    assert cnn(torch.randn(2, 1, 64, 300)).shape == (2, 2, 8)


@pytest.mark.parametrize(
    ("network", "bands", "message"),
    [
        ("residual", 8, "8 bands and 188 frames are too few for 4 blocks"),
        ("resnet", 64, r"CnnConfig\.network must be one of residual, got 'resnet'"),
    ],
)
def test_what_cannot_be_built_is_named(network, bands, message):
    with pytest.raises(InputError, match=message):
        EmotionCnn(CnnConfig(network=network), bands, 188, 8)
