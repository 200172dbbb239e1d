import math

import numpy as np
import pytest
import soundfile
import torch

from ser_gpu.config import ModelConfig
from ser_gpu.data.audio_file import AudioError
from ser_gpu.data.waveform import level
from ser_gpu.model import NoSpeechError, SpeechEmotionModel
from tests.conftest import synthetic_voice


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = SpeechEmotionModel()
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.uniform_(norm.running_mean, -0.1, 0.1)
    return model.eval()


def test_raw_audio_in_logits_out(model):
    assert model(torch.randn(4, 48_000)).shape == (4, 8)
    assert model(torch.randn(2, 1_000)).shape == (2, 8)
    assert model(torch.randn(2, 100_000), torch.tensor([90_000, 60_000])).shape == (2, 8)


def test_a_clip_alone_equals_the_clip_in_a_batch(model, voices):
    lengths = torch.arange(9_000, 9_000 + 8 * 700, 700)
    together = model(voices, lengths)
    for i, length in enumerate(lengths):
        torch.testing.assert_close(together[i : i + 1], model(voices[i : i + 1, :length]), atol=1e-5, rtol=0)


def test_eval_repeats_itself_and_train_does_not(voices):
    model = SpeechEmotionModel().eval()
    assert torch.equal(model(voices), model(voices))
    model.train()
    assert not torch.equal(model.spectrogram(voices), model.spectrogram(voices))


def test_training_reaches_every_weight(voices):
    model = SpeechEmotionModel().train()
    model(voices).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_autocast_touches_the_cnn_alone(model, voices):
    with torch.autocast("cpu", torch.bfloat16):
        spectrogram = model.spectrogram(voices)
        assert model(voices).dtype == torch.bfloat16
    assert torch.equal(spectrogram, model.spectrogram(voices))


@pytest.mark.parametrize("waveform", [torch.zeros(48_000), torch.zeros(2, 0), torch.zeros(2, 8_000, dtype=torch.int16)])
def test_forward_refuses_what_is_no_batch_of_waveforms(model, waveform):
    with pytest.raises(ValueError, match="waveform must be"):
        model(waveform)


def test_silence_gives_finite_logits(model):
    assert model(torch.zeros(1, 48_000)).isfinite().all()


def assert_sound(prediction):
    assert prediction.emotion == max(prediction.probabilities, key=prediction.probabilities.get)
    assert prediction.confidence == prediction.probabilities[prediction.emotion]
    assert math.isclose(sum(prediction.probabilities.values()), 1, abs_tol=1e-5)


def test_predict_takes_paths_arrays_and_tensors_alike(model, tmp_path):
    voice = np.round(synthetic_voice(3, 1, 0) * 32_768).astype(np.int16)
    soundfile.write(tmp_path / "clip.wav", voice, 16_000)
    expected = model.predict(tmp_path / "clip.wav")
    assert_sound(expected)
    for audio in (str(tmp_path / "clip.wav"), voice, torch.from_numpy(voice), np.stack([voice, voice]), voice / 32_768):
        assert model.predict(audio) == expected


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_predict_hears_the_same_at_any_rate(model, rate):
    expected = model.predict(synthetic_voice(3, 1, 0), 16_000).probabilities
    heard = model.predict(synthetic_voice(3, 1, 0, sample_rate=rate), rate).probabilities
    # 8 kHz holds no band above 4 kHz, so the empty bands differ; elsewhere the noise does
    assert max(abs(heard[e] - expected[e]) for e in expected) < (0.1 if rate == 8_000 else 0.03)


@pytest.mark.parametrize("seconds", [0.05, 0.3, 2.9, 3.1, 4.5, 31.0])
def test_predict_takes_any_length_from_50_ms(model, seconds):
    voice = synthetic_voice(3, 1, 0, seconds=40.0)
    middle = len(voice) // 2
    assert_sound(model.predict(voice[middle : middle + round(16_000 * seconds)]))


def test_long_speech_is_read_in_overlapping_windows_to_its_end(model):
    windows = model._windows(torch.randn(100_001))
    assert windows.shape == (4, 48_000)
    assert torch.equal(windows[0, 24_000:], windows[1, :24_000])


