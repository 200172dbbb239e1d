import io
import itertools
import math
import re
import threading
from array import array
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

import ser_gpu
from ser_gpu import recognizer, windows
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.audio.samples import level
from ser_gpu.config import CnnConfig, ModelConfig, TrimConfig
from ser_gpu.errors import AudioError, InputError, NoSpeechError, UnexpectedError
from ser_gpu.model import SpeechEmotionModel, clip_logits
from ser_gpu.prediction import Prediction
from ser_gpu.recognizer import Recognizer
from ser_gpu.timeline.cuts import SpeechCuts
from tests.audio.conftest import RATES, THINGS, AudioDecoder
from tests.conftest import FUZZ, synthetic_voice

SMALL = ModelConfig(cnn=CnnConfig(width=16))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return SpeechEmotionModel(SMALL).eval()


def cut(model, waveform):
    return windows.cut(waveform.astype(np.float32), model.window_samples, model.trim_config)


def assert_sound(prediction):
    assert prediction.emotion == max(prediction.probabilities, key=prediction.probabilities.get)
    assert prediction.confidence == prediction.probabilities[prediction.emotion]
    assert math.isclose(sum(prediction.probabilities.values()), 1, abs_tol=1e-5)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_predict_hears_the_same_at_any_rate(model, rate):
    expected = model.predict(synthetic_voice(3, 1, 0), 16_000).probabilities
    heard = model.predict(synthetic_voice(3, 1, 0, sample_rate=rate), rate).probabilities
    # 8 kHz holds no band above 4 kHz, so the empty bands differ; elsewhere the noise does
    assert max(abs(heard[e] - expected[e]) for e in expected) < (0.1 if rate == 8_000 else 0.03)


@pytest.mark.parametrize("seconds", [0.05, 0.3, 2.9, 3.1, 4.5, 31.0])
def test_predict_takes_any_length_from_50_ms(model, seconds):
    voice = synthetic_voice(0, 1, 0, seconds=40.0)
    middle = len(voice) // 2
    part = voice[middle : middle + round(16_000 * seconds)]
    if seconds < 0.1:  # too short to be told from other sounds
        with pytest.raises(NoSpeechError):
            model.predict(part)
    else:
        assert_sound(model.predict(part))


def test_windows_know_where_they_are(model):
    silence, voice = np.zeros(32_000, np.float32), synthetic_voice(3, 1, 0, seconds=9.0)
    recording = np.concatenate([silence, voice, silence])
    starts, found = cut(model, recording)
    assert found.shape == (len(starts), 48_000)
    assert 32_000 <= starts[0] <= 36_000
    assert starts[-1] <= 32_000 + len(voice) - 48_000
    first, end = windows.bounds(recording, model.trim_config)
    assert [first, end] == [int(bound) for bound in model.trim.bounds(torch.from_numpy(recording)[None])]


def test_an_answer_says_of_how_many_seconds_of_speech_it_is(model, monkeypatch):
    silence, voice = np.zeros(80_000, np.float32), synthetic_voice(3, 1, 0, seconds=9.0)
    assert model.predict(voice).speech_seconds == pytest.approx(9.0, abs=0.2)
    twice = np.concatenate([silence, voice, silence, voice])
    (prediction,) = model.predict_many([twice])
    assert prediction.speech_seconds == model.predict(twice).speech_seconds
    # at each edge of the pause a window of 3 s may reach into it
    assert 18.0 < prediction.speech_seconds < 18.0 + 2 * 3.0
    long = synthetic_voice(3, 1, 0, seconds=30.0)
    whole = model.predict(long)
    monkeypatch.setattr("ser_gpu.audio.samples.PIECE_SECONDS", 20.0)  # of which the recording has two
    assert_sound(in_pieces := model.predict(long))
    assert in_pieces.speech_seconds == pytest.approx(30.0, abs=0.2)
    assert in_pieces.emotion == whole.emotion


