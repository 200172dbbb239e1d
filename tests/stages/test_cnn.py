import pytest
import torch

from ser_gpu.config import HEADS, CnnConfig
from ser_gpu.stages.cnn import EmotionCnn


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("width", "depth"), [(32, 4), (16, 3), (48, 5)])
@pytest.mark.parametrize("frames", [187, 188])
@pytest.mark.parametrize(("band_stride", "pool_first"), [(1, False), (2, False), (1, True)])
def test_shapes(head, width, depth, frames, band_stride, pool_first):
    config = CnnConfig(members=1, width=width, depth=depth, head=head, band_stride=band_stride, pool_first=pool_first)
    cnn = EmotionCnn(config, 64, frames, 8).eval()
    assert cnn(torch.randn(2, 1, 64, frames)).shape == (1, 2, 8)


def test_members_differ_and_each_answers_as_if_it_were_alone():
    cnn = EmotionCnn(CnnConfig(members=3), 64, 188, 8).eval()
    picture = torch.randn(2, 1, 64, 188)
    answers = cnn(picture)
    assert answers.shape == (3, 2, 8)
    assert not torch.allclose(answers[0], answers[1])
    for member, answer in zip(cnn.members, answers, strict=True):
        torch.testing.assert_close(member(picture), answer)


def test_members_take_the_pictures_in_turn():
    cnn = EmotionCnn(CnnConfig(members=3, sees="wide,narrow"), 64, 188, 8).eval()
    pictures = torch.randn(2, 2, 64, 188)
    for member, answer, seen in zip(cnn.members, cnn(pictures), (0, 1, 0), strict=True):
        torch.testing.assert_close(member(pictures[:, seen : seen + 1]), answer)


def test_the_default_has_about_a_million_parameters():
    assert 1.0e6 < sum(p.numel() for p in EmotionCnn(CnnConfig(), 64, 188, 8).parameters()) < 1.5e6


@pytest.mark.parametrize("head", [head for head in HEADS if head != "flatten"])
def test_pooling_takes_any_number_of_frames(head):
    cnn = EmotionCnn(CnnConfig(members=1, head=head), 64, 188, 8).eval()
    assert cnn(torch.randn(2, 1, 64, 300)).shape == (1, 2, 8)


def test_a_clip_alone_equals_the_clip_in_a_batch():
    cnn = EmotionCnn(CnnConfig(sees="wide,narrow"), 64, 188, 8).eval()
    batch = torch.randn(4, 2, 64, 188)
    torch.testing.assert_close(cnn(batch)[:, 2:3], cnn(batch[2:3]), atol=1e-5, rtol=0)


def test_too_small_a_picture_is_refused():
    with pytest.raises(ValueError, match="8 bands and 188 frames are too few for 4 blocks"):
        EmotionCnn(CnnConfig(), 8, 188, 8)
