import numpy as np
import pytest

from ser_gpu.audio.samples import load
from ser_gpu.audio.silero import SpeechProbability

RATE = 16_000


def noise(frames):
    return 0.1 * np.random.default_rng(0).normal(size=512 * frames).astype(np.float32)


@pytest.fixture(scope="module")
def detector():
    return SpeechProbability()


def test_state_makes_two_parts_the_whole_and_clips_side_by_side_are_each_as_alone(detector):
    sounds = np.stack([noise(20), 0.2 * noise(20), np.zeros(20 * 512, np.float32)])
    alone = np.stack([detector(sound)[0] for sound in sounds])
    for sound, whole in ((sounds, alone), (sounds[0], alone[0])):
        first, state = detector(sound[..., : 7 * 512])
        second, _ = detector(sound[..., 7 * 512 :], state)
        # the convolutions of 7 and of 20 frames may add in another order
        np.testing.assert_allclose(np.concatenate([first, second], axis=-1), whole, atol=1e-5, rtol=0)


@pytest.mark.ravdess
def test_voices_are_speech(detector, ravdess_paths):
    for path in ravdess_paths[::96]:
        waveform = load(path, 16_000).numpy()
        speech, _ = detector(waveform[: len(waveform) // 512 * 512])
        assert int((speech >= 0.5).sum()) >= 10
        assert float(speech[:5].max()) < 0.5, "the silence before it"
