import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_gpu.audio.error import AudioError
from tests.timeline.conftest import RATE, LoudIsSpeech, speech_like


def streamed(model, waveform, sizes, rate=RATE):
    stream, found, at = model.stream(rate), [], 0
    for size in sizes:
        found += stream.push(waveform[at : at + size])
        at += size
    return found + stream.push(waveform[at:]) + stream.close()


@pytest.fixture(scope="module")
def _loud():
    from ser_gpu.timeline import stream

    kept, stream.SpeechProbability = stream.SpeechProbability, LoudIsSpeech
    yield
    stream.SpeechProbability = kept


@pytest.mark.usefixtures("_loud")
@settings(max_examples=8, deadline=None)
@given(
    st.integers(0, 1_000),
    st.floats(0.1, 15.0),
    st.lists(st.integers(0, 40_000), max_size=20),
    st.sampled_from([RATE, 44_100]),
)
def test_chunks_of_any_size_give_the_same_segments(small_model, seed, seconds, sizes, rate):
    waveform = speech_like(seconds, seed)
    whole = small_model.timeline(waveform, rate).stretches
    assert tuple(streamed(small_model, waveform, sizes, rate)) == whole
    assert whole[0].start == 0.0
    assert whole[-1].end == pytest.approx(len(waveform) / rate, abs=1e-4)  # the next sample at 16 kHz
    assert all(before.end == after.start for before, after in itertools.pairwise(whole))


def test_short_recording_is_answered_as_predict_does(small_model, loud_is_speech, monkeypatch):
    monkeypatch.setattr(small_model.vad, "forward", lambda windows: torch.ones(len(windows), dtype=torch.bool))
    waveform = np.concatenate([np.zeros(8_000), speech_like(4.0, 3), np.zeros(8_000)]).astype(np.float32)
    expected = small_model.predict(waveform)
    (segment,) = [each for each in small_model.timeline(waveform).segments if each.speech]
    assert segment.emotion == expected.emotion
    assert segment.probabilities == expected.probabilities
    assert 0.3 < segment.start < 0.5, "a tenth of a second before the first voice"


def test_silence_is_said_to_be_silence(small_model):
    (segment,) = small_model.timeline(np.zeros(20 * RATE, np.float32)).segments
    assert (segment.start, segment.end, segment.speech, segment.emotion) == (0.0, 20.0, False, None)


def test_integers_and_channels_are_taken(small_model, loud_is_speech):
    waveform = (speech_like(8.0) * 20_000).astype(np.int16)
    expected = streamed(small_model, waveform, [])
    stereo = torch.from_numpy(np.stack([waveform, waveform], axis=1))
    assert streamed(small_model, stereo, [5, 70_000]) == expected


def test_model_in_training_is_not_changed(small_model, loud_is_speech):
    small_model.train()
    try:
        found = streamed(small_model, speech_like(7.0), [])
        assert small_model.training
    finally:
        small_model.eval()
    assert found == streamed(small_model, speech_like(7.0), [])


def test_now_is_the_emotion_of_the_last_seconds(small_model, loud_is_speech):
    stream = small_model.stream()
    assert stream.now() is None
    stream.push(0.3 * torch.randn(2 * RATE))
    assert stream.now().emotion in small_model.labels
    stream.push(torch.zeros(4 * RATE))
    assert stream.now() is None


@pytest.mark.parametrize(
    ("samples", "problem"),
    [
        (np.zeros((2, 20)), r"takes samples as \[T\] or \[T, channels\], got \[2, 20\]"),
        (np.zeros(3, complex), "must be integers or floating point, got complex128"),
        (np.array([0.0, np.nan]), "not finite"),
    ],
)
def test_bad_samples_are_one_line(small_model, samples, problem):
    with pytest.raises(AudioError, match=problem) as error:
        small_model.stream().push(samples)
    assert "\n" not in str(error.value)


def test_closed_stream_takes_nothing(small_model):
    stream = small_model.stream()
    assert stream.push([]) == stream.close() == stream.close() == []
    with pytest.raises(ValueError, match="the stream is closed"):
        stream.push([0.0])


def test_empty_recording_is_refused(small_model):
    with pytest.raises(AudioError, match="holds no samples"):
        small_model.timeline(np.zeros(0))
    with pytest.raises(ValueError, match="step_seconds"):
        small_model.timeline(np.zeros(RATE), step_seconds=0)


def test_a_timeline_needs_no_torch():
    code = (
        "import sys; import numpy as np; from ser_gpu.timeline import timeline;"
        "from types import SimpleNamespace as Model;"
        "model = Model(labels=('sad', 'calm'), sample_rate=16_000, window_seconds=3.0);"
        "print(timeline(model, np.zeros(160_000)).seconds, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("10.0 False\n", "")
