"""The studies on synthetic data: they run from end to end and find what was put in."""

import json

import numpy as np
import pytest
import soundfile

from experiments import pitch, pitch_bias, pitch_counterfactual, robustness, sounds
from experiments.pitch_bias import Answers
from ser_gpu import checkpoint, corpora
from ser_gpu.checkpoint import Provenance
from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.corpora.splits import Protocol
from ser_gpu.files import write_csv
from ser_gpu.model import SpeechEmotionModel
from tests.conftest import SAMPLE_RATE, harmonic_voice


def test_robustness_scores_every_condition(tiny_checkpoint, tiny_ravdess, tmp_path, capsys, monkeypatch):
    some = ("as recorded", "white noise, 5 dB", "level -40 dB")
    monkeypatch.setattr(robustness, "CONDITIONS", {name: sounds.CONDITIONS[name] for name in some})
    out = tmp_path / "found"
    arguments = [tiny_checkpoint, tiny_checkpoint, "--data", str(tiny_ravdess), "--device", "cpu", "--out", str(out)]
    assert robustness.main(arguments) == 0
    assert "level -40 dB" in capsys.readouterr().out
    first, second = json.loads(out.with_suffix(".json").read_text())["models"]
    assert first == second
    rows = first["conditions"]
    assert list(rows) == list(some)
    assert rows["level -40 dB"]["accuracy"] == pytest.approx(rows["as recorded"]["accuracy"], abs=0.11), "a clip or two"
    assert out.with_suffix(".png").stat().st_size > 3_000


def test_no_speech_counts_as_wrong(tiny_checkpoint, tiny_ravdess, monkeypatch):
    silence = {"silence": lambda waveform, rate, _: (0 * waveform, rate)}
    monkeypatch.setattr(robustness, "CONDITIONS", silence)
    clips = corpora.load(tiny_ravdess).clips[:10]
    scores = robustness.scores(checkpoint.load_model(tiny_checkpoint), clips, seed=0)
    assert scores == {"silence": {"accuracy": 0.0, "uar": 0.0, "macro_f1": 0.0, "no_speech": 1.0}}


def test_the_counterfactual_moves_the_pitch_and_nothing_at_zero(tiny_checkpoint, tiny_ravdess, tmp_path, capsys):
    out = tmp_path / "found"
    arguments = [tiny_checkpoint, "--data", str(tiny_ravdess), "--device", "cpu", "--out", str(out), "--json"]
    assert pitch_counterfactual.main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["semitones"] for row in result["shifts"]] == list(range(-4, 5))
    for row in result["shifts"]:
        for gender in row["by"]["gender"].values():
            assert sum(gender["predicted"]) == pytest.approx(1)
    assert out.with_suffix(".png").stat().st_size > 3_000


def test_a_study_refuses_clips_whose_part_is_not_known(tiny_ravdess, tmp_path, capsys):
    path = tmp_path / "other.pth"
    checkpoint.save(path, SpeechEmotionModel(), Provenance(Protocol().as_dict(), "another hash", seed=0))
    assert robustness.main([str(path), "--data", str(tiny_ravdess), "--out", str(tmp_path / "found")]) == 2
    assert "trained on another set of clips" in capsys.readouterr().err


def test_pitch_is_that_of_the_voice(tiny_ravdess, tmp_path):
    out = tmp_path / "pitch.csv"
    for emotion in (1, 5, 8):
        path = tmp_path / f"{emotion}.wav"
        soundfile.write(path, harmonic_voice(emotion - 1, 2, seed=0), SAMPLE_RATE)
        assert float(pitch.track(path)["median_hz"]) == pytest.approx(100 * 1.17 ** (emotion - 1), rel=0.02)
    assert pitch.main(["--data", str(next(tiny_ravdess.iterdir())), "--out", str(out)]) == 0
    found = pitch.read(out)
    assert len(found) == 32
    median, spread = pitch.in_semitones(found, list(found))
    assert 100 * 2 ** (median / 12) == pytest.approx([each.median_hz for each in found.values()])
    assert (spread >= 0).all()


