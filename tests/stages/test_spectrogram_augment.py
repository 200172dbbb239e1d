import math
from dataclasses import replace

import librosa
import numpy as np
import pytest
import torch

from ser_gpu.config import FILLS, AugmentConfig, MelConfig
from ser_gpu.stages.mel import LogMel
from ser_gpu.stages.spectrogram_augment import (
    BandGain,
    Mixup,
    SpectrogramMask,
    SpectrogramWarp,
    hertz_to_mel,
    mel_to_hertz,
)
from ser_gpu.stages.stretch import change_speed
from ser_gpu.stages.waveform_augment import WaveformAugment

RATE = 16_000
MEL = MelConfig()
STILL = AugmentConfig(
    warp="spectrogram", speed_probability=0, pitch_probability=0, stretch_probability=0, shift_probability=0
)


def warped(decibels, fill="silence", **settings):
    return SpectrogramWarp(replace(STILL, **settings), MEL, RATE, fill)(decibels)


def decibels_of(*hertz, mel=MEL):
    time = torch.arange(3 * RATE) / RATE
    return LogMel(mel, RATE).decibels(torch.stack([torch.sin(2 * math.pi * each * time) for each in hertz]))


def test_the_mel_scale_is_librosas_and_its_inverse_is_one():
    hertz = torch.linspace(0, 8_000, 801)
    np.testing.assert_allclose(hertz_to_mel(hertz), librosa.hz_to_mel(hertz.numpy()), atol=1e-4)  # float32, up to 45
    torch.testing.assert_close(mel_to_hertz(hertz_to_mel(hertz)), hertz, atol=0.01, rtol=1e-5)


@pytest.mark.parametrize("fill", FILLS)
def test_nothing_drawn_is_the_identity(fill):
    decibels = decibels_of(300.0, 2_000.0)
    # places are rounded in float32: 1e-5 of a band, of steps up to 60 dB
    torch.testing.assert_close(warped(decibels, fill), decibels, atol=1e-3, rtol=0)


def test_a_repeated_clip_continues_at_its_other_edge():
    every_20_frames = torch.arange(181).remainder(20).float().expand(16, 1, 64, -1)
    moved = warped(every_20_frames, "repeat", shift_probability=1, shift_seconds=0.25)
    steps = moved.diff(dim=3)[:, 0, 0]  # along a saw, also where it begins again
    assert ((steps - 1).abs() < 1e-3).sum(dim=1).min() >= 180 - 2 * 10
    assert moved.amin() >= 0.0


@pytest.mark.parametrize("hertz", [250.0, 700.0, 1_500.0, 4_000.0])
@pytest.mark.parametrize("semitones", [-3.0, 2.0])
def test_a_tone_comes_to_the_band_of_its_new_pitch(hertz, semitones):
    factor = 2 ** (semitones / 12)
    moved = warped(decibels_of(hertz), speed_probability=1, min_speed=factor, max_speed=factor)
    bands = [int(each[0, 0, :, 94].argmax()) for each in (moved, decibels_of(hertz * factor))]
    assert abs(bands[0] - bands[1]) <= 1


@pytest.mark.parametrize("factor", [0.87, 1.15])
def test_it_shows_what_the_waveform_played_faster_shows(voices, factor):
    mel = LogMel(MEL, RATE)
    voices = voices[:, :48_000]
    heard = mel.decibels(change_speed(voices, torch.full((len(voices),), factor)))
    moved = warped(mel.decibels(voices), speed_probability=1, min_speed=factor, max_speed=factor)
    still = mel.decibels(voices)
    below_the_cut = slice(0, 58)  # slower than it was, a waveform has nothing above 0.87 of 8 kHz

    def distance(one, other):
        return (one - other)[:, :, below_the_cut].abs().mean()

    assert distance(moved, heard) < 0.5 * distance(still, heard)


def test_faster_is_shorter_around_the_centre_and_silent_outside():
    decibels = torch.zeros(1, 1, 64, 188)
    half = warped(decibels, stretch_probability=1, min_stretch=2.0, max_stretch=2.0)[0, 0, 0]
    sounds = (half > -MEL.top_db).nonzero().flatten()
    assert (sounds.min(), sounds.max()) == (47, 140)
    assert set(half.tolist()) == {0.0, -MEL.top_db}


def test_shift_moves_frames_and_keeps_them():
    torch.manual_seed(1)
    decibels = torch.full((32, 1, 64, 188), -MEL.top_db)
    decibels[..., 94] = 0.0
    moved = warped(decibels, shift_probability=1, shift_seconds=0.25)
    at = moved[:, 0, 0].argmax(dim=1)
    assert at.min() < 85 < 103 < at.max()
    assert (at - 94).abs().max() <= 0.25 * RATE / MEL.hop + 1


def test_probabilities_hold_for_each_clip_alone():
    decibels = decibels_of(500.0).expand(1_000, -1, -1, -1)
    moved = warped(decibels, pitch_probability=0.25)
    changed = ((moved - decibels).abs().amax(dim=(1, 2, 3)) > 1.0).float().mean()
    assert 0.2 < changed < 0.3  # a quarter of 1,000, three and a half standard deviations


def test_either_the_spectrogram_is_warped_or_the_waveform(voices):
    decibels = torch.randn(2, 1, 64, 188)
    assert SpectrogramWarp(AugmentConfig(warp="waveform"), MEL, RATE)(decibels) is decibels
    augment = WaveformAugment(AugmentConfig(warp="spectrogram", noise_probability=0), RATE)
    assert torch.equal(augment(voices), voices)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "disabled"])
@pytest.mark.parametrize(
    ("stage", "more", "given"),
    [
        (BandGain, (), ()),
        (SpectrogramMask, (), ()),
        (SpectrogramWarp, (MEL, RATE), ()),
        (WaveformAugment, (RATE,), ()),
        (Mixup, (8,), (torch.arange(8),)),
    ],
)
def test_eval_and_disabled_augmentation_are_the_identity_and_draw_nothing(stage, more, given, training):
    decibels = torch.randn(8, 1, 64, 188)
    state = torch.get_rng_state()
    answer = stage(AugmentConfig(enabled=not training), *more).train(training)(decibels, *given)
    assert (answer[0] if given else answer) is decibels
    assert not given or torch.equal(answer[1], torch.eye(8)), "mixup encodes the labels"
    assert torch.equal(torch.get_rng_state(), state)


def test_band_gains_are_one_a_band_smooth_and_of_the_strength_asked_for():
    gains = BandGain(AugmentConfig(band_gain_probability=1, band_gain_db=4))(torch.zeros(2_000, 1, 64, 5))[:, 0]
    assert torch.equal(gains, gains[:, :, :1].expand_as(gains))
    knots = gains[:, [0, 63], 0]
    assert knots.std().item() == pytest.approx(4.0, rel=0.05)  # 4,000 draws, two standard errors are 2 %
    assert gains[:, :, 0].diff(n=2, dim=1).abs().median() < 1e-4, "straight between six knots"


def test_band_gains_meet_the_share_of_clips_asked_for():
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
