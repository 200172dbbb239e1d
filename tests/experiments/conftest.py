import pytest
import torch

from ser_gpu import checkpoint, corpora
from ser_gpu.checkpoint import Provenance
from ser_gpu.config import AudioConfig, CnnConfig, ModelConfig, TtaConfig
from ser_gpu.corpora.splits import Protocol
from ser_gpu.model import SpeechEmotionModel


def saved(path, protocol, clips, seed=0) -> str:
    """An untrained model of a protocol on these clips."""
    torch.manual_seed(seed)
    config = ModelConfig(
        audio=AudioConfig(clip_seconds=1.0), cnn=CnnConfig(width=4, depth=2, members=1), tta=TtaConfig(enabled=False)
    )
    stored = {**protocol.as_dict(), "corpus": ", ".join(sorted({clip.corpus for clip in clips}))}
    checkpoint.save(path, SpeechEmotionModel(config), Provenance(stored, protocol.split(clips).manifest_hash, seed=0))
    return str(path)


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_ravdess, tmp_path_factory) -> str:
    """An untrained model that says it was trained on the synthetic data set."""
    path = tmp_path_factory.mktemp("studies") / "tiny.pth"
    split = Protocol().split(corpora.load(tiny_ravdess).clips)
    model = SpeechEmotionModel(ModelConfig(cnn=CnnConfig(width=4, depth=2)))
    checkpoint.save(path, model, Provenance(Protocol().as_dict(), split.manifest_hash, seed=0))
    return str(path)
