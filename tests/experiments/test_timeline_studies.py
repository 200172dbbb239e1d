"""The studies of the timeline on synthetic data, from end to end."""

import json

from experiments import timeline_voices, vad
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.voices import enrol
from tests.timeline.conftest import LoudIsSpeech


def test_detectors_are_compared_on_voices_and_other_sounds(tiny_ravdess, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(vad, "CONDITIONS", {"clean": vad.CONDITIONS["clean"]})
    monkeypatch.setattr(vad, "NO_VOICE", {"white noise": vad.NO_VOICE["white noise"]})
    monkeypatch.setattr(vad, "NO_WORDS", {"laughter": vad.NO_WORDS["laughter"]})
    monkeypatch.setattr(vad, "_milliseconds", lambda *_: 1.0)
    out = tmp_path / "vad"
    arguments = ["--data", str(tiny_ravdess), "--clips", "2", "--sounds", "2", "--out", str(out)]
    assert vad.main(arguments) == 0
    assert "laughter" in capsys.readouterr().out
    result = json.loads(out.with_suffix(".json").read_text())
    assert result["voices"]["clean"]["third frame"] == 1.0
    noise, laughter = result["other_sounds"]["white noise"], result["no_words"]["laughter"]
    assert [noise[name] for name in vad.DETECTORS] == [0.0] * 2
    assert noise["silero_probability"]["most"] < 0.5 < laughter["silero_probability"]["least"]
    assert (noise["third_frame_reaches"]["0.5"], laughter["third_frame_reaches"]["0.5"]) == (0.0, 1.0)
    assert set(result["milliseconds_first_clip"]) == set(vad.DETECTORS)


def test_a_voice_and_who_speaks_when_are_compared(tiny_checkpoint, tiny_ravdess, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(SpeechEmotionModel, "hear", LoudIsSpeech.__call__)
    monkeypatch.setattr(enrol, "SHORTEST_SECONDS", 0.2)
    out = tmp_path / "voices"
    arguments = [tiny_checkpoint, "--data", str(tiny_ravdess), "--device", "cpu", "--out", str(out)]
    assert timeline_voices.main([*arguments, "--speakers", "2", "--clips", "2", "--enrolled", "1"]) == 0
    assert "varied speech" in capsys.readouterr().out
    recordings = json.loads(out.with_suffix(".json").read_text())["recordings"]
    assert list(recordings["varied speech"]) == list(timeline_voices.ROWS)
    assert list(recordings["two speakers in turn"]) == ["no voice given", "who speaks when", "own voice of each"]
    for rows in recordings.values():
        assert all(0 <= row["accuracy"] <= 1 for row in rows.values())
