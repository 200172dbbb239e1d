"""What only a CUDA device can show: agreement with the CPU, no waiting, and capture as a graph."""

import pytest
import torch

import ser_gpu
from ser_gpu import corpora, predict, train
from ser_gpu.audio.clip_bank import ClipBank, as_int16
from ser_gpu.config import AugmentConfig, CnnConfig, MelConfig, ModelConfig
from ser_gpu.corpora.splits import Protocol
from ser_gpu.model import SpeechEmotionModel, clip_logits
from ser_gpu.stages.mel import LogMel
from ser_gpu.stages.prepared import prepared
from ser_gpu.stages.stretch import change_pitch_and_tempo, change_speed
from ser_gpu.stages.trim import TrimSilence
from ser_gpu.training.config import TrainConfig
from ser_gpu.training.dataset import Dataset
from ser_gpu.training.loop import Trainer

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
    for waveform in (voices, as_int16(voices)):
        assert torch.equal(trim(waveform.cuda(), lengths.cuda()).cpu(), trim(waveform, lengths))


@pytest.mark.parametrize("backend", ["fft", "conv"])
def test_decibels_agree(backend, voices):
    mel = LogMel(MelConfig(backend=backend), 16_000)
    on_cpu = mel.decibels(voices)
    torch.testing.assert_close(mel.cuda().decibels(voices.cuda()).cpu(), on_cpu, atol=1e-3, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("members", [1, 2])
def test_an_ensemble_in_float16_is_near(members, voices):
    model = SpeechEmotionModel(ModelConfig(cnn=CnnConfig(members=members))).eval()
    spectrogram = model.spectrogram(voices).cuda()
    network = prepared(model.cuda().cnn)
    assert [each.blocks[0].conv1.weight.dtype for each in network.members] == [torch.float16]
    heard, expected = (model.probabilities(cnn(spectrogram).mean(dim=0)) for cnn in (network, model.cnn))
    torch.testing.assert_close(heard, expected, atol=1e-3, rtol=0)


def test_stretching_agrees(voices):
    """Over a floor of noise, as every recording has one: in digital silence the vocoder's phases are rounding errors,
    which differ from device to device, and what follows the silence keeps their difference."""
    waveform = voices + 0.01 * torch.randn_like(voices)
    ratios = torch.linspace(0.9, 1.1, 8)
    for stretch in (change_speed, lambda x, r: change_pitch_and_tempo(x, r, r.flip(0), longest=1.3)):
        on_cuda = stretch(waveform.cuda(), ratios.cuda()).cpu()
        # float32 on the CPU differs from float64 by 1e-4
        torch.testing.assert_close(on_cuda, stretch(waveform, ratios), atol=5e-4, rtol=0)


def test_a_training_epoch_never_waits_for_the_device(trainer):
    trainer.train_steps(on_step=lambda: None)  # builds the chain, chooses kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = trainer.train_steps(on_step=lambda: None)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert losses.isfinite().all()


def test_a_training_step_can_be_captured_as_a_graph(trainer):
    rows = trainer.rows[: trainer.batch_size].clone()
    trainer.model.train()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            trainer.step(rows)
    torch.cuda.current_stream().wait_stream(stream)
    graph, weights = torch.cuda.CUDAGraph(), [*trainer.model.cnn.parameters()]
    with torch.cuda.graph(graph):
        loss = trainer.step(rows)
    before, losses = [each.clone() for each in weights], []
    for _ in range(20):
        graph.replay()
        losses.append(loss.item())
    assert not any(torch.equal(each, old) for each, old in zip(weights, before, strict=True))
    assert losses[-1] < losses[0], "the same clips again and again"
    assert trainer.ema.n_averaged.item() == 23
    for group in (group for each in trainer.optimizers for group in each.param_groups):
        group["lr"].zero_()
    before = [each.clone() for each in weights]
    graph.replay()
    assert all(torch.equal(each, old) for each, old in zip(weights, before, strict=True)), "the rates are read anew"


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


@pytest.mark.parametrize("repeats", [1, 8], ids=["short", "several windows"])
def test_recordings_are_answered_alike(repeats, voices):
    model = ser_gpu.load_model(device="cpu")
    recordings = [voice.repeat(repeats) for voice in voices]
    on_cpu = [model.predict(each) for each in recordings]
    voice = model.enrol(recordings)
    with_voice = model.predict(recordings[0], voice=voice)
    model.cuda()
    for answers in ([model.predict(each) for each in recordings], list(model.predict_many(recordings))):
        for answer, expected in zip(answers, on_cpu, strict=True):
            # the CPU has its blocks in bfloat16 where it is fast
            assert answer.probabilities == pytest.approx(expected.probabilities, abs=0.02)
            assert answer.speech_seconds == expected.speech_seconds
    assert model.predict(recordings[0], voice=voice).probabilities == pytest.approx(with_voice.probabilities, abs=1e-3)
    enrolled = model.predict(recordings[0], voice=model.enrol(recordings))
    assert enrolled.probabilities == pytest.approx(with_voice.probabilities, abs=1e-3)


def test_a_timeline_is_the_same(voices):
    model = ser_gpu.load_model(device="cpu")
    recording = torch.cat([*voices, *voices])
    on_cpu = model.timeline(recording)
    on_cuda = model.cuda().timeline(recording)
    assert [(each.start, each.end) for each in on_cuda.stretches] == [
        (each.start, each.end) for each in on_cpu.stretches
    ]


def test_a_training_with_groups_and_validation_ends(tiny_ravdess, tmp_path):
    arguments = ["--data", str(tiny_ravdess), "--out", str(tmp_path / "run"), "--device", "cuda", "--epochs", "2"]
    arguments += ["--set", "training.grouped_share=0.5", "cnn.width=8"]
    assert train.main(arguments) == 0
    clip = next(tiny_ravdess.rglob("*.wav"))
    assert predict.main([str(clip), "--weights", str(tmp_path / "run" / "last.pth"), "--device", "cuda"]) == 0


@pytest.mark.parametrize("repeats", [1, 8], ids=["short", "several windows"])
def test_clips_of_a_bank_are_answered_alike(repeats, voices):
    model = SpeechEmotionModel().eval()
    bank = ClipBank.from_waveforms([voice.repeat(repeats) for voice in voices], 16_000)
    on_cpu = clip_logits(model, bank, torch.arange(8))
    on_cuda = clip_logits(model.cuda(), bank.to("cuda"), torch.arange(8, device="cuda"))
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, atol=1e-3, rtol=0)
