"""What only a CUDA device can show: agreement with the CPU, no waiting, and capture as a graph."""

import pytest
import torch

from ser_gpu import corpora
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.config import AugmentConfig, CnnConfig, MelConfig, ModelConfig
from ser_gpu.corpora.splits import Protocol
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.mel import LogMel
from ser_gpu.stages.stretch import change_pitch_and_tempo, change_speed
from ser_gpu.stages.trim import TrimSilence
from ser_gpu.training.config import TrainConfig
from ser_gpu.training.dataset import Dataset
from ser_gpu.training.loop import Trainer
from ser_gpu.windows import clip_logits

pytestmark = pytest.mark.cuda


@pytest.fixture
def trainer(tiny_ravdess):
    clips = corpora.load(tiny_ravdess).clips
    bank = ClipBank.read([clip.path for clip in clips], 16_000).to("cuda")
    dataset = Dataset(clips, bank, Protocol().split(clips))
    return Trainer(TrainConfig(epochs=4, batch_size=32), ModelConfig(), dataset, bfloat16=True)


def test_trimming_is_the_same_to_the_sample(voices):
    trim = TrimSilence(ModelConfig().trim, 16_000)
    lengths = torch.linspace(9_000, voices.shape[1], 8).long()
    assert torch.equal(trim(voices.cuda(), lengths.cuda()).cpu(), trim(voices, lengths))


@pytest.mark.parametrize("backend", ["fft", "conv"])
def test_decibels_agree(backend, voices):
    mel = LogMel(MelConfig(backend=backend), 16_000)
    on_cpu = mel.decibels(voices)
    torch.testing.assert_close(mel.cuda().decibels(voices.cuda()).cpu(), on_cpu, atol=1e-3, rtol=0)


def test_stretching_agrees(voices):
    ratios = torch.linspace(0.9, 1.1, 8)
    for stretch in (change_speed, lambda x, r: change_pitch_and_tempo(x, r, r.flip(0), longest=1.3)):
        torch.testing.assert_close(
            stretch(voices.cuda(), ratios.cuda()).cpu(), stretch(voices, ratios), atol=1e-4, rtol=0
        )


def test_a_training_epoch_never_waits_for_the_device(trainer):
    trainer.train_steps(on_step=lambda: None)  # builds the chain, chooses kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = trainer.train_steps(on_step=lambda: None)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert losses.isfinite().all()


def test_what_waits_is_caught():
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchroniz"):
            torch.ones(1, device="cuda").item()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_the_forward_pass_can_be_captured_as_a_graph(training, voices):
    config = ModelConfig(augment=AugmentConfig(mixup_probability=0.0), cnn=CnnConfig(width=8))
    model = SpeechEmotionModel(config).cuda().train(training)
    waveform = voices.cuda()
    stream = torch.cuda.Stream()
    with torch.no_grad(), torch.cuda.stream(stream):
        for _ in range(3):
            expected = model(waveform)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        answer = model(waveform)
    graph.replay()
    assert answer.shape == expected.shape
    if not training:
        torch.testing.assert_close(answer, expected)
    first = answer.clone()
    graph.replay()
    assert torch.equal(answer, first) is not training, "each replay in training draws anew"


def test_clips_of_a_bank_are_answered_alike(voices):
    model = SpeechEmotionModel().eval()
    bank = ClipBank.from_waveforms(list(voices), 16_000)
    on_cpu = clip_logits(model, bank, torch.arange(8))
    on_cuda = clip_logits(model.cuda(), bank.to("cuda"), torch.arange(8, device="cuda"))
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, atol=1e-3, rtol=0)
