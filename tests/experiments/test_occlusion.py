import pytest
import torch
from torch import nn

from experiments.occlusion import occlusion
from ser_gpu.config import CnnConfig, ModelConfig
from ser_gpu.model import SpeechEmotionModel


class Corner(nn.Module):
    """A network that knows emotion 3 by the lowest bands of the middle frames, and nothing else."""

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
