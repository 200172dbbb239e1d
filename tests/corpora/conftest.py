"""Files for clips; the real corpora where they are."""

import os
from pathlib import Path

import pytest


def touch(folder: Path, *names: str) -> Path:
    """Files of one byte, with the folders that they need; the folder without names is a file itself."""
    for path in [folder / name for name in names] or [folder]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return path


@pytest.fixture(scope="session")
def corpora_dir() -> Path:
    """The folder of the other corpora; tests that ask for it are skipped without."""
    folder = os.environ.get("SER_CORPORA_DIR")
    if not folder:
        pytest.skip("SER_CORPORA_DIR is not set")
    return Path(folder)
