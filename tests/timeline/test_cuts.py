import itertools

import hypothesis
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ser_gpu.timeline.cuts import SpeechCuts, TimelineSettings
from tests.timeline.conftest import RATE, LoudIsSpeech, speech_like


def zeros(samples):
    return np.zeros(samples, np.float32)


def noise(samples):
    return 0.3 * np.random.default_rng(0).normal(size=samples).astype(np.float32)


def cut(waveform, most_seconds=3.0, detector=None):
    cuts = SpeechCuts(detector or LoudIsSpeech(), most_seconds, TimelineSettings())
    blocks = (waveform[at : at + cuts.block] for at in range(0, len(waveform), cuts.block))
    return [stretch for block in blocks for stretch in cuts.take(block)] + cuts.close()


@hypothesis.settings(max_examples=15)
@given(st.integers(0, 10_000), st.floats(0.5, 20.0), st.sampled_from([1.0, 3.0]))
def test_stretches_are_the_recording_and_never_too_long(seed, seconds, most_seconds):
    waveform = speech_like(seconds, seed)
    found = cut(waveform, most_seconds)
    for before, after in itertools.pairwise(found):
        assert before.end <= after.start
    for stretch in found:
        assert np.array_equal(stretch.samples, waveform[stretch.start : stretch.end])
        assert 0 < len(stretch.samples) <= (most_seconds + 0.1) * RATE


@hypothesis.settings(max_examples=15)
@given(st.integers(0, 10_000), st.floats(0.5, 20.0), st.sampled_from([1.0, 3.0]))
def test_what_is_certain_of_a_stretch_comes_true(seed, seconds, most_seconds):
    waveform = speech_like(seconds, seed)
    ends = {stretch.start: stretch.end for stretch in cut(waveform, most_seconds)}
    cuts = SpeechCuts(LoudIsSpeech(), most_seconds, TimelineSettings())
    for at in range(0, len(waveform) - cuts.block, cuts.block):
        cuts.take(waveform[at : at + cuts.block])
        for stretch in cuts.begun():
            assert stretch.start < stretch.end <= ends[stretch.start]
            assert np.array_equal(stretch.samples, waveform[stretch.start : stretch.end])


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


def test_a_forced_cut_with_too_little_voice_does_not_go_back():
    """A second of speech, then a voice that is neither on nor off for long: each stretch stands where it was."""
    settings = TimelineSettings()
    frames = 4 * 31  # a stretch of a second has at most 31

    class Unsure(LoudIsSpeech):
        def __call__(self, waveform, state=0):
            at = np.arange(len(waveform) // self.frame) + (state or 0)
            unsure = (settings.on + settings.off) / 2
            return np.where((at < 10) | (at > frames - 20), 1.0, unsure), at[-1] + 1

    waveform = np.arange(frames * Unsure.frame, dtype=np.float32)
    found = cut(waveform, 1.0, Unsure())
    assert len(found) >= 2
    for stretch in found:
        assert stretch.samples[0] == stretch.start, "the right sound at the right time"
        assert len(stretch.samples) <= (31 + settings.margin_frames) * Unsure.frame
    assert found[1].start > 2 * 31 * Unsure.frame
