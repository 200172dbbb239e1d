import numpy as np
import pytest
import torch

from ser_gpu.cli import options
from ser_gpu.config import CnnConfig, ModelConfig, TtaConfig
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.timeline.segment import Timeline, silent, spoken
from ser_gpu.voices.enrol import of_windows

RATE = 16_000
LABELS = ("neutral", "happy", "sad")
HAPPY, HAPPY_TOO, SAD = (
    dict(zip(LABELS, shares, strict=True)) for shares in ((0.1, 0.7, 0.2), (0.2, 0.6, 0.2), (0.25, 0.15, 0.6))
)


class LoudIsSpeech:
    """Stands for the detector where voices are synthetic: what is louder than a fifth of the usual level is speech."""

    sample_rate, frame = RATE, 512

    def __call__(self, waveform, state=None):
        return (np.sqrt(np.square(waveform.reshape(-1, 512)).mean(axis=1)) > 0.02).astype(np.float32), ()


@pytest.fixture
def loud_is_speech(monkeypatch):
    monkeypatch.setattr(SpeechEmotionModel, "hear", LoudIsSpeech.__call__)


@pytest.fixture(scope="session")
def small_model():
    torch.manual_seed(0)
    config = ModelConfig(tta=TtaConfig(enabled=False), cnn=CnnConfig(width=8, members=1))
    return SpeechEmotionModel(config).eval()


@pytest.fixture
def of_commands(small_model, loud_is_speech, monkeypatch):
    """The commands use the small model."""
    monkeypatch.setattr(options, "model", lambda *_: small_model)


@pytest.fixture(scope="session")
def voice(small_model):
    windows = 0.1 * torch.randn(20, 48_000, generator=torch.Generator().manual_seed(0)).numpy()
    return of_windows(small_model, [windows])


@pytest.fixture
def alice(voice, tmp_path):
    voice.save(tmp_path / "alice.voice")
    return str(tmp_path / "alice.voice")


@pytest.fixture
def timeline() -> Timeline:
    happy = spoken(0.5, 1.75, HAPPY), silent(1.75, 1.9), spoken(1.9, 3.0, HAPPY_TOO)
    parts = silent(0.0, 0.5), *happy, silent(3.0, 4.0), spoken(4.0, 61.5, SAD), silent(61.5, 62.25)
    return Timeline("my talk.wav", 62.25, LABELS, parts)


@pytest.fixture
def call() -> Timeline:
    """Two speakers in turn."""
    happy = spoken(0.0, 1.5, HAPPY, "alice"), spoken(1.5, 3.0, HAPPY_TOO, "bob <b>")
    parts = *happy, silent(3.0, 4.0), spoken(4.0, 6.0, SAD, "alice"), spoken(6.0, 7.0, SAD)
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
