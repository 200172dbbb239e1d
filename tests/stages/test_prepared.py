import copy

import pytest
import torch
from torch import nn

import ser_gpu
from ser_gpu.config import HEADS, CnnConfig
from ser_gpu.stages import prepared as module
from ser_gpu.stages import speaker_norm
from ser_gpu.stages.cnn import NETWORKS, EmotionCnn
from ser_gpu.stages.prepared import prepared
from tests.conftest import PlainHead


@pytest.fixture(scope="module")
def shipped():
    return ser_gpu.load_model(device="cpu")


@pytest.fixture(scope="module")
def spectrogram(shipped):
    with torch.inference_mode():
        return shipped.spectrogram(torch.randn(3, 48_000, generator=torch.manual_seed(0)), tta=False)


@pytest.fixture
def in_float32(monkeypatch):
    monkeypatch.setattr(module, "multiplies_bfloat16", lambda: False)


@pytest.fixture
def in_bfloat16(monkeypatch):
    """On every processor; those that cannot multiply in it do so slowly."""
    monkeypatch.setattr(module, "multiplies_bfloat16", lambda: True)


@torch.inference_mode()
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("members", [1, 2, 3])
def test_an_ensemble_is_one_network(members, head, spectrogram, in_float32):
    cnn = EmotionCnn(CnnConfig(width=8, depth=3, members=members, head=head), 64, 188, 8)
    for layer in speaker_norm.layers(cnn):
        nn.init.normal_(layer.running_mean, std=0.1)
        nn.init.uniform_(layer.running_var, 0.5, 2.0)
    expected = cnn.eval()(spectrogram).mean(dim=0)
    # float32 sums in another order
    torch.testing.assert_close(prepared(cnn)(spectrogram), expected[None], atol=1e-6, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        (torch.float32, 1e-6),  # other products
        (torch.float16, 1e-3),  # as on a GPU
        (torch.bfloat16, 0.02),  # of one copy; with test-time augmentation the largest of 1,440 clips is 0.006
    ],
)
def test_the_shipped_network_answers_the_same(dtype, tolerance, shipped, spectrogram, monkeypatch):
    monkeypatch.setattr(module, "block_dtype", lambda device: dtype)
    expected = shipped.probabilities(shipped.cnn(spectrogram).mean(dim=0))
    heard = shipped.probabilities(prepared(shipped.cnn)(spectrogram).mean(dim=0))
    torch.testing.assert_close(heard, expected, atol=tolerance, rtol=0)
    assert dtype == torch.float32 or not torch.equal(heard, expected)


@torch.inference_mode()
def test_a_clip_alone_is_answered_as_in_a_batch(shipped, spectrogram, in_bfloat16):
    network = prepared(shipped.cnn)
    alone = torch.cat([network(clip) for clip in spectrogram.split(1)], dim=1)
    torch.testing.assert_close(alone, network(spectrogram), atol=1e-5, rtol=0)  # sums of float32 in another order


@torch.inference_mode()
def test_other_networks_and_types_are_copied_as_they_are(shipped, spectrogram, monkeypatch, in_bfloat16):
    monkeypatch.setitem(NETWORKS, "plain", PlainHead)
    other = EmotionCnn(CnnConfig(network="plain"), *spectrogram.shape[2:], 8).eval()
    assert torch.equal(prepared(other)(spectrogram), other(spectrogram))
    half = copy.deepcopy(shipped.cnn).bfloat16()
    assert torch.equal(prepared(half)(spectrogram.bfloat16()), half(spectrogram.bfloat16()))


def test_statistics_of_another_network_are_refused(shipped):
    with pytest.raises(ValueError, match="of another network"):
        prepared(shipped.cnn, speaker_norm.Statistics(torch.zeros(3), torch.ones(3)))
