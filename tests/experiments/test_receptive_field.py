import pytest
import torch

from experiments import receptive_field
from ser_gpu.config import CnnConfig, MelConfig, ModelConfig
from ser_gpu.model import SpeechEmotionModel


@pytest.mark.parametrize("cnn", [CnnConfig(), CnnConfig(width=8, depth=2, head="flatten", block_dropout=0.1)])
def test_the_layers_are_all_of_one_member(cnn):
    model = SpeechEmotionModel(ModelConfig(cnn=cnn))
    layers = receptive_field.layers(model)
    assert sum(layer.parameters for layer in layers) == sum(p.numel() for p in model.cnn.members[0].parameters())
    assert [layer.kind for layer in layers[:4]] == ["Conv2d 5 x 5", "BatchNorm2d", "AvgPool2d 2 x 2", "Conv2d 3 x 3"]
    assert [layer.kind for layer in layers[-2:]] == ["Dropout, p = 0.2", "Linear"]
    assert sum(layer.kind.startswith("Dropout2d") for layer in layers) == (2 if cnn.block_dropout else 0)
    assert ("AdaptiveAvgPool2d" in {layer.kind for layer in layers}) == (cnn.head == "gap")
    assert layers[0].shape == (cnn.width // 2, 32, 94)
    assert layers[-1].shape == (8,)
    assert layers[-1].receptive_field == (64, 188)


def test_a_cell_depends_on_its_receptive_field_and_no_more():
    """What changes a cell in the middle of a block's output lies within the stated size, and reaches its ends."""
    config = ModelConfig(mel=MelConfig(n_mels=128), cnn=CnnConfig(width=4, depth=2))
    model = SpeechEmotionModel(config)
    network = model.cnn.members[0].eval()
    spectrogram = torch.randn(1, 1, 128, config.frames, requires_grad=True)
    out = network.blocks(network.stem(spectrogram))
    out[0, :, out.shape[2] // 2, out.shape[3] // 2].sum().backward()
    touched = spectrogram.grad[0, 0] != 0
    stated = next(layer for layer in receptive_field.layers(model) if layer.name == "blocks.1.norm2").receptive_field
    for axis, size in enumerate(stated):
        places = touched.any(dim=1 - axis).nonzero()
        assert places.max() - places.min() + 1 == size
