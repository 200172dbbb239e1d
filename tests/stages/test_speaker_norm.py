import threading

import pytest
import torch
from torch import nn

from ser_gpu.config import CnnConfig
from ser_gpu.stages import speaker_norm
from ser_gpu.stages.cnn import EmotionCnn
from ser_gpu.stages.speaker_norm import SpeakerNorm2d, Statistics


@pytest.fixture
def network():
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


def voice_of(network, seed=1, share=0.7):
    heard = 1.5 * clips(seed=seed) + 0.5
    return speaker_norm.measured(network, heard, torch.full((8,), 1 / 8), share).statistics


def test_one_group_is_batch_normalisation_bit_for_bit():
    x = torch.randn(6, 5, 4, 3)
    ours, theirs = SpeakerNorm2d(5), nn.BatchNorm2d(5)
    assert torch.equal(ours(x), theirs(x))
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_a_group_is_normalised_by_its_own_statistics():
    x = torch.randn(6, 5, 4, 3) + torch.arange(3).repeat_interleave(2)[:, None, None, None]
    norm = SpeakerNorm2d(5)
    norm.groups = 3
    alone = torch.cat([nn.BatchNorm2d(5)(part) for part in x.chunk(3)])
    torch.testing.assert_close(norm(x), alone, atol=1e-6, rtol=0)


def test_running_statistics_are_those_of_the_whole_batch():
    x = torch.randn(6, 5, 4, 3) + torch.arange(3).repeat_interleave(2)[:, None, None, None]
    grouped, ordinary = SpeakerNorm2d(5), SpeakerNorm2d(5)
    grouped.groups = 3
    grouped(x), ordinary(x)
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
    population = voice_of(network, share=0.0)
    with speaker_norm.using(network, [population] * 8):
        # one multiplication and addition where batch normalisation has its own order of them
        torch.testing.assert_close(network(clips()), network.eval()(clips()), atol=1e-5, rtol=1e-5)
    assert sum(layer.num_features for layer in speaker_norm.layers(network)) == len(population.mean)


@torch.no_grad()
def test_measured_statistics_normalise_what_they_were_measured_on(network):
    heard = 1.5 * clips(seed=1) + 0.5
    own = voice_of(network, share=1.0)
    network.train()
    batch = network(heard)  # dropout acts behind the last normalisation alone, so compare the first layer
    network.eval()
    assert batch.shape == (2, 8, 3)
    seen = []
    first = speaker_norm.layers(network)[0]
    hook = first.register_forward_hook(lambda _, __, out: seen.append(out.clone()))
    with speaker_norm.using(network, [own] * 8):
        network(heard)
    hook.remove()
    centred = seen[0].mean(dim=(0, 2, 3)) - first.bias
    torch.testing.assert_close(centred, torch.zeros_like(centred), atol=1e-5, rtol=0)
    spread = seen[0].std(dim=(0, 2, 3), correction=0) / first.weight
    torch.testing.assert_close(spread, torch.ones_like(spread), atol=1e-3, rtol=0)


@torch.no_grad()
def test_a_clip_alone_equals_the_clip_in_a_batch_that_mixes_voices(network):
    first, second = voice_of(network, seed=1), voice_of(network, seed=2)
    voices = [first, None, second, first, second, None, None, first]
    with speaker_norm.using(network, voices):
        together = network(clips())
    for i, voice in enumerate(voices):
        with speaker_norm.using(network, [voice]):
            alone = network(clips()[i : i + 1])
        torch.testing.assert_close(together[:, i : i + 1], alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_every_view_of_a_clip_has_its_voice(network):
    first, second = voice_of(network, seed=1), voice_of(network, seed=2)
    views = torch.cat([clips(2), clips(2, seed=5)])
    with speaker_norm.using(network, [first, second]):
        both = network(views)
    with speaker_norm.using(network, [second]):
        torch.testing.assert_close(both[:, [1, 3]], network(views[[1, 3]]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_other_threads_do_not_notice(network):
    expected, heard = network(clips()), []
    with speaker_norm.using(network, [voice_of(network)] * 8):
        thread = threading.Thread(target=lambda: heard.append(network(clips())))
        thread.start()
        thread.join()
        assert not torch.equal(network(clips()), expected)
    assert torch.equal(heard[0], expected)
    assert torch.equal(network(clips()), expected)


def test_statistics_of_another_network_are_refused(network):
    wrong = Statistics(torch.zeros(3), torch.ones(3))
    with pytest.raises(ValueError, match="of another network"), speaker_norm.using(network, [wrong]):
        pass
