"""Muon: orthogonal steps, torch's own Muon on matrices, and what it refuses."""

import pytest
import torch
from torch import nn

from ser_gpu.training.optimizers import Muon, orthogonal


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


def test_the_length_of_a_gradient_does_not_matter():
    matrix = torch.randn(8, 72, generator=torch.Generator().manual_seed(0))
    assert (turn(1000 * matrix) - turn(matrix)).abs().max() < 1e-4, "float32, five iterations"


def test_nothing_comes_of_no_gradient():
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


def test_a_kernel_is_a_matrix_of_its_output_channels():
    generator = torch.Generator().manual_seed(0)
    start, gradient = torch.randn(2, 6, 4, 3, 3, generator=generator)
    kernel, matrix = nn.Parameter(start.clone()), nn.Parameter(start.flatten(1).clone())
    kernel.grad, matrix.grad = gradient, gradient.flatten(1)
    Muon([kernel], lr=0.1).step()
    Muon([matrix], lr=0.1).step()
    assert torch.equal(kernel.flatten(1), matrix)


def test_a_kernel_in_channels_last_moves_as_any_other():
    generator = torch.Generator().manual_seed(0)
    start, gradient = torch.randn(2, 6, 4, 3, 3, generator=generator)
    plain = nn.Parameter(start.clone())
    turned = nn.Parameter(start.clone(memory_format=torch.channels_last))
    plain.grad, turned.grad = gradient, gradient.clone(memory_format=torch.channels_last)
    Muon([plain], lr=0.1).step()
    Muon([turned], lr=0.1).step()
    assert (plain - turned).abs().max() < 1e-5, "float32 sums in another order"


def test_a_bias_is_refused():
    with pytest.raises(ValueError, match=r"two axes or more, got \[3\]"):
        Muon([nn.Parameter(torch.zeros(3))], lr=0.1)
