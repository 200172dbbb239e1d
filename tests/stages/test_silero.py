import math

import numpy as np
import pytest
import torch

from ser_gpu.audio import silero
from ser_gpu.audio.samples import load, resample
from ser_gpu.stages.silero import Resampled, SpeechDetector
from tests.conftest import synthetic_voice


@pytest.fixture(scope="module")
def detector():
    return SpeechDetector().eval()


def sounds(samples):
    """Noise, bursts of noise, silence, a tone and a quiet tone after a click."""
    time = np.arange(samples) / 16_000
    noise, tone = np.random.default_rng(0).normal(size=samples), np.sin(2 * np.pi * 440 * time)
    clicked = np.where(time > 1, 0.001 * tone, 0)
    clicked[:20] = 1
    rows = [noise, noise * np.sin(9 * time) ** 4, np.zeros(samples), tone, clicked]
    return np.stack(rows).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 700, 48_000, 48_130])
def test_it_computes_what_numpy_does(detector, samples):
    clips = sounds(samples)
    expected = silero.speech_probability(clips)
    assert expected.shape == (5, max(3, math.ceil(samples / 512)))
    # float32, sums in another order
    np.testing.assert_allclose(detector.speech_probability(torch.from_numpy(clips)), expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose(detector.levelled(torch.from_numpy(clips)), silero.levelled(clips), atol=1e-5, rtol=0)
    assert detector(torch.from_numpy(clips)).tolist() == silero.speaks(clips).tolist() == [False] * 5


@pytest.mark.ravdess
def test_speech_is_heard_at_any_level_after_a_click_and_between_silences(detector, ravdess_paths):
    calm = [path for path in ravdess_paths if path.name[6:8] == "02"]
    for path in calm[::48]:
        voice = load(path, 16_000).numpy()
        click = np.zeros(32_000, np.float32)
        click[:20] = 1
        for sound in (voice, 1e-4 * voice, np.concatenate([click, 0.03 * voice]), np.pad(voice, 80_000)):
            assert silero.speaks(sound[None]).tolist() == detector(torch.from_numpy(sound)[None]).tolist() == [True]


def test_its_weights_are_no_part_of_a_model(detector):
    assert not detector.state_dict()
    assert not list(detector.parameters())
    assert SpeechDetector().half().final_conv_weight.dtype == torch.float32


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled_in_the_graph(rate):
    time = np.arange(rate) / rate
    tone = np.sin(2 * np.pi * 1_000 * time).astype(np.float32)
    heard = Resampled(rate)(torch.from_numpy(tone)[None])[0, :16_000].numpy()
    # within a filter's reach of an edge they differ, and by its ripple elsewhere
    np.testing.assert_allclose(heard[100:-100], resample(tone, rate, 16_000)[100:-100], atol=5e-3, rtol=0)
    voice = synthetic_voice(0, 1, 0, sample_rate=rate)
    assert SpeechDetector(rate)(torch.from_numpy(voice)[None]).tolist() == [True]
