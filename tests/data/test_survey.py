import numpy as np
import pytest
import soundfile

from ser_gpu.data import ravdess, survey
from ser_gpu.data.protocols import Protocol

RATE = 16_000


def test_a_recording_is_what_is_on_disk(tmp_path):
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    names = [f"03-01-01-01-01-{take:02}-01" for take in (1, 2)] + ["03-01-02-01-01-01-01"]
    soundfile.write(tmp_path / f"{names[0]}.wav", tone, RATE)
    soundfile.write(tmp_path / f"{names[1]}.wav", np.stack([tone, tone], axis=1), RATE)
    soundfile.write(tmp_path / f"{names[2]}.wav", tone[: RATE // 2], RATE)
    clips = ravdess.scan(tmp_path).clips
    seen = []
    mono, stereo, short = survey.survey(clips, lambda: seen.append(1))
    assert len(seen) == 3
    assert (mono.channels, stereo.channels) == (1, 2)
    assert (mono.seconds, short.seconds, mono.sample_rate) == (1.0, 0.5, RATE)
    assert mono.level_db == pytest.approx(20 * np.log10(0.1 / 2**0.5), abs=0.01)
    assert survey.identical(clips, [mono, stereo, short]) == [(names[0], names[1])], "the same sound in mono and stereo"


def test_silence_does_not_lower_the_level_of_speech():
    tone = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)
    silence = np.zeros(2 * RATE)
    alone = survey.speech_level(tone, RATE)
    assert survey.speech_level(np.concatenate([silence, tone, silence]), RATE) == pytest.approx(alone, abs=0.01)
    assert survey.speech_level(0.1 * tone, RATE) == pytest.approx(alone - 20)
    assert np.isfinite(survey.speech_level(np.zeros(10), RATE))


@pytest.mark.parametrize(
    ("protocol", "twins", "speakers"), [("stratified", 0.8, 1), ("twin-safe", 0, 1), ("actors5", 0, 0)]
)
def test_who_has_met_the_test_part_before(protocol, twins, speakers, clips):
    split = Protocol(protocol).split(clips)
    test = len(split.names("test"))
    assert len(survey.with_twin_in_training(clips, split)) / test == pytest.approx(twins, abs=0.07)
    assert len(survey.with_speaker_in_training(clips, split)) / test == speakers
    assert survey.with_twin_in_training(clips, split) <= set(split.names("test"))


@pytest.mark.ravdess
def test_the_oddities_of_the_real_recordings(ravdess_dir):
    clips = [clip for clip in ravdess.scan(ravdess_dir).clips if clip.actor in (1, 7)]
    recordings = survey.survey(clips)
    assert survey.identical(clips, recordings) == [("03-01-03-01-02-01-07", "03-01-03-01-02-02-07")]
    stereo = [clip.name for clip, each in zip(clips, recordings, strict=True) if each.channels == 2]
    assert stereo == ["03-01-02-01-01-02-01", "03-01-08-01-02-02-01"]