def test_pitch_is_read_by_clip(tmp_path):
    path = tmp_path / "pitch.csv"
    path.write_text("clip,median_hz,spread_semitones,voiced\na,200.0,1.50,0.5\nb,,,0.000\n")
    median, spread = pitch.in_semitones(pitch.read(path), ["b", "a", "c"])
    assert median[1] == pytest.approx(12)
    assert spread[1] == 1.5
    assert np.isnan(median[[0, 2]]).all()


def answers(male_right: float, female_right: float, seed=0) -> Answers:
    """24 speakers; the men's clips are right with one probability, the women's with another."""
    generator = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(1, 25), 60)
    labels = np.tile(np.arange(60) % 8, 24)
    male = speakers % 2 == 1
    right = generator.random(len(speakers)) < np.where(male, male_right, female_right)
    return Answers(labels, np.where(right, labels, (labels + 1) % 8), speakers, male, np.where(male, 120.0, 210.0))


def test_a_difference_between_the_genders_is_found_and_chance_is_not():
    apart = pitch_bias.by_gender(answers(0.6, 0.8), seed=0)
    assert apart["uar_difference"] == pytest.approx(0.2, abs=0.05)
    assert apart["p_value"] < 0.001
    chance = [pitch_bias.by_gender(answers(0.7, 0.7, seed), seed=0)["p_value"] for seed in range(10)]
    assert np.mean(np.array(chance) < 0.1) <= 0.4


def test_permutations_are_differences_of_the_headline_uar():
    given = answers(0.6, 0.8)
    apart = pitch_bias.by_gender(given, seed=0)["uar_difference"]
    chance = pitch_bias.permuted_differences(given, seed=0, draws=2_000)
    assert abs(chance.mean()) < 0.01
    assert abs(chance).max() <= apart + 1e-9, "no other choice of twelve speakers is further apart"


def test_thirds_of_the_pitch_cover_all_answers():
    given = answers(0.6, 0.8)
    hertz = given.hertz + np.random.default_rng(0).normal(scale=10, size=len(given.hertz))
    hertz[:7] = np.nan
    found = pitch_bias.by_pitch(Answers(given.labels, given.predicted, given.speakers, given.male, hertz))
    assert sum(row["answers"] for row in found["all"]) == len(hertz) - 7
    assert [row["third"] for row in found["male"]] == ["low", "middle", "high"]
    assert found["all"][2]["uar"] > found["all"][0]["uar"] + 0.1


def test_the_command_reads_predictions_and_says_what_is_missing(clips, tmp_path, capsys):
    probabilities = dict.fromkeys(EMOTIONS, "0.10000") | {"sad": "0.30000"}
    rows = [
        {"part": "test", "clip": clip.id, "speaker": clip.speaker, "gender": clip.gender, "emotion": clip.emotion}
        | {"predicted": "sad", **probabilities}
        for clip in clips
    ]
    write_csv(tmp_path / "predictions.csv.gz", rows)
    pitches = [{"clip": clip.id, "median_hz": 100 + number % 90} for number, clip in enumerate(clips)]
    write_csv(tmp_path / "pitch.csv", pitches)
    where = ["--pitch", str(tmp_path / "pitch.csv"), "--out", str(tmp_path / "found")]
    assert pitch_bias.main([str(tmp_path / "predictions.csv.gz"), *where]) == 0
    assert "UAR of women's voices minus men's: +0.000" in capsys.readouterr().out
    assert (tmp_path / "found.png").stat().st_size > 3_000
    assert pitch_bias.main([str(tmp_path / "absent.csv"), *where]) == 2
    assert "absent.csv" in capsys.readouterr().err
    assert pitch_bias.main([str(tmp_path / "predictions.csv.gz"), "--pitch", str(tmp_path / "no.csv")]) == 2
    assert "python -m experiments.pitch writes it" in capsys.readouterr().err
    write_csv(tmp_path / "unknown.csv", [row | {"gender": ""} for row in rows])
    assert pitch_bias.main([str(tmp_path / "unknown.csv"), *where]) == 2
    assert "gender of every speaker" in capsys.readouterr().err
