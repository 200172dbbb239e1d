import copy
import gc
import itertools
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_gpu.errors import AudioError, NoSpeechError
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.timeline.speakers import Speakers, Turn
from ser_gpu.voices.enrol import _Thinned, own_voice
from ser_gpu.voices.voice import VoiceError
from tests.timeline.conftest import RATE, speech_like

SEEDS = st.integers(0, 1_000)
SIZES = st.lists(st.integers(0, 40_000), max_size=20)


def streamed(model, waveform, sizes=(), rate=RATE, voice=None):
    stream, found, at = model.stream(rate, voice), [], 0
    for size in sizes:
        found += stream.push(waveform[at : at + size])
        at += size
    return found + stream.push(waveform[at:]) + stream.close()


@settings(max_examples=12)
@given(SEEDS, st.floats(0.1, 15.0), SIZES, st.sampled_from([RATE, 44_100]), st.booleans())
def test_chunks_of_any_size_give_the_same_segments(
    small_model, loud_is_speech, voice, seed, seconds, sizes, rate, is_known
):
    waveform, who = speech_like(seconds, seed), voice if is_known else None
    whole = small_model.timeline(waveform, rate, voice=who).stretches
    assert tuple(streamed(small_model, waveform, sizes, rate, who)) == whole
    assert whole[0].start == 0.0
    assert whole[-1].end == pytest.approx(len(waveform) / rate, abs=1e-4)  # the next sample at 16 kHz
    assert all(before.end == after.start for before, after in itertools.pairwise(whole))
    if who and any(segment.speech for segment in whole):
        assert whole != small_model.timeline(waveform, rate).stretches


@pytest.mark.parametrize("rate", [RATE, 8_000, 44_100])
def test_a_copy_goes_on_where_the_stream_was(small_model, loud_is_speech, rate):
    waveform = speech_like(12.0 * rate / RATE, 5)
    stream, found = small_model.stream(rate), []
    for part in np.array_split(waveform, [0, 1_000, 30_000, 30_001, 90_000, 150_000]):
        stream = copy.deepcopy(stream)
        found += stream.push(part)
    found += copy.deepcopy(stream).close()
    assert tuple(found) == small_model.timeline(waveform, rate).stretches
    assert sum(segment.speech for segment in found) > 2


@settings(max_examples=5)
@given(SEEDS, st.floats(1.0, 12.0), st.lists(st.floats(0.1, 3.0), max_size=8))
def test_each_stretch_has_one_speaker_and_their_voice(small_model, loud_is_speech, voice, seed, seconds, turns):
    starts = list(itertools.accumulate(turns, initial=0.0))
    names = itertools.cycle(["alice", "bob"])
    speakers = Speakers(
        Turn(start, end, name) for (start, end), name in zip(itertools.pairwise(starts), names, strict=False)
    )
    waveform = speech_like(seconds, seed)
    found = small_model.timeline(waveform, voice={"bob": voice}, speakers=speakers)
    assert found.stretches[0].start == 0.0
    assert all(before.end == after.start for before, after in itertools.pairwise(found.stretches))
    for segment in found.stretches:
        assert segment.speaker == (speakers.of(segment.start, segment.end) if segment.speech else None)
    nobody = small_model.timeline(waveform, speakers=speakers)
    for segment, without in zip(found.stretches, nobody.stretches, strict=True):
        assert (segment == without) == (segment.speaker != "bob")
    for segment in found.segments:
        inside = [each for each in found.stretches if each.speech and segment.start <= each.start < segment.end]
        assert {each.speaker for each in inside} <= {segment.speaker}


def test_voices_of_nobody_are_no_voice(small_model, loud_is_speech):
    waveform = speech_like(7.0)
    assert streamed(small_model, waveform, voice={}) == streamed(small_model, waveform)


def test_voice_of_another_model_is_refused(small_model, voice):
    torch.manual_seed(1)
    other = SpeechEmotionModel(small_model.config).eval()
    for bad in (voice, {"alice": voice}):
        with pytest.raises(VoiceError, match="enrolled with another model"):
            other.timeline(np.zeros(RATE, np.float32), voice=bad)
    with pytest.raises(VoiceError, match="enrolled with another model"):
        other.stream(voice=voice)


