import math

import pytest
import torch

from experiments.sounds import CONDITIONS, at_level, in_noise, telephone
from ser_gpu.audio.samples import level
from tests.conftest import synthetic_voice


@pytest.fixture
def voice():
    return torch.from_numpy(level(synthetic_voice(3, 1, 0, seconds=1.0, sample_rate=48_000)))


def generator():
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_condition_gives_a_sound_and_the_same_one_again(name, voice):
    sound, rate = CONDITIONS[name](voice, 48_000, generator())
    again, _ = CONDITIONS[name](voice, 48_000, generator())
    assert torch.equal(sound, again)
    assert sound.isfinite().all()
    assert len(sound) / rate >= 0.99 * len(voice) / 48_000
    assert (rate, len(sound)) == (48_000, len(voice)) or name != "as recorded"


@pytest.mark.parametrize(("decay", "snr_db"), [(0.0, 20.0), (1.0, 5.0)])
def test_noise_has_its_ratio(decay, snr_db, voice):
    noise = in_noise(decay, snr_db)(voice, 48_000, generator())[0] - voice
    assert 10 * math.log10(voice.square().mean() / noise.square().mean()) == pytest.approx(snr_db, abs=0.05)


def test_a_telephone_has_no_bass_and_no_treble():
    time = torch.arange(48_000) / 48_000
    power = {}
    for hertz in (60.0, 1_000.0, 3_900.0):
        sound, rate = telephone(
            torch.sin(2 * math.pi * hertz * time) + torch.sin(2 * math.pi * 500 * time), 48_000, None
        )
        spectrum = torch.fft.rfft(sound[:8_000]).abs()
        power[hertz] = (spectrum[round(hertz)] / spectrum[500]).item()
        assert rate == 8_000
    assert power[60.0] < 0.1
    assert power[1_000.0] == pytest.approx(1, abs=0.2)
    assert power[3_900.0] < 0.5


def test_levels_are_levels_and_clip_above_full_scale(voice):
    quiet, _ = at_level(-40.0)(voice, 48_000, generator())
    loud, _ = at_level(12.0)(voice, 48_000, generator())
    assert quiet.abs().max() == pytest.approx(0.01, rel=1e-2)
    assert (loud.abs() == 1).float().mean() > 0.01
