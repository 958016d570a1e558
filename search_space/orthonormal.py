"""The orthonormal regularisation of BSConv-S (section 3.3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def orthonormal_bases(network: nn.Module) -> list[nn.Conv2d]:
    """All convolutions of ``network`` whose weight is a subspace basis W_B: those of ``bsconv_s`` operators, and the
    projections of an architecture marked ``orthonormal``."""
    bases: list[nn.Conv2d] = []
    for module in network.modules():
        own = getattr(module, "orthonormal_bases", None)
        if own is not None:
            bases.extend(own())
    return bases


def orthonormal_loss(bases: list[nn.Conv2d]) -> Tensor:
    """Sum over bases of ``|| W_B W_B^T - I ||_F``, a scalar; the weight alpha is left to the caller."""
    if not bases:
        raise ValueError("bases: empty; ask `orthonormal_bases` first")
    total = torch.zeros((), device=bases[0].weight.device)
    for conv in bases:
        basis = conv.weight.flatten(1)
        gram = basis @ basis.T
        total = total + torch.linalg.matrix_norm(gram - torch.eye(len(gram), device=gram.device, dtype=gram.dtype))
    return total
