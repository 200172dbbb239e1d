import pytest

from ser_gpu import checkpoint, corpora
from ser_gpu.checkpoint import Provenance
from ser_gpu.config import CnnConfig, ModelConfig
from ser_gpu.corpora.splits import Protocol
from ser_gpu.model import SpeechEmotionModel


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_ravdess, tmp_path_factory) -> str:
    """An untrained model that says it was trained on the synthetic data set."""
    path = tmp_path_factory.mktemp("studies") / "tiny.pth"
    split = Protocol().split(corpora.load(tiny_ravdess).clips)
    model = SpeechEmotionModel(ModelConfig(cnn=CnnConfig(width=4, depth=2)))
    checkpoint.save(path, model, Provenance(Protocol().as_dict(), split.manifest_hash, seed=0))
    return str(path)
