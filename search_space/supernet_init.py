"""Where a supernet starts from: every candidate nearly the same function.

A path that is drawn at random in every step is noise to the weights that all paths share. Started as an ordinary
network, a supernet of many candidates learns little in a short training; started here it learns several times faster.
"""

from __future__ import annotations

import torch
from torch import nn

from search_space.layers import ConvNormAct
from search_space.network import InvertedResidual, WholeBlock, initialise_layer
from search_space.sliced import layers_with_weights

#: Standard deviation of the noise on an identity kernel, times the square root of the kernel's area.
_NOISE = 0.1


def initialise_supernet(supernet: nn.Module) -> None:
    """`initialise_layer`, then residual branches that start at zero and depthwise kernels that start near the identity.

    The last batch norm of a residual branch gets scale 0 (Goyal et al. 2017, section 5.1), so that each such block
    starts as the identity whatever its candidate -- and equal to ``skip``, but for operators whose activation follows
    the sum.
    """
    for module in layers_with_weights(supernet):
        initialise_layer(module)
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels == module.out_channels:
            _near_identity(module)
        elif isinstance(module, InvertedResidual) and module.residual and isinstance(module.project, ConvNormAct):
            nn.init.zeros_(module.project.norm.weight)
        elif isinstance(module, WholeBlock) and module.residual:
            last = [norm for norm in module.body.modules() if isinstance(norm, nn.BatchNorm2d)][-1]
            nn.init.zeros_(last.weight)


@torch.no_grad()
def _near_identity(conv: nn.Conv2d) -> None:
    height, width = conv.kernel_size
    conv.weight.normal_(std=_NOISE / (height * width) ** 0.5)
    # the middle; of an even kernel the one of its four middle taps that comes first
    conv.weight[:, 0, (height - 1) // 2, (width - 1) // 2] += 1
