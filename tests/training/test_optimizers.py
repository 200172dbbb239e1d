import pytest
import torch
from torch import nn

from ser_gpu.training.config import OPTIMIZERS, TrainConfig
from ser_gpu.training.optimizers import MovingAverage, Muon, build_optimizers, orthogonal
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


def turn(matrix: torch.Tensor) -> torch.Tensor:
    (turned,) = orthogonal([matrix])
    return turned


def test_matrices_of_any_shape_go_together():
    generator = torch.Generator().manual_seed(0)
    matrices = [torch.randn(shape, generator=generator) for shape in ((8, 72), (4, 9), (72, 8), (9, 4), (8, 8))]
    for matrix, turned in zip(matrices, orthogonal(matrices), strict=True):
        assert (turned - turn(matrix)).abs().max() < 1e-5, "float32 sums in another order"


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (32, 32)])
def test_directions_stay_and_their_lengths_become_alike(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, lengths, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.mT @ turn(matrix) @ right.mT
    off_diagonal = turned - turned.diagonal().diag()
    assert off_diagonal.abs().max() < 1e-4, "float32, five iterations"
    assert turned.diagonal()[lengths > lengths.max() / 20].sub(0.95).abs().max() < 0.3, "the iteration's own band"


def test_the_length_of_a_gradient_does_not_matter_and_nothing_comes_of_none():
    matrix = torch.randn(8, 72, generator=torch.Generator().manual_seed(0))
    assert (turn(1000 * matrix) - turn(matrix)).abs().max() < 1e-4, "float32, five iterations"
    assert turn(torch.zeros(4, 9)).abs().max() == 0


def test_matrices_move_as_by_torchs_own_muon():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(48, 16, generator=generator)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    own = Muon([ours], lr=0.1, momentum=0.9, weight_decay=0.2)
    reference = torch.optim.Muon([theirs], lr=0.1, momentum=0.9, weight_decay=0.2)
    for _ in range(3):
        ours.grad = torch.randn(48, 16, generator=generator)
        theirs.grad = ours.grad.clone()
        own.step()
        reference.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.02 * moved, "torch iterates in bfloat16, 8 bits"


def test_a_kernel_is_a_matrix_of_its_output_channels_also_in_channels_last():
    start, gradient = torch.randn(2, 6, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    kernel, matrix = nn.Parameter(start.clone()), nn.Parameter(start.flatten(1).clone())
    turned = nn.Parameter(start.clone(memory_format=torch.channels_last))
    kernel.grad, matrix.grad = gradient, gradient.flatten(1)
    turned.grad = gradient.clone(memory_format=torch.channels_last)
    for each in (kernel, matrix, turned):
        Muon([each], lr=0.1).step()
    assert torch.equal(kernel.flatten(1), matrix)
    assert (kernel - turned).abs().max() < 1e-5, "float32 sums in another order"
