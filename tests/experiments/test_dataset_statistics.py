from pathlib import Path

import numpy as np
import pytest
import soundfile

from experiments import dataset_statistics
from ser_gpu import corpora
from ser_gpu.corpora.clip import EMOTIONS, Clip
from ser_gpu.corpora.splits import Protocol, Split
from ser_gpu.evaluation.report import Answers

RATE = 16_000


def test_a_recording_is_what_is_on_disk(tmp_path):
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    names = [f"03-01-01-01-01-{take:02}-01" for take in (1, 2)] + ["03-01-02-01-01-01-01"]
    soundfile.write(tmp_path / f"{names[0]}.wav", tone, RATE)
    soundfile.write(tmp_path / f"{names[1]}.wav", np.stack([tone, tone], axis=1), RATE)
    soundfile.write(tmp_path / f"{names[2]}.wav", tone[: RATE // 2], RATE)
    clips = corpora.load(tmp_path).clips
    seen = []
    mono, stereo, short = dataset_statistics.read(clips, lambda: seen.append(1))
    assert len(seen) == 3
    assert (mono.channels, stereo.channels) == (1, 2)
    assert (mono.seconds, short.seconds, mono.sample_rate) == (1.0, 0.5, RATE)
    assert mono.level_db == pytest.approx(20 * np.log10(0.1 / 2**0.5), abs=0.01)
    assert dataset_statistics.identical(clips, [mono, stereo, short]) == [(names[0], names[1])], (
        "the same sound in mono and stereo"
    )


def test_silence_does_not_lower_the_level_of_speech():
    tone = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)
    silence = np.zeros(2 * RATE)
    alone = dataset_statistics.speech_level(tone, RATE)
    assert dataset_statistics.speech_level(np.concatenate([silence, tone, silence]), RATE) == pytest.approx(
        alone, abs=0.01
    )
    assert dataset_statistics.speech_level(0.1 * tone, RATE) == pytest.approx(alone - 20)
    assert np.isfinite(dataset_statistics.speech_level(np.zeros(10), RATE))


@pytest.mark.parametrize(
    ("protocol", "repetitions", "speakers"), [("stratified", 0.8, 1), ("grouped", 0, 1), ("actors5", 0, 0)]
)
def test_what_the_test_part_shares_with_training(protocol, repetitions, speakers, clips):
    split = Protocol(protocol).split(clips)
    test = split.ids("test")
    repeated = dataset_statistics.with_repetition_in_training(clips, split)
    assert len(repeated) / len(test) == pytest.approx(repetitions, abs=0.07)
    assert len(dataset_statistics.with_speaker_in_training(clips, split)) / len(test) == speakers
    assert repeated <= set(test)


def test_clips_without_group_and_speaker_share_nothing():
    clips = [Clip(str(row), Path("x"), "sad", None, "own") for row in range(2)]
    split = Split({"0": "train", "1": "test"})
    assert dataset_statistics.with_repetition_in_training(clips, split) == set()
    assert dataset_statistics.with_speaker_in_training(clips, split) == set()


def test_accuracy_of_named_clips_is_by_fold(clips):
    some = clips[:8]
    logits = np.eye(8)[[EMOTIONS.index(clip.emotion) for clip in some]]
    logits[0] = np.roll(logits[0], 1)
    answers = Answers(tuple(some), EMOTIONS, logits, folds=np.arange(8) % 2)
    ids = {clip.id for clip in some}
    assert dataset_statistics.accuracy_of(answers, {0: ids}) == (0.75, 1.0)
    inside, outside = dataset_statistics.accuracy_of(answers, {})
    assert np.isnan(inside)
    assert outside == pytest.approx(7 / 8)


@pytest.mark.ravdess
def test_the_oddities_of_the_real_recordings(ravdess_dir):
    clips = [clip for clip in corpora.load(ravdess_dir).clips if clip.speaker in ("01", "07")]
    recordings = dataset_statistics.read(clips)
    assert dataset_statistics.identical(clips, recordings) == [("03-01-03-01-02-01-07", "03-01-03-01-02-02-07")]
    stereo = [clip.id for clip, each in zip(clips, recordings, strict=True) if each.channels == 2]
    assert stereo == ["03-01-02-01-01-02-01", "03-01-08-01-02-02-01"]
