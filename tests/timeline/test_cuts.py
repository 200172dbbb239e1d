import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_gpu.timeline.cuts import SpeechCuts
from ser_gpu.timeline.settings import TimelineSettings
from tests.timeline.conftest import RATE, LoudIsSpeech, speech_like


def zeros(samples):
    return np.zeros(samples, np.float32)


def noise(samples):
    return 0.3 * np.random.default_rng(0).normal(size=samples).astype(np.float32)


def cut(waveform, most_seconds=3.0):
    cuts = SpeechCuts(LoudIsSpeech(), most_seconds, TimelineSettings())
    found = [
        stretch for at in range(0, len(waveform), cuts.block) for stretch in cuts.take(waveform[at : at + cuts.block])
    ]
    return [*found, *cuts.close()]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 20.0), st.sampled_from([1.0, 3.0]))
def test_stretches_are_the_recording_and_never_too_long(seed, seconds, most_seconds):
    waveform = speech_like(seconds, seed)
    found = cut(waveform, most_seconds)
    for before, after in itertools.pairwise(found):
        assert before.end <= after.start
    for stretch in found:
        assert np.array_equal(stretch.samples, waveform[stretch.start : stretch.end])
        assert 0 < len(stretch.samples) <= (most_seconds + 0.1) * RATE


def test_pause_cuts_and_a_breath_does_not():
    voice = noise(RATE)
    assert len(cut(np.concatenate([voice, zeros(RATE // 2), voice, zeros(RATE)]))) == 2
    assert len(cut(np.concatenate([voice, zeros(RATE // 20), voice[: RATE // 2], zeros(RATE)]))) == 1


def test_level_does_not_matter_and_a_click_hides_nothing():
    voice = np.concatenate([zeros(RATE), noise(RATE), zeros(RATE)])
    expected = [(stretch.start, stretch.end) for stretch in cut(voice)]
    for level in (1e-4, 1.0, 100.0):
        assert [(stretch.start, stretch.end) for stretch in cut(np.float32(level) * voice)] == expected
    clicked = np.float32(1e-3) * voice
    clicked[RATE // 2] = 1.0
    assert expected[0] in [(stretch.start, stretch.end) for stretch in cut(clicked)]


def test_silence_has_no_stretch():
    assert cut(zeros(5 * RATE)) == []


def test_a_forced_cut_with_too_little_voice_does_not_go_back():
    """A second of speech, then a voice that is neither on nor off for long: each stretch stands where it was."""
    cuts = SpeechCuts(LoudIsSpeech(), 1.0, TimelineSettings())
    frames = 4 * cuts.most_frames
    between = (cuts.settings.on + cuts.settings.off) / 2
    cuts._kept = np.arange(frames * cuts.frame, dtype=np.float32)
    cuts.samples_seen = frames * cuts.frame
    found = []
    for frame in range(frames):
        loud = frame < 10 or frame > frames - 20
        found += cuts._next_frame(1.0 if loud else between)
        cuts._frame += 1
    found += cuts.close()
    assert len(found) >= 2
    for stretch in found:
        assert stretch.samples[0] == stretch.start, "the right sound at the right time"
        assert len(stretch.samples) <= (cuts.most_frames + cuts.settings.margin_frames) * cuts.frame
    assert found[1].start > 2 * cuts.most_frames * cuts.frame
