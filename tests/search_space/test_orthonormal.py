"""BSConv-S's orthonormal loss and the convolutions it acts on."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from search_space import Architecture, Block, Head, Stem, baseline, build
from search_space.network import orthonormal_bases, orthonormal_loss


def basis(weight: torch.Tensor) -> nn.Conv2d:
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False)
    conv.weight = nn.Parameter(weight[:, :, None, None].clone())
    return conv


def test_orthonormal_rows_cost_nothing() -> None:
    rows, _ = torch.linalg.qr(torch.randn(8, 3, dtype=torch.float64))
    assert orthonormal_loss([basis(rows.T)]).item() == pytest.approx(0, abs=1e-12)


def test_loss_is_the_frobenius_norm_summed_over_bases() -> None:
    doubled = basis(2 * torch.eye(4)[:3])  # gram matrix 4 I, 3 off on each of three diagonal entries
    assert orthonormal_loss([doubled]).item() == pytest.approx(3 * math.sqrt(3))
    assert orthonormal_loss([doubled, doubled]).item() == pytest.approx(6 * math.sqrt(3))


def test_descent_on_the_loss_makes_a_basis_orthonormal() -> None:
    torch.manual_seed(0)
    conv = basis(torch.randn(3, 8) / 3)
    optimiser = torch.optim.SGD(conv.parameters(), lr=0.02)
    for _ in range(300):
        optimiser.zero_grad()
        orthonormal_loss([conv]).backward()
        optimiser.step()
    gram = conv.weight.flatten(1) @ conv.weight.flatten(1).T
    torch.testing.assert_close(gram.detach(), torch.eye(3), atol=0.1, rtol=0)


def test_bases_of_a_bsconv_s_block_are_its_first_pointwise_only() -> None:
    blocks = (Block("bsconv_s_k3", 12, 8), Block("dw_k3", 8, 8, expanded_channels=8), Block("bsconv_u_k3", 8, 8))
    network = build(Architecture("m", 8, 1, 2, Stem(12, 1), blocks, Head(0, 0)))
    assert [tuple(conv.weight.shape) for conv in orthonormal_bases(network)] == [(2, 12, 1, 1)]


def test_bases_of_a_marked_architecture_are_all_its_projections() -> None:
    architecture = baseline("mobilenetv3-small-bsconv-s", width=0.25)
    shapes = [tuple(conv.weight.shape[:2]) for conv in orthonormal_bases(build(architecture))]
    assert shapes == [(block.out_channels, block.expanded_channels) for block in architecture.blocks]
    assert orthonormal_bases(build(baseline("mobilenetv3-small", width=0.25))) == []


def test_no_bases_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^bases: empty; ask `orthonormal_bases` first$"):
        orthonormal_loss([])
