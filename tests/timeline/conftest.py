import numpy as np
import pytest
import torch

from ser_gpu.config import CnnConfig, ModelConfig, TtaConfig
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.timeline import stream
from ser_gpu.timeline.segment import Timeline, silent, spoken

RATE = 16_000
LABELS = ("neutral", "happy", "sad")


class LoudIsSpeech:
    """Stands for the detector where voices are synthetic: what is louder than a fifth of the usual level is speech."""

    sample_rate, frame = RATE, 512

    def __call__(self, waveform, state=None):
        return (np.sqrt(np.square(waveform.reshape(-1, self.frame)).mean(axis=1)) > 0.02).astype(np.float32), ()


@pytest.fixture
def loud_is_speech(monkeypatch):
    monkeypatch.setattr(stream, "SpeechProbability", LoudIsSpeech)


@pytest.fixture(scope="session")
def small_model():
    torch.manual_seed(0)
    config = ModelConfig(tta=TtaConfig(enabled=False), cnn=CnnConfig(width=8, members=1))
    return SpeechEmotionModel(config).eval()


@pytest.fixture
def timeline() -> Timeline:
    parts = (
        silent(0.0, 0.5),
        spoken(0.5, 1.75, {"neutral": 0.1, "happy": 0.7, "sad": 0.2}),
        silent(1.75, 1.9),
        spoken(1.9, 3.0, {"neutral": 0.2, "happy": 0.6, "sad": 0.2}),
        silent(3.0, 4.0),
        spoken(4.0, 61.5, {"neutral": 0.25, "happy": 0.15, "sad": 0.6}),
        silent(61.5, 62.25),
    )
    return Timeline("my talk.wav", 62.25, LABELS, parts)


@pytest.fixture
def call() -> Timeline:
    """Two speakers in turn."""
    parts = (
        spoken(0.0, 1.5, {"neutral": 0.1, "happy": 0.7, "sad": 0.2}, "alice"),
        spoken(1.5, 3.0, {"neutral": 0.2, "happy": 0.6, "sad": 0.2}, "bob <b>"),
        silent(3.0, 4.0),
        spoken(4.0, 6.0, {"neutral": 0.25, "happy": 0.15, "sad": 0.6}, "alice"),
        spoken(6.0, 7.0, {"neutral": 0.25, "happy": 0.15, "sad": 0.6}),
    )
    return Timeline("call.wav", 7.0, LABELS, parts)


def speech_like(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise in syllables and phrases, with pauses between."""
    random = np.random.default_rng(seed)
    pieces = []
    while sum(map(len, pieces)) < seconds * RATE:
        length = int(random.uniform(0.2, 4.0) * RATE)
        pieces.append(0.3 * random.normal(size=length) * (0.6 + 0.4 * np.sin(np.arange(length) / 900)))
        pieces.append(np.zeros(int(random.uniform(0.05, 1.6) * RATE)))
    return np.concatenate(pieces)[: round(seconds * RATE)].astype(np.float32)
