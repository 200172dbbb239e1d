import pytest
import torch
from torch import nn

from ser_gpu.anatomy import anatomy
from ser_gpu.config import CnnConfig, ModelConfig
from ser_gpu.evidence import occlusion
from ser_gpu.model import SpeechEmotionModel


class Corner(nn.Module):
    """A network that hears emotion 3 by the lowest bands of the middle frames, and nothing else."""

    def forward(self, spectrogram):
        logits = torch.zeros(1, len(spectrogram), 8)
        logits[0, :, 3] = spectrogram[:, 0, :8, 80:100].mean(dim=(1, 2))
        return logits


def test_evidence_lies_where_the_network_looks(voices):
    model = SpeechEmotionModel()
    model.cnn = Corner()
    decibels, evidence = occlusion(model, voices[3], emotion=3)
    assert decibels.shape == evidence.shape == (64, 188)
    assert evidence[12:].abs().max() == 0
    assert evidence[:, :60].abs().max() == evidence[:, 120:].abs().max() == 0
    assert evidence[:8, 80:100].abs().max() == evidence.abs().max() > 0


@pytest.mark.parametrize("patch", [(8, 16), (5, 7), (64, 188), (100, 300)])
def test_every_cell_is_hidden_once_at_least(patch, voices):
    model = SpeechEmotionModel(ModelConfig(cnn=CnnConfig(width=4, depth=1)))
    _, evidence = occlusion(model, voices[0], 0, *patch)
    assert evidence.isfinite().all()


@pytest.mark.parametrize("cnn", [CnnConfig(), CnnConfig(width=8, depth=2, head="flatten"), CnnConfig(band_stride=2)])
def test_the_parts_are_all_of_one_member(cnn):
    model = SpeechEmotionModel(ModelConfig(cnn=cnn))
    parts = anatomy(model)
    assert sum(part.parameters for part in parts) == sum(p.numel() for p in model.cnn.members[0].parameters())
    assert parts[-1].shape == (8,)
    assert [part.name for part in parts] == ["stem", *(f"blocks.{i}" for i in range(cnn.depth)), "pool", "classify"]


@pytest.mark.parametrize("pool_first", [False, True])
def test_a_cell_sees_its_receptive_field_and_no_more(pool_first):
    """What changes a cell in the middle of a block's output lies within the stated size, and reaches its ends."""
    model = SpeechEmotionModel(ModelConfig(cnn=CnnConfig(width=4, depth=2, band_stride=1, pool_first=pool_first)))
    network = model.cnn.members[0].eval()
    picture = torch.randn(1, 1, 64, 188, requires_grad=True)
    out = network.blocks(network.stem(picture))
    out[0, :, out.shape[2] // 2, out.shape[3] // 2].sum().backward()
    touched = picture.grad[0, 0] != 0
    sees = next(part.sees for part in anatomy(model) if part.name == "blocks.1")
    for axis, size in enumerate(sees):
        places = touched.any(dim=1 - axis).nonzero()
        assert places.max() - places.min() + 1 == size
