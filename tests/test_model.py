import copy
from unittest.mock import MagicMock, call

import pytest
import torch

from ser_gpu.audio.clip_bank import INT16_SCALE, as_int16
from ser_gpu.config import CnnConfig, ModelConfig
from ser_gpu.model import SpeechEmotionModel, uploaded


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = SpeechEmotionModel(ModelConfig(cnn=CnnConfig(width=16)))
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.uniform_(norm.running_mean, -0.1, 0.1)
    return model.eval()


def test_raw_audio_in_logits_out(model):
    assert model(torch.randn(4, 48_000)).shape == (4, 8)
    assert model(torch.randn(2, 1_000)).shape == (2, 8)
    assert model(torch.randn(2, 100_000), torch.tensor([90_000, 60_000])).shape == (2, 8)
    assert model(torch.zeros(1, 48_000)).isfinite().all()
    other = SpeechEmotionModel(labels=("angry", "bored", "laughing")).eval()
    assert other(torch.randn(2, 48_000)).shape == (2, 3)
    assert other.labels == ("angry", "bored", "laughing")


def test_embed_gives_what_the_last_layers_see(model, voices):
    features = model.embed(voices)
    last = [member.classify for member in model.cnn.members]
    parts = features.split([layer.in_features for layer in last], dim=1)
    logits = torch.stack([layer(part) for layer, part in zip(last, parts, strict=True)]).mean(dim=0)
    torch.testing.assert_close(logits, model(voices), atol=1e-5, rtol=0)  # linear, so the order of means is free
    torch.testing.assert_close(model.embed(voices[2:3]), features[2:3], atol=1e-5, rtol=0)
    # folded into one network the numbers differ by rounding
    torch.testing.assert_close(model.with_voice().embed(voices), features, atol=1e-3, rtol=1e-3)


def test_eval_repeats_itself_and_train_does_not_and_reaches_every_weight(model, voices):
    assert torch.equal(model(voices), model(voices))
    model = copy.deepcopy(model).train()
    assert not torch.equal(model.spectrogram(voices), model.spectrogram(voices))
    model(voices).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_autocast_touches_the_cnn_alone(model, voices):
    with torch.autocast("cpu", torch.bfloat16):
        spectrogram = model.spectrogram(voices)
        assert model(voices).dtype == torch.bfloat16
    assert torch.equal(spectrogram, model.spectrogram(voices))


@pytest.mark.parametrize("waveform", [torch.zeros(48_000), torch.zeros(2, 0), torch.zeros(2, 8_000, dtype=torch.int32)])
def test_forward_refuses_what_is_no_batch_of_waveforms(model, waveform):
    with pytest.raises(ValueError, match="waveform must be"):
        model(waveform)


def test_windows_go_up_as_int16_on_a_stream_of_their_own(model, voices, monkeypatch):
    """With streams that only write down what is asked of them, since there may be no GPU here."""
    asked, quiet = MagicMock(), 1e-4 * voices

    def to(tensor, place, non_blocking=False):
        if isinstance(place, torch.dtype):
            return tensor.type(place)
        asked.up(tensor.dtype, non_blocking)
        return tensor

    monkeypatch.setattr("ser_gpu.model._upload_stream", lambda device: asked.upload)
    monkeypatch.setattr(torch.cuda, "stream", asked.on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: asked.answer)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: asked.kept(stream))
    moved = uploaded(quiet, torch.device("cuda", 9))
    monkeypatch.undo()
    inside = [call.on().__enter__(), call.up(torch.int16, True), call.on().__exit__(None, None, None)]
    after = [call.answer.wait_stream(asked.upload), call.kept(asked.answer)]
    assert asked.mock_calls == [call.on(asked.upload), *inside, *after]
    # a quiet window keeps all 16 bits
    torch.testing.assert_close(model.probabilities(model(moved)), model.probabilities(model(quiet)), atol=1e-3, rtol=0)


def test_int16_is_heard_as_the_same_sound(model, voices):
    samples, lengths = as_int16(voices), torch.linspace(9_000, voices.shape[1], len(voices)).long()
    assert torch.equal(model.window(samples, lengths), model.window(samples / INT16_SCALE, lengths))
    lowest = torch.full((1, 48_000), -32_768, dtype=torch.int16)
    assert torch.equal(model.window(lowest), torch.full((1, 48_000), -1.0))


@pytest.mark.parametrize("decibels", [-20, -60, -80, -400, 60])
def test_level_does_not_matter(model, voices, decibels):
    # float32 rounds a product by 6e-8 of it; a logit sums thousands of them
    torch.testing.assert_close(model(voices * 10 ** (decibels / 20)), model(voices), atol=1e-4, rtol=0)


def test_what_lies_behind_a_clip_does_not_matter_and_lengths_may_be_a_list(model, voices):
    padded = torch.nn.functional.pad(voices, (0, 5_000), value=1e20)
    lengths = torch.full((len(voices),), voices.shape[1])
    torch.testing.assert_close(model(padded, lengths), model(voices), atol=1e-5, rtol=0)
    assert torch.equal(model(padded, lengths.tolist()), model(padded, lengths))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (torch.tensor([1.0, 2.0]), "lengths must be integers, got torch.float32"),
        ([0.5, 1.0], "lengths must be integers"),
        (torch.tensor([[8_000], [8_000]]), r"lengths must be \[2\], one a clip, got \[2, 1\]"),
        (torch.tensor([8_000]), r"lengths must be \[2\], one a clip, got \[1\]"),
        (torch.tensor([0, 8_000]), r"lengths must be between 1 and 8000, got \[0, 8000\]"),
        (torch.tensor([-1, 8_000]), "lengths must be between 1 and 8000"),
        (torch.tensor([8_000, 8_001]), "lengths must be between 1 and 8000"),
        (torch.tensor([True, True]), "lengths must be integers"),
    ],
)
def test_lengths_are_checked(model, lengths, message):
    with pytest.raises(ValueError, match=message):
        model(torch.randn(2, 8_000), lengths)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_front_end_and_the_temperature_stay_float32(model, voices, dtype):
    changed = copy.deepcopy(model).to(dtype)
    changed.temperature.fill_(0.476)
    assert torch.equal(changed.spectrogram(voices), model.spectrogram(voices))
    assert changed.to(dtype).temperature == torch.tensor(0.476)
    assert next(changed.cnn.parameters()).dtype == dtype
    tolerance = {torch.float16: 0.01, torch.bfloat16: 0.05, torch.float64: 1e-4}[dtype]  # some roundings of the type
    torch.testing.assert_close(changed(voices).float(), model(voices), atol=tolerance, rtol=0)


def test_it_compiles_as_one_graph(model, voices):
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    lengths = torch.linspace(9_000, voices.shape[1], len(voices)).long()
    with torch.inference_mode():
        assert torch.equal(compiled(voices, lengths, tta=False), model(voices, lengths, tta=False))
