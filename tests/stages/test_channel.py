import math

import numpy as np
import pytest
import torch

from ser_gpu.config import AugmentConfig
from ser_gpu.stages.channel import KNOTS_HZ, AddNoise, RandomChannel, band, colour, coloured_noise, room

RATE = 16_000


def tone(hertz, samples=48_000):
    return torch.sin(2 * math.pi * hertz * torch.arange(samples) / RATE)


def decibels(power):
    return 10 * math.log10(power)


def fixed(batch, **changes):
    """A channel that does nothing, but for the changes."""
    channel = RandomChannel(AugmentConfig(channel_colour_db=0.0, channel_probability=1.0), RATE)
    channel(torch.zeros(batch, 1, 48_000))
    channel.freeze_parameters()
    neutral = {"low_cut": 1e-3, "high_cut": 1e6, "direct_to_reverb_db": 200.0}
    channel.transform_parameters["chosen"] = torch.arange(batch)
    channel.transform_parameters["drawn"] |= {name: torch.full((batch,), value) for name, value in neutral.items()}
    channel.transform_parameters["drawn"] |= changes
    return channel


def test_a_channel_that_changes_nothing_is_the_identity():
    noise = torch.randn(3, 1, 48_000)
    torch.testing.assert_close(fixed(3)(noise).samples, noise, atol=1e-4, rtol=0)


def test_each_clip_has_its_own_gain_at_each_octave():
    gains = torch.zeros(2, len(KNOTS_HZ))
    gains[0, 4], gains[1, 5] = -9.0, 6.0  # 1 kHz down in the first clip, 2 kHz up in the second
    channel = fixed(2, colour_db=gains)
    for hertz, expected in ((500, (0, 0)), (1_000, (-9, 0)), (2_000, (0, 6))):
        heard = channel(tone(hertz).expand(2, 1, -1)).samples[:, 0, 8_000:-8_000]
        for row, gain in zip(heard, expected, strict=True):
            assert decibels(row.square().mean() / 0.5) == pytest.approx(gain, abs=0.1)


def test_the_band_is_3_db_down_at_its_cuts_and_steep_beyond():
    hertz = torch.tensor([10.0, 200.0, 800.0, 3_400.0, 6_800.0])
    amplitude = band(torch.tensor([200.0]), torch.tensor([3_400.0]), hertz)[0]
    levels = [20 * math.log10(value) for value in amplitude]
    assert levels == pytest.approx([-104, -3, 0, -3, -24], abs=0.2)


def test_colours_are_straight_over_octaves_and_flat_beyond():
    gains = torch.arange(8.0)[None]
    hertz = torch.tensor([0.0, 62.5, 125.0, 125.0 * 2**0.5, 8_000.0])
    assert (20 * colour(gains, hertz)[0].log10()).tolist() == pytest.approx([0, 0, 1, 1.5, 7], abs=1e-3)


def test_a_room_decays_by_60_db_in_its_time_and_keeps_its_ratio():
    impulse = room(torch.randn(1, 8_000), torch.tensor([0.4]), torch.tensor([6.0]), RATE)[0]
    direct, tail = impulse[0].item(), impulse[1:]
    assert direct == pytest.approx(1.0, abs=0.1)
    assert decibels(tail.square().sum()) == pytest.approx(-6.0, abs=0.2)
    early, late = tail[:800].square().mean(), tail[4_000:4_800].square().mean()
    assert decibels(early / late) == pytest.approx(60 * 0.25 / 0.4, abs=1.5)  # 4,000 samples are 0.25 s


def test_only_as_many_clips_as_asked_for_change():
    channel = RandomChannel(AugmentConfig(channel_probability=0.25), RATE)
    noise = torch.randn(16, 1, 8_000)
    changed = (channel(noise).samples != noise).any(dim=2).sum()
    assert changed == 4
    assert torch.equal(channel.eval()(noise).samples, noise)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 40.0])
def test_the_ratio_is_what_was_asked(snr_db, voices):
    config = AugmentConfig(noise_probability=1.0, min_snr_db=snr_db, max_snr_db=snr_db, max_noise_decay=2.0)
    noisy = AddNoise(config, RATE)(voices[:, None]).samples.squeeze(1)
    measured = 10 * torch.log10(voices.square().mean(1) / (noisy - voices).square().mean(1))
    torch.testing.assert_close(measured, torch.full((8,), snr_db), atol=0.02, rtol=0)


@pytest.mark.parametrize("decay", [0.0, 1.0, 2.0])
def test_the_spectrum_falls_as_asked(decay):
    noise = coloured_noise(torch.full((64,), decay), 2**15)
    power = torch.fft.rfft(noise).abs().square().mean(0)[8:8_000].numpy()
    slope = np.polyfit(np.log(np.arange(8, 8_000)), np.log(power), 1)[0]
    assert abs(slope + decay) < 0.05


def test_silence_stays_silent():
    assert not AddNoise(AugmentConfig(noise_probability=1.0), RATE)(torch.zeros(2, 1, 4_000)).samples.any()
