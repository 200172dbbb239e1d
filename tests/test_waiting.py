"""No stage of a training step waits for the device, and none loops over clips.

A pretended CUDA device (fake tensors: shapes without data) runs the very code that a real one would run, and refuses
whatever would have to read data back. Without a CUDA context there is no backward pass; `pytest -m cuda` asks a real
device the same of whole epochs.
"""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.config import WARPS, AugmentConfig, ModelConfig
from ser_gpu.corpora.clip import Clip
from ser_gpu.corpora.splits import Split
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.cnn import EmotionCnn
from ser_gpu.stages.mel import nnaudio_kernels
from ser_gpu.stages.spectrogram_augment import Mixup
from ser_gpu.stages.waveform_augment import build_chain
from ser_gpu.training.config import TrainConfig
from ser_gpu.training.dataset import Dataset
from ser_gpu.training.loop import Trainer
from ser_gpu.training.sampler import sampler_of


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
    return config, nnaudio_kernels(config.mel, 16_000), build_chain(config.augment, 16_000)


@pytest.fixture
def fake_cuda(real_parts, monkeypatch):
    # the one kernel that torch has no shapes for: Beta's; any draw of its shape stands for it
    monkeypatch.setattr(torch, "_sample_dirichlet", torch.rand_like)
    monkeypatch.setattr(EmotionCnn, "to", lambda cnn, **_: cnn)  # fake parameters cannot change their memory format
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"):
        yield


def operations_of_a_step(batch, config, kernels, chain, groups=1):
    empty = tuple(torch.empty(kernel.shape) for kernel in kernels)
    model = SpeechEmotionModel(config, mel_kernels=empty).train()
    model.augment.chain = chain
    mixup = Mixup(config.augment, len(model.labels))
    samples, offsets = torch.zeros(1_000_000, dtype=torch.int16), torch.arange(batch)
    bank = ClipBank(samples, offsets, torch.full((batch,), 200_000), 16_000, longest=200_000)
    zeros = torch.zeros(batch, dtype=torch.long)
    known = torch.ones(1, len(model.labels), dtype=torch.bool) if groups > 1 else None
    dataset = SimpleNamespace(bank=bank, targets=zeros, corpus=zeros, known=known)
    trainer = SimpleNamespace(dataset=dataset, model=model, mixup=mixup, config=TrainConfig(), bfloat16=False)
    trainer.device = zeros.device
    with Count() as count:
        loss = Trainer.loss(trainer, torch.arange(batch), groups)
    assert loss.device.type == "cuda"
    return count.operations


def test_a_step_is_the_same_operations_for_any_batch_and_none_of_them_waits(fake_cuda, real_parts):
    two, many = operations_of_a_step(2, *real_parts), operations_of_a_step(32, *real_parts)
    assert two == many
    assert 300 < sum(many.values()) < 1_500, "the step was counted, and it is no loop"
    few, many = operations_of_a_step(8, *real_parts, groups=2), operations_of_a_step(16, *real_parts, groups=2)
    assert few == many, "nor of a step by groups"


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("corpora", [1, 2])
def test_no_sampler_waits(corpora, share):
    clips = [
        Clip(f"{i:03}", Path("a.wav"), ("sad", "happy")[i // 3 % 2], str(i // 20), str(i // 20 % corpora))
        for i in range(160)
    ]
    samples, places = torch.ones(2_000, dtype=torch.int16), torch.arange(160)
    bank = ClipBank(samples, places, torch.full((160,), 800), 16_000, longest=800)
    dataset = Dataset(clips, bank, Split({clip.id: "train" for clip in clips}))
    drawn = sampler_of(dataset, dataset.rows["train"], TrainConfig(grouped_share=share))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.device("cuda"):
        for each in (drawn, *getattr(drawn, "samplers", ())):
            for name, value in vars(each).items():
                if isinstance(value, torch.Tensor):
                    setattr(each, name, mode.from_tensor(value).to("cuda"))
        batches = list(drawn.batches(4))
    assert [batch.rows.shape for batch in batches] == [(32,)] * 4
    assert all(batch.rows.device.type == "cuda" for batch in batches)
