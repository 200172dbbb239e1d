"""No stage of a training step waits for the device, and none loops over clips.

A pretended CUDA device (fake tensors: shapes without data) runs the very code that a real one would run, and refuses
whatever would have to read data back. Without a CUDA context there is no backward pass; `pytest -m cuda` asks a real
device the same of whole epochs.
"""

from collections import Counter

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch_audiomentations import Gain

from ser_gpu.config import WARPS, AugmentConfig, ModelConfig
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.augment import Mixup, build_chain
from ser_gpu.stages.cnn import EmotionCnn
from ser_gpu.stages.mel import nnaudio_kernels
from ser_gpu.trainer import members_loss


class Count(TorchDispatchMode):
    """Counts the operations that reach a device."""

    def __init__(self):
        super().__init__()
        self.operations = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation.namespace == "aten":
            self.operations[str(operation)] += 1
        return operation(*args, **(kwargs or {}))


@pytest.fixture(params=WARPS)
def real_parts(request):
    """What is made once, before the first step: kernels, and the chain of transforms."""
    config = ModelConfig(augment=AugmentConfig(warp=request.param, pitch_probability=0.25, stretch_probability=0.25))
    return config, [nnaudio_kernels(mel, 16_000) for mel in config.pictures], build_chain(config.augment, 16_000)


@pytest.fixture
def stock_gain():
    return Gain(p=0.5, sample_rate=16_000, output_type="dict")


@pytest.fixture
def fake_cuda(real_parts, stock_gain, monkeypatch):
    # the one kernel that torch has no shapes for: Beta's; any draw of its shape stands for it
    monkeypatch.setattr(torch, "_sample_dirichlet", torch.rand_like)
    monkeypatch.setattr(EmotionCnn, "to", lambda cnn, **_: cnn)  # fake parameters cannot change their memory format
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"):
        yield


def operations_of_a_step(batch, config, kernels, chain):
    empty = [tuple(torch.empty(kernel.shape) for kernel in each) for each in kernels]
    model = SpeechEmotionModel(config, mel_kernels=empty).train()
    model.augment.chain = chain
    mixup = Mixup(config.augment, len(model.labels))
    waveform = torch.randn(batch, 80_000)
    lengths = torch.full((batch,), 75_000)
    labels = torch.zeros(batch, dtype=torch.long)
    with Count() as count:
        spectrogram, targets = mixup(model.spectrogram(waveform, lengths), labels)
        logits = model.cnn(spectrogram)
        members_loss(logits, targets, 0.1)
    assert logits.device.type == "cuda"
    return count.operations


def test_a_step_is_the_same_operations_for_any_batch_and_none_of_them_waits(fake_cuda, real_parts):
    two, many = operations_of_a_step(2, *real_parts), operations_of_a_step(32, *real_parts)
    assert two == many
    assert 300 < sum(many.values()) < 1_500, "the step was counted, and it is no loop"


def test_what_waits_is_caught(fake_cuda, stock_gain):
    """The stock gain reads a mask back: the check above would see it."""
    with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
        stock_gain(torch.randn(8, 1, 16_000))