def test_the_detector_hears_no_more_than_decides(model, monkeypatch):
    voice, silence = synthetic_voice(3, 1, 0, seconds=9.0), np.zeros(100_000, np.float32)
    recordings = [voice[:40_000], voice, np.concatenate([voice[:40_000], silence, voice[:60_000], silence])]
    real, heard = SpeechEmotionModel.hear, []

    def hear(model, sound, state=None):
        heard.append(len(sound))
        return real(model, sound, state)

    monkeypatch.setattr(SpeechEmotionModel, "hear", hear)
    answers = [model.predict(recordings[0])]
    assert sum(heard) < 25_000, "of 40,000 samples"
    answers += [model.predict(each) for each in recordings[1:]]
    monkeypatch.setattr(SpeechCuts, "begun", lambda cuts: [])
    assert [model.predict(each) for each in recordings] == answers


def test_long_speech_is_read_in_overlapping_windows_to_its_end_and_silent_ones_do_not_vote(model):
    noise = np.random.default_rng(0).normal(size=100_001)
    starts, found = cut(model, noise)
    assert starts.tolist() == [0, 24_000, 48_000, 52_001]
    assert found.shape == (4, 48_000)
    assert np.array_equal(found[0, 24_000:], found[1, :24_000])
    _, found = cut(model, np.concatenate([noise[:48_000], np.zeros(160_000), noise[:48_000]]))
    assert len(found) == 5, "of ten, the five that touch speech"
    assert all(window.any() for window in found)


def test_the_probability_of_a_long_clip_is_the_mean_of_its_windows_that_hold_speech(model):
    voice = torch.from_numpy(synthetic_voice(3, 1, 0, seconds=3.0))
    knocks = torch.zeros(160_000)
    knocks[::8_000] = 0.5
    clip = level(torch.cat([voice, knocks, voice]).numpy())
    starts, found = cut(model, clip)
    spoken = torch.from_numpy(found[(starts < 48_000) | (starts > 160_000)])
    assert 0 < len(spoken) < len(found)
    expected = model.probabilities(model.classify(model.spectrogram_of_window(spoken), len(spoken))).mean(dim=0)
    measured = torch.tensor(list(model.predict(clip).probabilities.values()))
    torch.testing.assert_close(measured, expected, atol=1e-4, rtol=0)  # normalisation is folded into convolutions


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


def test_predict_is_in_evaluation_mode_and_a_temperature_softens_the_confidence_and_keeps_the_emotion(voices):
    model = SpeechEmotionModel(SMALL).train()
    sharp = model.predict(voices[0])
    assert model.predict(voices[0]) == sharp
    assert model.training
    model.temperature.fill_(3.0)
    soft = model.predict(voices[0])
    assert soft.emotion == sharp.emotion
    assert soft.confidence < sharp.confidence


@pytest.fixture(scope="module")
def recordings():
    """Ten of several lengths, among them silence and what cannot be read."""
    voices = [synthetic_voice(n % 8, n, n, seconds=0.6 + 0.9 * n) for n in range(8)]
    return [*voices[:3], np.zeros(80_000, np.float32), *voices[3:6], "absent.wav", *voices[6:]]


@pytest.mark.parametrize(("workers", "piece_seconds"), [(1, 60.0), (3, 60.0), (2, 2.5)])
def test_many_recordings_are_answered_in_order_as_each_alone(workers, piece_seconds, model, recordings, monkeypatch):
    monkeypatch.setattr("ser_gpu.audio.samples.PIECE_SECONDS", piece_seconds)
    kinds = [*["Prediction"] * 3, "NoSpeechError", *["Prediction"] * 3, "AudioError", *["Prediction"] * 2]
    answers = list(model.predict_many(recordings, workers=workers))
    assert [type(answer).__name__ for answer in answers] == kinds
    for recording, answer in zip(recordings, answers, strict=True):
        if isinstance(answer, Prediction):
            alone = model.predict(recording)
            assert answer.emotion == alone.emotion
            assert answer.probabilities == pytest.approx(alone.probabilities, abs=1e-5)  # float32 in another order
    assert list(model.predict_many([], workers=workers)) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_many_are_read_as_they_are_needed(workers, model, monkeypatch):
    monkeypatch.setattr(recognizer, "_UNTAKEN", 24)
    asked = []

    def endless():
        while True:
            asked.append(len(asked))
            yield synthetic_voice(3, 1, 0)

    answers = model.predict_many(endless(), workers=workers)
    for _ in range(40):
        next(answers)
    answers.close()
    assert len(asked) <= 40 + 24


