"""Clips by name, without files; the real corpora where they are."""

import itertools
import os
from pathlib import Path

import pytest

from ser_gpu.corpora import ravdess
from ser_gpu.corpora.clip import Clip, by_id


def official_names(speakers=ravdess.ACTORS, intensities=(1, 2)) -> list[str]:
    """The names of the RAVDESS archive, in its order."""
    return [
        f"03-01-{emotion:02}-{intensity:02}-{statement:02}-{repetition:02}-{speaker}"
        for speaker, emotion, intensity, statement, repetition in itertools.product(
            speakers, range(1, 9), intensities, (1, 2), (1, 2)
        )
        if not (emotion == 1 and intensity == 2)
    ]


def touch(path: Path) -> Path:
    """A file of one byte, with the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


@pytest.fixture(scope="session")
def clips() -> tuple[Clip, ...]:
    """All 1,440 RAVDESS clips by name; the files do not exist."""
    parsed = (ravdess.parse(f"Actor_{name[-2:]}/{name}.wav") for name in official_names())
    return tuple(sorted(parsed, key=by_id))


@pytest.fixture(scope="session")
def corpora_dir() -> Path:
    """The folder of the other corpora; tests that ask for it are skipped without."""
    folder = os.environ.get("SER_CORPORA_DIR")
    if not folder:
        pytest.skip("SER_CORPORA_DIR is not set")
    return Path(folder)
