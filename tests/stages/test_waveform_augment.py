import pytest
import torch
from torch_audiomentations import Compose

from ser_gpu.config import AugmentConfig
from ser_gpu.stages.channel import AddNoise, RandomChannel
from ser_gpu.stages.stretch import Warp
from ser_gpu.stages.waveform_augment import WaveformAugment, build_chain


@pytest.fixture
def augment():
    return WaveformAugment(AugmentConfig(warp="waveform"), 16_000)


def test_the_chain_is_a_compose_of_what_the_configuration_names(augment, voices):
    augment(voices)
    assert isinstance(augment.chain, Compose)
    warp, channel, noise = augment.chain.transforms
    assert (type(warp), warp.config, warp.p) == (Warp, augment.config, 1.0)
    assert (type(channel), channel.p) == (RandomChannel, 0.0)
    assert (type(noise), noise.config, noise.p) == (AddNoise, augment.config, 0.5)


def test_training_changes_every_clip_by_its_seed_and_keeps_shape_and_input(augment, voices):
    def draw(seed):
        torch.manual_seed(seed)
        return augment(voices)

    before, changed = voices.clone(), draw(1)
    assert changed.shape == voices.shape
    assert changed.isfinite().all()
    assert (changed != voices).any(dim=1).all()
    assert torch.equal(voices, before)
    assert torch.equal(draw(1), changed)
    assert not torch.equal(draw(2), changed)


def test_a_transform_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"AugmentConfig\.chain must be some of warp, channel, noise, got flap"):
        build_chain(AugmentConfig(chain="noise, flap"), 16_000)
