"""Files for clips; the real corpora where they are."""

from pathlib import Path

import pytest

from tests.conftest import named_folder


def touch(folder: Path, *names: str) -> Path:
    """Files of one byte, with the folders that they need; the folder without names is a file itself."""
    for path in [folder / name for name in names] or [folder]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return path


@pytest.fixture(scope="session")
def corpora_dir() -> Path:
    return named_folder("SER_CORPORA_DIR")