def test_own_voice_is_that_of_the_recording(small_model, loud_is_speech):
    waveform = speech_like(24.0, 1)
    own = own_voice(small_model, waveform)
    assert 8 < own.seconds < 24
    assert small_model.timeline(waveform, voice=own).stretches != small_model.timeline(waveform).stretches
    speakers = Speakers([Turn(0.0, 12.0, "alice"), Turn(12.0, 24.0, "bob")])
    each = own_voice(small_model, waveform, speakers=speakers)
    assert set(each) == {"alice", "bob"}
    assert not np.array_equal(each["alice"].mean, each["bob"].mean)


def test_own_voice_of_hours_is_of_windows_from_all_of_them():
    thinned = _Thinned()
    for number in range(1_000):
        thinned.take(number, 2.0)
    assert thinned.seconds == 2_000
    assert len(thinned.kept) <= 192
    assert thinned.kept[0] == 0
    assert thinned.kept[-1] >= 990
    assert len(set(np.diff(thinned.kept))) == 1


def test_silence_is_said_to_be_silence_and_has_no_voice(small_model):
    (segment,) = small_model.timeline(np.zeros(20 * RATE, np.float32)).segments
    assert (segment.start, segment.end, segment.speech, segment.emotion) == (0.0, 20.0, False, None)
    with pytest.raises(NoSpeechError, match="audio: too little speech to enrol"):
        own_voice(small_model, np.zeros(3 * RATE, np.float32))


def test_short_recording_is_answered_as_predict_does(small_model, loud_is_speech):
    waveform = np.pad(speech_like(4.0, 3), 8_000)
    expected = small_model.predict(waveform)
    (segment,) = [each for each in small_model.timeline(waveform).segments if each.speech]
    assert segment.emotion == expected.emotion
    assert segment.probabilities == expected.probabilities
    assert 0.3 < segment.start < 0.5, "a tenth of a second before the first voice"


def test_integers_and_channels_are_taken(small_model, loud_is_speech):
    waveform = (speech_like(8.0) * 20_000).astype(np.int16)
    stereo = torch.from_numpy(np.stack([waveform, waveform], axis=1))
    assert streamed(small_model, stereo, [5, 70_000]) == streamed(small_model, waveform)


@torch.no_grad()
def test_a_stream_changes_no_training_and_no_training_a_stream(small_model, loud_is_speech):
    model, waveform = copy.deepcopy(small_model).train(), speech_like(7.0)
    assert streamed(model, waveform) == streamed(small_model, waveform)
    assert model.training
    stream = model.stream()
    for parameter in model.parameters():
        parameter.mul_(1.5)
    assert [*stream.push(waveform), *stream.close()] == streamed(small_model, waveform)
    assert streamed(model, waveform) != streamed(small_model, waveform)


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
        (np.zeros((2, 20)), r"as \[T\] or \[T, channels\], got float64 \[2, 20\]"),
        (np.zeros(3, complex), "takes numbers as .* got complex128"),
        (np.array([0.0, np.nan]), "not finite"),
        ([0, 1, 2], "a list of whole numbers has no scale"),
    ],
)
def test_bad_samples_are_one_line(small_model, samples, problem):
    with pytest.raises(AudioError, match=problem) as error:
        small_model.stream().push(samples)
    assert "\n" not in str(error.value)


def test_closed_stream_takes_nothing_and_empty_recording_is_refused(small_model):
    assert small_model.stream().push(torch.zeros(800, dtype=torch.bfloat16)) == []
    stream = small_model.stream()
    assert stream.push([]) == stream.close() == stream.close() == []
    with pytest.raises(ValueError, match="the stream is closed"):
        stream.push([0.0])
    with pytest.raises(AudioError, match="holds no samples"):
        small_model.timeline(np.zeros(0))


@pytest.mark.parametrize("rate", [RATE, 22_050])
def test_a_stream_is_freed_without_garbage_collection(small_model, loud_is_speech, rate):
    """A resampler that a circle kept alive was a page of warnings at the end of the process."""
    gc.disable()
    try:
        stream = small_model.stream(rate)
        stream.push(speech_like(7.0))
        alive = weakref.ref(stream), weakref.ref(stream._resampled)
        del stream
        assert [each() for each in alive] == [None, None]
    finally:
        gc.enable()
