import pytest
import torch

from experiments.sounds import quiet_after_a_click, whispered
from experiments.synthetic_sounds import NO_VOICE, NO_WORDS, SAMPLES
from experiments.timeline import RATE, Part, Setting, joined, scores
from ser_gpu.corpora.clip import Clip
from ser_gpu.timeline.segment import silent, spoken

LABELS = ("calm", "sad")
PARTS = [Part("sad", RATE, 2 * RATE), Part("calm", 4 * RATE, 5 * RATE)]


def sad(start, end):
    return spoken(start, end, {"calm": 0.0, "sad": 1.0})


def calm(start, end):
    return spoken(start, end, {"calm": 1.0, "sad": 0.0})


def test_truth_itself_has_no_error():
    segments = [silent(0.0, 1.0), sad(1.0, 2.0), silent(2.0, 4.0), calm(4.0, 5.0), silent(5.0, 6.0)]
    found = scores(segments, PARTS, 6 * RATE, LABELS)
    assert found == {"accuracy": 1.0, "uar": 1.0, "segment_f1": 1.0, "eder": 0.0, "false_alarm": 0.0, "missed": 0.0}


def test_each_error_is_counted():
    segments = [silent(0.0, 1.5), sad(1.5, 2.5), silent(2.5, 4.0), sad(4.0, 5.0), silent(5.0, 6.0)]
    found = scores(segments, PARTS, 6 * RATE, LABELS)
    assert (found["false_alarm"], found["missed"]) == (0.25, 0.25)
    assert found["eder"] == 1.0  # a half second each of false alarm and missed, and a second confused, of two
    assert found["accuracy"] == 0.25
    assert found["segment_f1"] == 0.0  # the first one overlaps by a third of the union


def test_joined_clips_are_where_they_are_said_to_be():
    clips = [Clip(name, name, emotion, "1", "own") for name, emotion in (("a", "sad"), ("b", "calm"))]
    sounds = [torch.full((RATE,), 0.5), torch.full((2 * RATE,), 0.25)]
    waveform, parts = joined(clips, sounds, Setting(0.5), seed=0)
    assert sorted(part.end - part.start for part in parts) == [RATE, 2 * RATE]
    for part in parts:
        value = 0.5 if part.emotion == "sad" else 0.25
        assert waveform[part.start : part.end].mean() == pytest.approx(value, abs=1e-3)
    assert len(waveform) == 3 * RATE + 3 * RATE // 2


SOUNDS = NO_VOICE | NO_WORDS


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_come_from_their_seed(name):
    one, other, another = (SOUNDS[name](torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(one, other)
    assert not torch.equal(one, another)
    assert one.shape == (SAMPLES,)
    assert one.isfinite().all()
    assert one.abs().max() > 0


def test_a_whisper_has_the_envelope_of_the_voice_and_no_pitch():
    time = torch.arange(RATE) / RATE
    voice = sum(torch.sin(2 * torch.pi * 150 * n * time) / n for n in range(1, 20)) * (time < 0.5)
    whisper, rate = whispered(voice, RATE, torch.Generator().manual_seed(0))
    assert rate == RATE
    loud, quiet = whisper[: RATE // 2].square().mean(), whisper[6 * RATE // 10 :].square().mean()
    assert loud > 1_000 * quiet
    spectrum = torch.fft.rfft(voice[: RATE // 2]).abs(), torch.fft.rfft(whisper[: RATE // 2]).abs()
    peaks = [float(each.max() / each.median()) for each in spectrum]
    assert peaks[1] < peaks[0] / 20


def test_the_voice_after_a_click_is_quiet():
    sound, _ = quiet_after_a_click(torch.ones(RATE), RATE, torch.Generator().manual_seed(0))
    assert sound.argmax() == RATE // 4
    assert sound[RATE // 2 :].abs().max() == pytest.approx(10 ** (-50 / 20), rel=0.05)
