import pytest
import torch
from torch_audiomentations import Compose

from ser_gpu.config import AugmentConfig
from ser_gpu.stages.augment import BandGain, Mixup, SpectrogramMask, WaveformAugment
from ser_gpu.stages.noise import AddNoise
from ser_gpu.stages.stretch import Warp


@pytest.fixture
def augment():
    return WaveformAugment(AugmentConfig(warp="waveform"), 16_000)


def test_the_chain_is_a_compose_of_what_the_configuration_names(augment, voices):
    augment(voices)
    assert isinstance(augment.chain, Compose)
    warp, noise = augment.chain.transforms
    assert (type(warp), warp.speed, warp.semitones, warp.shift_seconds) == (Warp, (0.87, 1.15), 1.8, 0.25)
    assert (type(noise), noise.min_snr_db, noise.p) == (AddNoise, 5.0, 0.5)


def test_training_changes_every_clip_and_keeps_shape_and_input(augment, voices):
    before = voices.clone()
    changed = augment(voices)
    assert changed.shape == voices.shape
    assert changed.isfinite().all()
    assert (changed != voices).any(dim=1).all()
    assert torch.equal(voices, before)


def test_the_same_seed_gives_the_same_batch(augment, voices):
    def draw(seed):
        torch.manual_seed(seed)
        return augment(voices)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


@pytest.mark.parametrize(
    "stage", [WaveformAugment(AugmentConfig(), 16_000), BandGain(AugmentConfig()), SpectrogramMask(AugmentConfig())]
)
def test_eval_is_exactly_the_identity_and_draws_nothing(stage, voices):
    state = torch.get_rng_state()
    assert stage.eval()(voices) is voices
    assert torch.equal(torch.get_rng_state(), state)


def test_disabled_augmentation_is_the_identity_in_training(voices):
    off = AugmentConfig(enabled=False)
    assert WaveformAugment(off, 16_000)(voices) is voices
    assert BandGain(off)(voices) is voices
    assert SpectrogramMask(off)(voices) is voices
    assert Mixup(off, 8)(voices, torch.arange(8))[0] is voices


def test_band_gains_are_one_a_band_smooth_and_of_the_strength_asked_for():
    torch.manual_seed(0)
    gains = BandGain(AugmentConfig(band_gain_probability=1, band_gain_db=4))(torch.zeros(2_000, 1, 64, 5))[:, 0]
    assert torch.equal(gains, gains[:, :, :1].expand_as(gains))
    knots = gains[:, [0, 63], 0]
    assert knots.std().item() == pytest.approx(4.0, rel=0.05)  # 4,000 draws, two standard errors are 2 %
    assert gains[:, :, 0].diff(n=2, dim=1).abs().median() < 1e-4, "straight between six knots"


def test_band_gains_meet_the_share_of_clips_asked_for():
    torch.manual_seed(0)
    gains = BandGain(AugmentConfig(band_gain_probability=0.25))(torch.zeros(1_000, 1, 64, 5))[:, 0]
    assert 0.2 < (gains != 0).any(dim=2).any(dim=1).float().mean() < 0.3  # three and a half standard deviations


def test_masks_hide_at_most_what_they_may():
    config = AugmentConfig(band_masks=2, band_width=12, frame_masks=1, frame_width=30)
    masked = SpectrogramMask(config)(torch.ones(500, 1, 64, 188))
    bands = (masked == 0).all(dim=3).sum(dim=(1, 2))
    frames = (masked == 0).all(dim=2).sum(dim=(1, 2))
    assert 12 < bands.max() <= 24
    assert 25 <= frames.max() <= 30
    assert bands.min() == frames.min() == 0
    assert len({tuple(row.flatten().tolist()) for row in masked[:20]}) == 20, "each clip has its own masks"


@pytest.mark.parametrize("stage", [BandGain, SpectrogramMask])
def test_each_picture_of_a_clip_has_its_own_gain_and_masks(stage):
    torch.manual_seed(0)
    changed = stage(AugmentConfig())(torch.ones(8, 2, 64, 188))
    assert (changed[:, 0] != changed[:, 1]).flatten(1).any(dim=1).all()


def test_mixup_blends_clips_and_labels_by_the_same_weight():
    config = AugmentConfig(mixup_probability=1.0, mixup_beta=1.0)
    labels = torch.arange(8)
    spectrogram = torch.nn.functional.one_hot(labels, 8).float()[:, None, :, None]
    mixed, targets = Mixup(config, 8)(spectrogram, labels)
    torch.testing.assert_close(mixed[:, 0, :, 0], targets)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(8))
    assert ((targets > 0).sum(dim=1) == 2).any()


def test_mixup_leaves_the_share_that_it_should():
    config = AugmentConfig(mixup_probability=0.5)
    labels = torch.arange(1_000) % 8
    _, targets = Mixup(config, 8)(torch.zeros(1_000, 1, 1, 1), labels)
    untouched = (targets.amax(dim=1) == 1).float().mean()
    assert 0.5 <= untouched <= 0.72  # half, and partners of the same emotion: one in eight of the rest, and rounding


def test_mixup_in_eval_only_encodes_the_labels(voices):
    mixup = Mixup(AugmentConfig(), 8).eval()
    spectrogram, targets = mixup(voices, torch.arange(8))
    assert spectrogram is voices
    assert torch.equal(targets, torch.eye(8))