class Fragile(Recognizer):
    """A backend without torch that hears a voice in every sound, and cannot answer what is loud at its end."""

    labels, sample_rate, window_samples, network_hash = ("sad", "calm"), 16_000, 16_000, None
    windows_at_once, trim_config = 4, TrimConfig()

    measure = None  # nobody is enrolled

    def with_voice(self, voice=None):
        return self

    def hear(self, sound, state=None):
        return np.ones(len(sound) // 512), None

    def answer(self, windows):
        if (np.abs(windows[:, -1]) > 0.9).any():
            raise RuntimeError("a bug\nof two lines")
        return np.full((len(windows), 2), 0.5, np.float32)


def test_a_batch_that_fails_is_answered_one_by_one_and_an_unexpected_error_names_its_file(tmp_path):
    loud, quiet = tmp_path / "loud.wav", tmp_path / "quiet.wav"
    for path, last in ((loud, 1.0), (quiet, 0.1)):
        soundfile.write(path, np.append(np.tile([0.5, -0.5], 8_000)[1:], last), 16_000)
    for workers in (1, 2):
        answers = list(Fragile().predict_many([quiet, loud, quiet, tmp_path / "none.wav"], workers=workers))
        found = [type(answer).__name__ for answer in answers]
        assert found == ["Prediction", "UnexpectedError", "Prediction", "AudioError"]
        assert str(answers[1]) == f"{loud}: unexpected error, please report it (RuntimeError: a bug of two lines)"


@pytest.mark.parametrize(
    ("ask", "samples", "problem"),
    [
        ("predict", np.zeros(320), "20 ms is too short, 50 ms is the least"),
        ("predict", np.zeros(32_000), "no speech found"),
        ("predict", np.full(32_000, np.nan), "holds samples that are not finite"),
        ("predict", np.full(8_000, 1e29), "no speech found"),
        ("predict", np.full(8_000, 1e32), "or beyond 1e+30"),
        ("enrol", np.zeros(32_000), "no speech found"),
        ("timeline", np.full(32_000, np.nan), "holds samples that are not finite"),
    ],
)
def test_what_is_wrong_is_one_line_also_with_a_newline_in_a_name(model, ask, samples, problem):
    recording = {"array": samples.astype(np.float32), "sampling_rate": 16_000, "path": "a\nb.wav"}
    with pytest.raises(AudioError, match=rf"^a\\nb\.wav: [^\n]*{re.escape(problem)}") as caught:
        getattr(model, ask)([recording] if ask == "enrol" else recording)
    assert "\n" not in str(caught.value)
    if ask == "predict":
        assert [str(answer) for answer in model.predict_many([recording])] == [str(caught.value)]


@pytest.mark.parametrize("seconds", [8 * [1.0], [20.0]], ids=["short", "one"])
def test_several_workers_answer_at_a_time(seconds, model, monkeypatch):
    real, calls, second = SpeechEmotionModel.answer, itertools.count(), threading.Event()

    def wait_for_the_second(*given):
        if next(calls) == 0:
            assert second.wait(timeout=60)
        else:
            second.set()
        return real(*given)

    monkeypatch.setattr(SpeechEmotionModel, "answer", wait_for_the_second)
    voices = [synthetic_voice(n, n, n, seconds=each) for n, each in enumerate(seconds)]
    monkeypatch.setattr(SpeechEmotionModel, "windows_at_once", 2)
    assert all(isinstance(answer, Prediction) for answer in model.predict_many(voices, workers=2))


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_threads_may_predict_at_once(recordings, mode):
    model = getattr(SpeechEmotionModel(SMALL), mode)()
    voices = recordings[:3] * 4
    expected = [model.predict(voice) for voice in voices]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(model.predict, voices)) == expected
    assert model.training is (mode == "train")
    assert threading.active_count() < 20


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_predict_in_16_bits(recordings, dtype):
    model = ser_gpu.load_model(device="cpu")
    expected = model.predict(recordings[2]).probabilities
    heard = model.to(dtype).predict(recordings[2]).probabilities
    assert heard == pytest.approx(expected, abs=0.02)  # of a softmax, by logits of three digits


