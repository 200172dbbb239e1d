import pytest
import torch
from torch import nn

from ser_gpu.config import CnnConfig
from ser_gpu.stages import prepared as preparation
from ser_gpu.stages import speaker_norm
from ser_gpu.stages.cnn import EmotionCnn
from ser_gpu.stages.prepared import prepared
from ser_gpu.stages.speaker_norm import SpeakerNorm2d


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setattr(preparation, "multiplies_bfloat16", lambda: False)
    torch.manual_seed(0)
    network = EmotionCnn(CnnConfig(width=4, depth=2, members=2), 16, 24, 3)
    for layer in speaker_norm.layers(network):
        nn.init.normal_(layer.running_mean, std=0.1)
        nn.init.uniform_(layer.running_var, 0.5, 2.0)
        nn.init.uniform_(layer.weight, 0.5, 2.0)
        nn.init.normal_(layer.bias)
    return network.eval()


def clips(count=8, seed=0):
    return torch.randn(count, 1, 16, 24, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def adapted(network, heard, share, towards=None):
    """What a network answers to clips to which it is adapted, and the statistics."""
    with speaker_norm.measuring(network, torch.full((len(heard),), 1 / len(heard)), share, towards) as found:
        logits = network(heard)
    return logits, found()[0]


def test_one_group_is_batch_normalisation_bit_for_bit():
    x = torch.randn(6, 5, 4, 3)
    ours, theirs = SpeakerNorm2d(5), nn.BatchNorm2d(5)
    assert torch.equal(ours(x), theirs(x))
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_a_group_is_normalised_by_its_own_statistics_and_running_ones_are_those_of_the_batch():
    x = torch.randn(6, 5, 4, 3) + torch.arange(3).repeat_interleave(2)[:, None, None, None]
    grouped, ordinary = SpeakerNorm2d(5), SpeakerNorm2d(5)
    grouped.groups = 3
    alone = torch.cat([nn.BatchNorm2d(5)(part) for part in x.chunk(3)])
    torch.testing.assert_close(grouped(x), alone, atol=1e-6, rtol=0)
    ordinary(x)
    for name, value in grouped.state_dict().items():
        # the variance is put together from parts, in float32
        torch.testing.assert_close(value, ordinary.state_dict()[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_groups_train_in_bfloat16(network, device):
    network.to(device).train()
    speaker_norm.set_groups(network, 4)
    with torch.autocast(device, torch.bfloat16):
        out = network(clips().to(device))
    out.float().square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert all(layer.running_mean.dtype == torch.float32 for layer in speaker_norm.layers(network))
    assert all(layer.running_var.isfinite().all() for layer in speaker_norm.layers(network))


@torch.no_grad()
def test_the_population_as_a_voice_changes_nothing(network):
    logits, population = adapted(network, clips(), share=0.0)
    # one multiplication and addition where batch normalisation has its own order of them
    torch.testing.assert_close(logits, network(clips()), atol=1e-5, rtol=1e-5)
    assert torch.equal(population.mean, speaker_norm.population(network).mean)
    assert sum(layer.num_features for layer in speaker_norm.layers(network)) == len(population.mean)


@torch.no_grad()
def test_measured_statistics_normalise_what_they_were_measured_on(network):
    heard = 1.5 * clips(seed=1) + 0.5
    seen, first = [], speaker_norm.layers(network)[0]
    with speaker_norm.measuring(network, torch.full((8,), 1 / 8), share=1.0) as found:
        hook = first.register_forward_hook(lambda _, __, out: seen.append(out.clone()))
        measured = network(heard)
    hook.remove()
    centred = seen[0].mean(dim=(0, 2, 3)) - first.bias
    torch.testing.assert_close(centred, torch.zeros_like(centred), atol=1e-5, rtol=0)
    spread = seen[0].std(dim=(0, 2, 3), correction=0) / first.weight
    torch.testing.assert_close(spread, torch.ones_like(spread), atol=1e-3, rtol=0)
    # the copy of that voice has batch normalisation folded into its convolutions, in float32
    answers = prepared(network, found()[0])(heard).mean(dim=0)
    torch.testing.assert_close(answers, measured.mean(dim=0), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_measuring_leaves_the_network_as_it_was(network):
    expected = network(clips())
    assert not torch.equal(adapted(network, 1.5 * clips(seed=1), 0.7)[0], expected)
    assert torch.equal(network(clips()), expected)
