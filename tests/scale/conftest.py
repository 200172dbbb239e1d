"""A small Ray on this machine for the tests of scoring; all of them are skipped where Ray is not installed."""

import numpy as np
import pytest
import soundfile

from ser_gpu import checkpoint
from ser_gpu.errors import NoSpeechError
from tests.conftest import synthetic_voice


@pytest.fixture(scope="session")
def local_ray():
    """Two cores and 200 MB of objects; `ser-gpu score` takes the Ray that its process has."""
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'ser_gpu[ray]'")
    ray.init("local", num_cpus=2, object_store_memory=200 * 10**6, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


BAD = {"empty.wav": b"", "text.wav": b"nobody speaks here", "broken.flac": b"fLaC" + bytes(40)}


@pytest.fixture(scope="session")
def calls(tmp_path_factory):
    """Forty voices, a silent file and three bad ones."""
    folder = tmp_path_factory.mktemp("calls")
    for n in range(40):
        soundfile.write(folder / f"{n:02}.wav", synthetic_voice(n % 8, n % 6, n, seconds=0.6 + n % 5), 16_000)
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    for name, content in BAD.items():
        (folder / name).write_bytes(content)
    return folder


def assert_answers(rows, folder, model):
    """A row for each file of a folder, in order, as `predict_many` answers it."""
    paths = sorted(folder.iterdir())
    for path, row, answer in zip(paths, rows, model.predict_many(paths), strict=True):
        assert row["path"] == str(path)
        if isinstance(answer, Exception):
            assert (row["error"], row["emotion"], row["confidence"]) == (str(answer), None, None)
            assert (row["speech_seconds"] == 0) == isinstance(answer, NoSpeechError)
        else:
            assert (row["error"], row["emotion"]) == (None, answer.emotion)
            assert row["speech_seconds"] == answer.speech_seconds
            # another batch adds in another order, and the file keeps 32 bits
            assert [row[f"p_{e}"] for e in model.labels] == pytest.approx([*answer.probabilities.values()], abs=1e-5)


@pytest.fixture(scope="session")
def model(weights):
    return checkpoint.load(weights, "cpu")[0]