def test_the_default_dtype_does_not_matter(recordings):
    expected = ser_gpu.load_model(device="cpu").predict(recordings[2]).probabilities
    torch.set_default_dtype(torch.float64)
    try:
        heard = ser_gpu.load_model(device="cpu").predict(recordings[2]).probabilities
    finally:
        torch.set_default_dtype(torch.float32)
    assert heard == pytest.approx(expected, abs=1e-6)


def test_clips_of_a_bank_are_answered_as_predict_answers_them(model, recordings):
    voices = [torch.from_numpy(each) for each in recordings if not isinstance(each, str) and each.any()]
    bank = ClipBank.from_waveforms([torch.from_numpy(level(voice.numpy())) for voice in voices], model.sample_rate)
    logits = clip_logits(model, bank, torch.arange(len(bank)))
    for row, voice in zip(model.probabilities(logits), voices, strict=True):
        expected = torch.tensor(list(model.predict(voice).probabilities.values()))
        torch.testing.assert_close(row, expected, atol=1e-4, rtol=0)  # a bank holds 16 bits
    assert clip_logits(model, bank, torch.arange(0)).shape == (0, 8)


@pytest.mark.parametrize(
    "one",
    [
        lambda path, voice: str(path),
        lambda path, voice: path,
        lambda path, voice: path.read_bytes(),
        lambda path, voice: memoryview(path.read_bytes()),
        lambda path, voice: io.BytesIO(path.read_bytes()),
        lambda path, voice: voice,
        lambda path, voice: np.stack([voice, voice], axis=1),
        lambda path, voice: torch.from_numpy(voice),
        lambda path, voice: (np.int64(16_000), voice),
        lambda path, voice: [voice, 16_000],
        lambda path, voice: {"array": voice, "sampling_rate": 16_000},
        lambda path, voice: AudioDecoder(voice, 16_000),
    ],
)
def test_one_recording_where_several_are_meant_is_that_one(one, model, tmp_path):
    path, voice = tmp_path / "a.wav", synthetic_voice(3, 1, 0)
    soundfile.write(path, voice, 16_000, subtype="FLOAT")
    one = one(path, voice)
    (answer,) = model.predict_many(one)
    if isinstance(one, list):  # which predict refuses
        assert "list is no recording" in str(answer)
        return
    assert_sound(answer)
    if hasattr(one, "seek"):
        one.seek(100)
    assert answer == model.predict(one) == model.predict(path)
    assert model.enrol(one, "sad").recordings == 1


@pytest.mark.parametrize(
    "one", [None, 7, 0.5, [0.1, 0.2], array("f", [0.1] * 9), np.zeros(0), {"a.wav": 1}, "absent.wav"]
)
def test_what_is_no_recording_is_one_line_where_several_are_meant(one, model):
    (answer,) = model.predict_many(one)
    assert isinstance(answer, AudioError)
    with pytest.raises(AudioError):
        model.enrol(one)


def test_rows_and_names_in_an_array_are_several_recordings(model, tmp_path):
    voice = synthetic_voice(3, 1, 0)
    soundfile.write(tmp_path / "a.wav", voice, 16_000, subtype="FLOAT")
    expected = [model.predict(voice)] * 2
    for several in (np.stack([voice, voice]), np.array([str(tmp_path / "a.wav")] * 2), iter([voice, voice])):
        assert list(model.predict_many(several)) == expected


@FUZZ
@given(recording=THINGS, rate=RATES, training=st.booleans(), many=st.booleans())
def test_any_object_gives_an_answer_or_one_line(model, recording, rate, training, many):
    """At length: SER_FUZZ_EXAMPLES=20000; files at length: `python -m tests.long fuzz`."""
    asked = SpeechEmotionModel(SMALL).train() if training else model
    try:
        answer = next(asked.predict_many([recording], rate)) if many else asked.predict(recording, rate)
    except InputError as error:
        answer = error
    if isinstance(answer, Prediction):
        assert_sound(answer)
        return
    assert not isinstance(answer, UnexpectedError)
    message = str(answer)
    assert "\n" not in message
    assert len(message) < 250
