"""Shared fixtures: RAVDESS names without files, a small synthetic tree, and the real recordings where they are."""

import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, settings
from torch import nn

from benchmarks.signals import gliding_voice
from ser_gpu import checkpoint, corpora
from ser_gpu.audio.samples import level
from ser_gpu.config import AudioConfig, CnnConfig, ModelConfig, TtaConfig
from ser_gpu.corpora.clip import EMOTIONS, Clip, by_id
from ser_gpu.corpora.splits import Protocol
from ser_gpu.evaluation import figures
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.speaker_norm import SpeakerNorm2d

# Several tests run at once, and so do the commands that they start: one thread each.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)
# What the tests start need not compile the package each time, whatever this machine has set.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Processes that compile librosa's functions at the same time spoil numba's cache, and what reads it then crashes.
_OWN_CACHE = f"build/numba-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).parent.parent / _OWN_CACHE)
# In the background of a shell this process ignores Ctrl-C, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
# torch's half a million objects stay: a garbage collection need not walk through them each time.
gc.freeze()
gc.set_threshold(50_000, 20, 100)
# A busy machine is no failure.
settings.register_profile("tests", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("tests")

# Begun first, so that no worker is left with one of them in the end: with `--dist loadfile` a file is one worker's.
LONG_FILES = (
    "test_benchmarks.py",
    "test_notebook.py",
    "test_distributed.py",
    "test_export.py",
    "test_crossvalidate.py",
    "test_interruptions.py",
    "test_train.py",
    "test_score.py",
)
ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "examples" / "sample.wav"
SAMPLE_RATE = 16_000
TINY_SPEAKERS = range(1, 7)
FUZZ = settings(max_examples=int(os.environ.get("SER_FUZZ_EXAMPLES", "60")))


def official_names(actors=range(1, 25), intensities=(1, 2)) -> list[str]:
    """The names of the archive, in its order."""
    return [
        f"03-01-{emotion:02}-{intensity:02}-{statement:02}-{repetition:02}-{actor:02}"
        for actor, emotion, intensity, statement, repetition in itertools.product(
            actors, range(1, 9), intensities, (1, 2), (1, 2)
        )
        if not (emotion == 1 and intensity == 2)
    ]


def pytest_xdist_auto_num_workers():
    """One more than there are cores, since many tests wait for a process or for time to pass."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else None


def pytest_collection_modifyitems(items):
    """Long files first; skip what this machine has no device for."""
    order = {name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
    if not torch.cuda.is_available():
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@contextmanager
def started(*arguments: object, seconds: float = 400.0, **settings) -> Iterator[subprocess.Popen]:
    """A process of Python with pipes, which is killed when it takes too long, and in the end."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | {"text": True, "cwd": ROOT} | settings
    with subprocess.Popen([sys.executable, *map(str, arguments)], **pipes) as process:
        watchdog = threading.Timer(seconds, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


def ran(*arguments: object, **settings) -> subprocess.CompletedProcess:
    """A process of Python that has ended, and what it printed."""
    defaults = {"capture_output": True, "text": True, "cwd": ROOT, "timeout": 400}
    return subprocess.run([sys.executable, *map(str, arguments)], **defaults | settings)


def error_line(printed: str) -> str:
    """The one line of an error that a command printed, beside notes and without a traceback."""
    assert "Traceback" not in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    return line


def saved_model(path: Path, *, seed=0, protocol=None, manifest_hash="", labels=EMOTIONS) -> str:
    """A small checkpoint that was not trained."""
    torch.manual_seed(seed)
    audio, cnn = AudioConfig(clip_seconds=1.0), CnnConfig(width=4, depth=2, members=1)
    model = SpeechEmotionModel(ModelConfig(audio, cnn=cnn, tta=TtaConfig(enabled=False)), labels)
    provenance = checkpoint.Provenance(protocol or Protocol().as_dict(), manifest_hash, seed=0)
    checkpoint.save(path, model, provenance)
    return str(path)


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> str:
    """Its file."""
    return saved_model(tmp_path_factory.mktemp("weights") / "small.pth")


@pytest.fixture(scope="session")
def clips() -> tuple[Clip, ...]:
    """All 1,440 clips by name; the files do not exist."""
    return tuple(
        sorted((corpora.get("ravdess").parse(f"Actor_{name[-2:]}/{name}.wav") for name in official_names()), key=by_id)
    )


def synthetic_voice(
    emotion: int, actor: int, seed: int, seconds: float = 0.6, sample_rate: int = SAMPLE_RATE
) -> np.ndarray:
    """Syllables between silences, which the detector takes for speech; the pitch tells the emotion, the timbre the
    actor.
    """
    tone = gliding_voice(100 * 1.14**emotion, 0.5 + actor / 20, round(seconds * sample_rate), sample_rate)
    return _syllables(tone, actor, seed, sample_rate)


def harmonic_voice(emotion: int, actor: int, seed: int, seconds: float = 0.6) -> np.ndarray:
    """The same of a steady tone without formants, which nobody takes for speech."""
    time, pitch = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE, 100 * 1.17**emotion
    harmonics = np.arange(1, int(3_500 / pitch) + 1)
    tone = np.sin(2 * np.pi * pitch * time[:, None] * harmonics) @ harmonics ** -(1 + actor / 10)
    return _syllables(tone, actor, seed, SAMPLE_RATE)


def _syllables(tone: np.ndarray, actor: int, seed: int, sample_rate: int) -> np.ndarray:
    time = np.arange(len(tone)) / sample_rate
    noise = np.random.default_rng(seed).normal(size=len(time))
    voice = np.sin(4 * np.pi * time) ** 2 * (0.2 * tone + 0.005 * noise)
    before, after = 0.125 + actor / 400, 0.19
    return np.pad(voice, (round(before * sample_rate), round(after * sample_rate))).astype(np.float32)


def synthetic_ravdess(root: Path) -> Path:
    """192 short synthetic clips of six actors under official names."""
    for seed, name in enumerate(official_names(TINY_SPEAKERS, intensities=(1,))):
        clip = corpora.get("ravdess").parse(f"{name}.wav")
        folder = root / f"Actor_{clip.speaker}"
        folder.mkdir(parents=True, exist_ok=True)
        voice = synthetic_voice(EMOTIONS.index(clip.emotion), int(clip.speaker), seed)
        soundfile.write(folder / f"{name}.wav", voice, SAMPLE_RATE)
    return root


@pytest.fixture(scope="session")
def tiny_ravdess(tmp_path_factory) -> Path:
    """The folder of a small synthetic data set."""
    return synthetic_ravdess(tmp_path_factory.mktemp("tiny") / "ravdess")


def named_folder(variable: str) -> Path:
    """A folder of recordings; tests that ask for it are skipped where the variable is not set."""
    return Path(os.environ.get(variable) or pytest.skip(f"{variable} is not set"))


@pytest.fixture(scope="session")
def ravdess_dir() -> Path:
    return named_folder("RAVDESS_DIR")


@pytest.fixture(scope="session")
def ravdess_paths(ravdess_dir) -> list[Path]:
    """All 1,440 real clips; a test decodes those that it hears."""
    return [clip.path for clip in corpora.load(ravdess_dir, "ravdess").clips]


@pytest.fixture
def voices() -> torch.Tensor:
    """[8, 14640] synthetic voices, one an emotion, their peaks at 1 as `load` gives them."""
    return torch.stack([torch.from_numpy(level(harmonic_voice(emotion, 0, seed=emotion))) for emotion in range(8)])


@pytest.fixture
def no_figures(monkeypatch):
    """Empty files for figures, each of which takes half a second; for tests that train many times."""
    monkeypatch.setattr(figures, "save", lambda figure, path, dpi=0: Path(path).touch())


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class PlainHead(nn.Module):
    """A network of a user's own: batch normalisation that takes a voice, and a last layer that takes none."""

    def __init__(self, config, bands, frames, classes):
        super().__init__()
        self.norm, self.classify = SpeakerNorm2d(1), nn.Linear(bands, classes)

    def forward(self, spectrogram):
        return self.classify(self.norm(spectrogram).mean(dim=(1, 3)))
