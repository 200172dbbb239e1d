import threading

import pytest
import torch

from ser_gpu.audio.waveform import load
from ser_gpu.stages.vad import SpeechProbability


@pytest.fixture(scope="module")
def detector():
    return SpeechProbability()


def test_noise_silence_and_tones_are_no_speech(detector):
    torch.manual_seed(0)
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(31_744) / 16_000)
    for sound in (torch.zeros(31_744), 0.1 * torch.randn(31_744), tone):
        assert float(detector(sound)[0].max()) < 0.3


def test_state_makes_two_parts_the_whole(detector):
    sound = 0.1 * torch.randn(20 * 512)
    whole, _ = detector(sound)
    first, state = detector(sound[: 7 * 512])
    second, _ = detector(sound[7 * 512 :], state)
    # the convolutions of 7 and of 20 frames may add in another order
    torch.testing.assert_close(torch.cat([first, second]), whole, atol=1e-5, rtol=0)


def test_threads_get_the_same_and_weights_are_in_no_checkpoint(detector):
    sound, answers = 0.1 * torch.randn(40 * 512), []
    threads = [threading.Thread(target=lambda: answers.append(detector(sound)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(answer, answers[0]) for answer in answers)
    assert not detector.state_dict()


@pytest.mark.ravdess
def test_voices_are_speech(detector, ravdess_paths):
    for path in ravdess_paths[::96]:
        waveform = load(path, 16_000)
        speech, _ = detector(waveform[: len(waveform) // 512 * 512])
        assert int((speech >= 0.5).sum()) >= 10
        assert float(speech[:5].max()) < 0.5, "the silence before it"
