"""The long checks, short; and what their committed results say."""

import json
import signal

import numpy as np
import pytest

from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.audio.reader import AudioError
from ser_gpu.model import SpeechEmotionModel
from tests import forks
from tests.conftest import synthetic_ravdess, synthetic_voice
from tests.long import files, fuzz, memory, report, speech, timeline


@pytest.fixture(scope="module")
def voices():
    return [synthetic_voice(emotion, 1, 0) for emotion in range(8)]


def test_damaged_files_get_an_answer_or_one_line():
    outcome = fuzz.fuzz(synthetic_voice(3, 1, 0, seconds=0.3), mutations=250, seed=1)
    assert outcome["failures"] == []
    assert outcome["counts"]["answered"] > 20
    assert outcome["counts"]["refused"] > 20


@pytest.mark.parametrize("fault", ["traceback", "too slow", "crashed"])
def test_the_fuzzer_sees_what_goes_wrong(fault, tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS_LIMIT", 0.5)
    monkeypatch.setattr(fuzz, "_serve", _Faulty(fault))
    outcome = fuzz.fuzz(synthetic_voice(3, 1, 0, seconds=0.1), mutations=2, seed=1)
    assert len(outcome["failures"]) == 2
    assert all(fault in failure for failure in outcome["failures"])


class _Faulty:
    """A reader with a fault, in the form that another process can load."""

    def __init__(self, fault):
        self.fault = fault

    def __call__(self, pipe):
        import os
        import time

        pipe.send(1.0)
        for _ in fuzz._received(pipe):
            if self.fault == "crashed":
                os.abort()
            if self.fault == "too slow":
                time.sleep(60)
            pipe.send(("traceback: KeyError", 1.0))


def test_many_files_are_answered_in_order_and_the_bad_ones_listed(voices, tmp_path):
    outcome = files.predict_many(voices, 300, tmp_path / "voices", seed=0, start_process=forks.Popen)
    assert outcome["exit_code"] == 1
    assert outcome["in_order"]
    assert outcome["all_bad_listed"]
    assert outcome["each_error_names_its_file"]
    assert outcome["answered"] == 297
    assert outcome["error_lines"] == outcome["bad"] == 3
    assert outcome["seconds_to_the_first_answer"] < 0.8 * outcome["seconds"], "answers come as they are found"
    assert outcome["megabytes_late"] < outcome["megabytes_early"] + 15


def test_ctrl_c_ends_cleanly_with_what_was_done(voices, tmp_path):
    outcome = files.interrupt(voices, 500, tmp_path / "voices", after=20)
    assert outcome["exit_code"] == 130
    assert 20 <= outcome["answers"] < 500
    assert outcome["last_error_line"] == "interrupted"


def test_memory_of_a_loop_is_level(voices):
    outcome = memory.prediction(voices[:2], seconds=8.0, start_process=forks.Popen)
    assert outcome["exit_code"] is None, "it went on until its time was over"
    assert int(outcome["last_line"]) > 0
    assert outcome["megabytes_late"] < outcome["megabytes_early"] + 50


def test_memory_of_a_training_is_watched(tmp_path):
    data = synthetic_ravdess(tmp_path / "data")
    settings = ["--protocol", "speakers", "--set", "cnn.width=2", "audio.clip_seconds=0.5"]
    arguments = ["--data", str(data), "--out", str(tmp_path / "run"), "--epochs", "2", *settings]
    outcome = memory.training(arguments, seconds=120.0, start_process=forks.Popen)
    assert outcome["exit_code"] == 0
    assert outcome["megabytes_peak"] >= outcome["megabytes_late"] > 100


def test_a_recording_becomes_a_timeline_by_one_command():
    found = timeline.long_recording(minutes=0.25, share=0.9, start_process=forks.Popen)  # most is the start
    assert found["exit_code"] == 0
    assert found["written"] == ["talk.json", "talk.png", "talk.vtt"]
    assert found["segments"] > 4
    assert found["pipe_gives_the_same"]
    assert found["interrupted"]["kept_is_the_same"]
    code, kept = (found["interrupted"][key] for key in ("exit_code", "kept_seconds"))
    # so short a recording may be over before, and a process that ends does not catch Ctrl-C any more
    assert code == 130 or (code in (0, -signal.SIGINT) and kept == pytest.approx(60 * found["minutes"]))


@pytest.mark.ravdess
def test_speech_is_found_in_speech_and_in_nothing_else(ravdess_paths):
    found = speech.detect(ClipBank.read(ravdess_paths[::12], 16_000), noises=20, seed=3)["speech_found"]
    assert found.pop("speech, white noise at 0 dB") > 0.9
    for what, share in found.items():
        assert share == (1.0 if what.startswith("speech") else 0.0), what


def test_noise_that_comes_and_goes_is_rarely_speech():
    model, generator = SpeechEmotionModel(), np.random.default_rng(0)
    envelope = 1 + np.sin(2 * np.pi * 4 * np.arange(48_000) / 16_000)
    found = 0
    for _ in range(50):
        try:
            model.predict((envelope * generator.normal(size=48_000)).astype(np.float32))
            found += 1
        except AudioError:
            pass
    assert found <= 4  # about one in a hundred


def test_every_long_check_has_a_committed_result():
    assert {path.stem for path in report.RESULTS.glob("*.json")} == set(report.ROWS)


def test_the_committed_results_are_good():
    results = {path.stem: json.loads(path.read_text()) for path in report.RESULTS.glob("*.json")}
    assert results["fuzz"]["mutations"] >= 100_000
    assert results["fuzz"]["failures"] == []
    assert results["fuzz"]["peak_megabytes"] < fuzz.MEGABYTES_LIMIT
    assert results["fuzz"]["slowest_seconds"] < fuzz.SECONDS_LIMIT
    assert results["files"]["files"] >= 10_000
    assert results["files"]["answered"] + results["files"]["error_lines"] == results["files"]["files"]
    assert results["kills"]["kills"] >= 20
    short, long = results["hours"]["recordings"]
    assert long["minutes"] >= 180
    assert short["exit_code"] == long["exit_code"] == 0
    # within a batch of windows memory goes up and down by more than 100 MB; what would grow is the median
    assert long["megabytes_late"] < long["megabytes_early"] + 50
    assert long["megabytes_peak"] < short["megabytes_peak"] + 300
    talk = results["timeline"]
    assert talk["exit_code"] == 0
    assert talk["pipe_gives_the_same"]
    assert talk["megabytes_late"] < talk["megabytes_early"] + 50
    assert talk["interrupted"]["exit_code"] == 130
    assert talk["interrupted"]["kept_is_the_same"]
    assert talk["interrupted"]["said_so"]
    assert 0 < talk["interrupted"]["kept_seconds"] < 60 * talk["minutes"]
    prediction, training = results["memory-prediction"], results["memory-training"]
    assert min(prediction["seconds"], training["seconds"]) > 3_500
    assert prediction["megabytes_late"] < prediction["megabytes_early"] + 50
    # the allocator settles for minutes at large activations; a leak of 100 kB a step would be more than this in an hour
    assert training["megabytes_late"] < training["megabytes_by_minute"][9] + 100
