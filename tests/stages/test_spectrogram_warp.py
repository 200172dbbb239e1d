import math
from dataclasses import replace

import librosa
import numpy as np
import pytest
import torch

from ser_gpu.config import PICTURES, AugmentConfig, MelConfig
from ser_gpu.stages.augment import WaveformAugment
from ser_gpu.stages.mel import LogMel
from ser_gpu.stages.spectrogram_warp import SpectrogramWarp, hertz_to_mel, mel_to_hertz
from ser_gpu.stages.stretch import change_speed

RATE = 16_000
MEL = MelConfig()
STILL = AugmentConfig(
    warp="spectrogram", speed_probability=0, pitch_probability=0, stretch_probability=0, shift_probability=0
)


def warped(decibels, **settings):
    return SpectrogramWarp(replace(STILL, **settings), [MEL], RATE)(decibels.unsqueeze(1)).squeeze(1)


def decibels_of(*hertz, mel=MEL):
    time = torch.arange(3 * RATE) / RATE
    return LogMel(mel, RATE).decibels(torch.stack([torch.sin(2 * math.pi * each * time) for each in hertz]))


def test_the_mel_scale_is_librosas_and_its_inverse_is_one():
    hertz = torch.linspace(0, 8_000, 801)
    np.testing.assert_allclose(hertz_to_mel(hertz), librosa.hz_to_mel(hertz.numpy()), atol=1e-4)  # float32, up to 45
    torch.testing.assert_close(mel_to_hertz(hertz_to_mel(hertz)), hertz, atol=0.01, rtol=1e-5)


def test_nothing_drawn_is_the_identity():
    decibels = decibels_of(300.0, 2_000.0)
    # places are rounded in float32: 1e-5 of a band, of steps up to 60 dB
    torch.testing.assert_close(warped(decibels), decibels, atol=1e-3, rtol=0)


@pytest.mark.parametrize("hertz", [250.0, 700.0, 1_500.0, 4_000.0])
@pytest.mark.parametrize("semitones", [-3.0, 2.0])
def test_a_tone_comes_to_the_band_of_its_new_pitch(hertz, semitones):
    factor = 2 ** (semitones / 12)
    moved = warped(decibels_of(hertz), speed_probability=1, min_speed=factor, max_speed=factor)
    middle = MEL.n_mels, 94
    bands = [int(each[0, :, middle[1]].argmax()) for each in (moved, decibels_of(hertz * factor))]
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
        return (one - other)[:, below_the_cut].abs().mean()

    assert distance(moved, heard) < 0.5 * distance(still, heard)


@pytest.mark.parametrize("semitones", [-3.0, 2.0])
def test_pictures_of_a_clip_move_together_each_in_its_own_bands(semitones):
    factor = 2 ** (semitones / 12)
    mels = [MEL.picture(name) for name in PICTURES]

    def pictures_of(*hertz):
        return torch.stack([decibels_of(*hertz, mel=mel) for mel in mels], dim=1)

    warp = SpectrogramWarp(replace(STILL, speed_probability=1, min_speed=factor, max_speed=factor), mels, RATE)
    moved, heard = (each[:, :, :, 94].argmax(dim=2) for each in (warp(pictures_of(500.0)), pictures_of(500.0 * factor)))
    assert (moved - heard).abs().max() <= 1
    torch.manual_seed(0)
    shorter = replace(STILL, stretch_probability=1, min_stretch=1.2, max_stretch=1.6, shift_probability=1)
    sounds = SpectrogramWarp(shorter, mels, RATE)(torch.zeros(8, 3, 64, 188)) > -MEL.top_db
    assert torch.equal(sounds, sounds[:, :1].expand_as(sounds))
    assert len({tuple(row.tolist()) for row in sounds[:, 0, 0]}) == 8, "each clip by its own draw"


def test_faster_is_shorter_around_the_centre_and_silent_outside():
    decibels = torch.zeros(1, 64, 188)
    half = warped(decibels, stretch_probability=1, min_stretch=2.0, max_stretch=2.0)[0, 0]
    sounds = (half > -MEL.top_db).nonzero().flatten()
    assert (sounds.min(), sounds.max()) == (47, 140)
    assert set(half.tolist()) == {0.0, -MEL.top_db}


def test_shift_moves_frames_and_keeps_them():
    torch.manual_seed(1)
    decibels = torch.full((32, 64, 188), -MEL.top_db)
    decibels[:, :, 94] = 0.0
    moved = warped(decibels, shift_probability=1, shift_seconds=0.25)
    at = moved[:, 0].argmax(dim=1)
    assert at.min() < 85 < 103 < at.max()
    assert (at - 94).abs().max() <= 0.25 * RATE / MEL.hop + 1


def test_probabilities_hold_for_each_clip_alone():
    torch.manual_seed(0)
    decibels = decibels_of(500.0).expand(1_000, -1, -1)
    moved = warped(decibels, pitch_probability=0.25)
    changed = ((moved - decibels).abs().amax(dim=(1, 2)) > 1.0).float().mean()
    assert 0.2 < changed < 0.3  # a quarter of 1,000, three and a half standard deviations


@pytest.mark.parametrize("config", [AugmentConfig(warp="waveform"), AugmentConfig(enabled=False)])
def test_it_leaves_alone_what_is_not_its_own(config):
    decibels = torch.randn(2, 1, 64, 188)
    assert SpectrogramWarp(config, [MEL], RATE)(decibels) is decibels


def test_eval_is_the_identity_and_draws_nothing():
    decibels = torch.randn(2, 1, 64, 188)
    state = torch.get_rng_state()
    assert SpectrogramWarp(AugmentConfig(warp="spectrogram"), [MEL], RATE).eval()(decibels) is decibels
    assert torch.equal(torch.get_rng_state(), state)


def test_the_waveform_is_then_left_to_noise_alone(voices):
    augment = WaveformAugment(replace(STILL, noise_probability=0), RATE)
    assert torch.equal(augment(voices), voices)
