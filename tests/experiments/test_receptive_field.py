import pytest
import torch

from experiments import receptive_field
from ser_gpu.config import CnnConfig, MelConfig, ModelConfig
from ser_gpu.model import SpeechEmotionModel


@pytest.mark.parametrize("cnn", [CnnConfig(), CnnConfig(width=8, depth=2, head="flatten")])
def test_the_parts_are_all_of_one_member(cnn):
    model = SpeechEmotionModel(ModelConfig(cnn=cnn))
    parts = receptive_field.parts(model)
    assert sum(part.parameters for part in parts) == sum(p.numel() for p in model.cnn.members[0].parameters())
    assert parts[-1].shape == (8,)
    assert [part.name for part in parts] == ["stem", *(f"blocks.{i}" for i in range(cnn.depth)), "pool", "classify"]


def test_a_cell_depends_on_its_receptive_field_and_no_more():
    """What changes a cell in the middle of a block's output lies within the stated size, and reaches its ends."""
    config = ModelConfig(mel=MelConfig(n_mels=128), cnn=CnnConfig(width=4, depth=2))
    model = SpeechEmotionModel(config)
    network = model.cnn.members[0].eval()
    spectrogram = torch.randn(1, 1, 128, config.frames, requires_grad=True)
    out = network.blocks(network.stem(spectrogram))
    out[0, :, out.shape[2] // 2, out.shape[3] // 2].sum().backward()
    touched = spectrogram.grad[0, 0] != 0
    stated = next(part.receptive_field for part in receptive_field.parts(model) if part.name == "blocks.1")
    for axis, size in enumerate(stated):
        places = touched.any(dim=1 - axis).nonzero()
        assert places.max() - places.min() + 1 == size
