from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

from experiments import acoustics
from ser_gpu.config import TrimConfig
from ser_gpu.corpora.clip import Clip
from ser_gpu.stages.trim import TrimSilence

RATE = 16_000


def tone(hertz, seconds=1.0):
    return torch.sin(2 * torch.pi * hertz * torch.arange(round(seconds * RATE)) / RATE)


def test_the_interval_is_that_of_students_t():
    values = np.random.default_rng(0).normal(5.0, 2.0, size=(24, 3))
    found = acoustics.over_speakers(values)
    half = 2.0687 * values.std(axis=0, ddof=1) / 24**0.5
    assert found.mean == pytest.approx(values.mean(axis=0))
    assert found.high - found.mean == pytest.approx(half, rel=1e-4)
    assert found.mean - found.low == pytest.approx(half, rel=1e-4)


def test_an_interval_needs_two_speakers_and_leaves_out_the_unknown():
    found = acoustics.over_speakers(np.array([[1.0, np.nan, np.nan], [3.0, 4.0, np.nan], [np.nan, 6.0, 1.0]]))
    assert found.mean[:2] == pytest.approx([2.0, 5.0])
    assert np.isnan(found.mean[2])


def test_differences_are_within_a_speaker():
    """Speakers far apart, each a unit higher when angry: the difference is one, without a spread."""
    speakers = np.repeat([1, 2, 3], 4)
    angry = np.tile([True, True, False, False], 3)
    values = 100.0 * speakers + angry
    found = acoustics.difference(values, angry, ~angry, speakers)
    assert (found.mean, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))
    apart = acoustics.deviations(values, angry.astype(int), speakers, 2)
    assert apart.mean == pytest.approx([-0.5, 0.5])


def test_a_clip_without_a_value_does_not_count():
    values = np.array([1.0, np.nan, 5.0])
    means = acoustics.speaker_means(values, np.array([True, True, True]), np.array([1, 1, 2]))
    assert means == pytest.approx([1.0, 5.0])


@pytest.mark.parametrize("hertz", [300.0, 1_000.0, 5_000.0])
def test_a_pure_tone_is_its_own_centroid(hertz):
    shares = acoustics.spectrum_shares(tone(hertz)[None])
    assert shares.sum().item() == pytest.approx(1, abs=1e-5)
    assert acoustics.centroid(shares, RATE).item() == pytest.approx(hertz, abs=3), "a fifth of a bin"


def test_energy_above_a_frequency():
    both = acoustics.spectrum_shares((tone(500) + tone(4_000))[None])
    assert acoustics.energy_above(both, RATE, 2_000).item() == pytest.approx(-3.01, abs=0.02)
    louder = acoustics.spectrum_shares((10 * (tone(500) + tone(4_000)))[None])
    assert torch.allclose(both, louder, atol=1e-6)


def test_levels_of_bands_are_shares():
    power = torch.rand(3, 5, 7)
    levels = acoustics.band_levels(power)
    assert (10 ** (levels / 10)).sum(dim=1).numpy() == pytest.approx(np.ones(3))
    assert torch.allclose(levels, acoustics.band_levels(100 * power), atol=1e-4)


def test_tempo_counts_seven_syllables():
    assert acoustics.syllables_per_second(np.array([3.5])) == pytest.approx([2.0])


def test_the_drawn_levels_are_those_that_trim():
    config = TrimConfig()
    sound = torch.cat([torch.zeros(8_000), tone(200, 0.5), torch.zeros(6_000)]) + 1e-4
    levels = acoustics.frame_levels(sound.numpy(), config.frame_length, config.hop)
    start, end = (int(bound) for bound in TrimSilence(config, 48_000).bounds(sound[None]))
    loud = np.flatnonzero(levels > -config.top_db)
    assert (start, end) == (loud[0] * config.hop, min(len(sound), (loud[-1] + 1) * config.hop))


def test_bands_are_centred_as_librosas():
    assert acoustics.band_centres(64, 20.0, 8_000.0) == pytest.approx(
        librosa.mel_frequencies(66, fmin=20, fmax=8_000)[1:-1]
    )


def said(speaker, emotion, statement="1"):
    extra = (("intensity", "normal"), ("statement", statement))
    return Clip("clip", Path("clip.wav"), emotion, speaker, "ravdess", extra=extra)


def test_distances_are_grouped_by_what_clips_share():
    clips = [said("1", "sad"), said("1", "sad"), said("1", "calm"), said("2", "sad"), said("2", "calm")]
    clips.append(said("2", "calm", statement="2"))
    spectrograms = torch.randn(6, 4, 5)
    spectrograms[1] = spectrograms[0] + 0.5
    found = acoustics.distances_by_relation(spectrograms, clips)
    assert [len(values) for values in found.values()] == [1, 3, 3, 3]
    repetitions = next(iter(found.values()))
    assert repetitions == pytest.approx([0.5], abs=1e-4)
    direct = (spectrograms[2] - spectrograms[4]).square().mean().sqrt().item()
    others = found["another speaker,\nsame emotion"]
    assert direct == pytest.approx(min(others, key=lambda d: abs(d - direct)), abs=1e-4)