def test_silent_windows_do_not_vote(model):
    speech = torch.randn(48_000)
    with_pause = torch.cat([speech, torch.zeros(160_000), speech])
    windows = model._windows(with_pause)
    assert len(windows) == 5, "of ten, the five that touch speech"
    assert all(window.any() for window in windows)


def test_the_probability_of_a_long_clip_is_the_mean_of_its_windows_that_hold_speech(model):
    voice = torch.from_numpy(synthetic_voice(3, 1, 0, seconds=3.0))
    knocks = torch.zeros(160_000)
    knocks[::8_000] = 0.5
    clip = level(torch.cat([voice, knocks, voice]))
    windows = model._windows(clip)
    assert 0 < model.voice(windows).sum() < len(windows)
    logits = torch.cat([model(window[None]) for window in windows[model.voice(windows)]])
    expected = model.probabilities(logits).mean(dim=0)
    measured = torch.tensor(list(model.predict(clip).probabilities.values()))
    torch.testing.assert_close(measured, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(32_000, np.float32),
        np.full(32_000, 0.3, np.float32),
        np.random.default_rng(0).normal(size=32_000).astype(np.float32),
        np.sin(2 * np.pi * 50 / 16_000 * np.arange(32_000)).astype(np.float32),
        sum(np.sin(2 * np.pi * 120 * k / 16_000 * np.arange(32_000)) / k for k in range(1, 20)).astype(np.float32),
    ],
    ids=["silence", "offset", "noise", "hum", "buzz"],
)
def test_a_sound_without_a_voice_has_no_emotion(model, sound):
    with pytest.raises(NoSpeechError, match="audio: no speech found"):
        model.predict(sound)


@pytest.mark.parametrize("change", [lambda x: 1e-6 * x, lambda x: 3e4 * x, lambda x: x + 0.5, lambda x: 1e-42 * x + 1])
def test_level_and_offset_do_not_matter(model, change):
    voice = synthetic_voice(3, 1, 0).astype(np.float64)
    expected = model.predict(voice).probabilities
    if (changed := change(voice).astype(np.float32)).std() == 0:
        with pytest.raises(NoSpeechError):
            model.predict(changed)
        return
    heard = model.predict(changed).probabilities
    assert max(abs(heard[e] - expected[e]) for e in expected) < 1e-3  # an offset costs float32 bits of the voice


def test_a_recording_longer_than_a_segment_is_the_mean_over_its_windows(model, monkeypatch):
    voice = synthetic_voice(3, 1, 0, seconds=9.0)
    whole = model.predict(voice)
    monkeypatch.setattr("ser_gpu.model.SEGMENT_SECONDS", 4.0)
    assert_sound(model.predict(voice))
    assert model.predict(voice).emotion == whole.emotion


def test_temperature_softens_the_confidence_and_keeps_the_emotion(voices):
    model = SpeechEmotionModel().eval()
    sharp = model.predict(voices[0])
    model.temperature.fill_(3.0)
    soft = model.predict(voices[0])
    assert soft.emotion == sharp.emotion
    assert soft.confidence < sharp.confidence


def test_predict_works_in_evaluation_mode_and_leaves_the_mode_as_it_was(voices):
    model = SpeechEmotionModel().train()
    assert model.predict(voices[0]) == model.predict(voices[0])
    assert model.training


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros(320, np.float32), "20 ms is too short"),
        (np.full(8_000, np.nan), "not finite"),
        (np.full(8_000, 1e300), "not finite"),
        (np.full(8_000, 1e32), "beyond 1e\\+30"),
        (np.zeros(0), "no samples"),
        (np.zeros((16_000, 2)), "expected"),
        ("absent.wav", "absent.wav: no such file"),
    ],
)
def test_predict_names_what_is_wrong(model, audio, message):
    with pytest.raises(AudioError, match=message):
        model.predict(audio)


@pytest.mark.cuda
def test_cpu_and_cuda_agree(voices):
    model = SpeechEmotionModel(ModelConfig()).eval()
    on_cpu = model(voices)
    on_cuda = model.cuda()(voices.cuda()).cpu()
    torch.testing.assert_close(on_cuda, on_cpu, atol=1e-3, rtol=0)
