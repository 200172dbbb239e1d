import pytest
import torch
from torch import nn

from ser_gpu.training.config import OPTIMIZERS, TrainConfig
from ser_gpu.training.optimizers import MovingAverage, build_optimizers
from tests.training.conftest import make_trainer


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_weight_has_one_optimizer_and_decay_spares_biases_and_norms(dataset, optimizer):
    trainer = make_trainer(dataset, optimizer=optimizer)
    groups = [group for each in trainer.optimizers for group in each.param_groups]
    assert {p.ndim for group in groups if group["weight_decay"] for p in group["params"]} == {2, 4}
    assert {p.ndim for group in groups if not group["weight_decay"] for p in group["params"]} == {1}
    moved = [p for group in groups for p in group["params"]]
    assert len(moved) == len({*moved}) == len(list(trainer.model.parameters()))


def test_muon_moves_the_kernels_of_the_residual_blocks_at_their_own_rate(dataset):
    trainer = make_trainer(dataset, optimizer="muon", kernel_lr=0.03, lr=0.001)
    adamw, muon = trainer.optimizers
    assert {*muon.param_groups[0]["params"]} == {
        p for member in trainer.model.cnn.members for p in member.blocks.parameters() if p.ndim == 4
    }
    assert (adamw.defaults["lr"], muon.defaults["lr"]) == (0.001, 0.03)


def test_a_network_of_any_kind_has_its_optimizers():
    first, depthwise, point = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1)
    _, muon = build_optimizers(nn.Sequential(first, depthwise, point, nn.Linear(8, 2)), TrainConfig())
    assert muon.param_groups[0]["params"] == [point.weight]
    (only,) = build_optimizers(nn.Linear(8, 2), TrainConfig())
    assert type(only).__name__ == "AdamW"


def test_the_moving_average_warms_up():
    model = nn.Linear(2, 1, bias=False)
    average = MovingAverage(model, decay=0.3)
    with torch.no_grad():
        for value in (1.0, 2.0, 3.0):
            model.weight.fill_(value)
            average.update_parameters(model)
    # the first is copied; then 2 of 11 are kept, then 3 of 12, both below the decay
    second = 1 * 2 / 11 + 2 * 9 / 11
    assert average.module.weight[0, 0].item() == pytest.approx(second * 3 / 12 + 3 * 9 / 12)
    for _ in range(3):
        average.update_parameters(model)
    model.weight.data.fill_(0.0)
    before = average.module.weight[0, 0].item()
    average.update_parameters(model)
    assert average.module.weight[0, 0].item() == pytest.approx(0.3 * before), "from then on the decay"
