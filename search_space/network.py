"""From an architecture to an ordinary PyTorch network, with no NNI in it."""

from __future__ import annotations

from typing import overload

import torch
from torch import Tensor, nn

from search_space.architecture import Architecture, Block
from search_space.blueprint import AnyNetwork, Blueprint
from search_space.layers import ACTIVATIONS, ConvNormAct, SqueezeExcite, in_series
from search_space.padding import Direction, assign_directions


class InvertedResidual(nn.Module):
    """Expand 1x1, spatial operator, [SE], project 1x1 (+ residual): ``(b, c, h, w) -> (b, c', h/s, w/s)``.

    An activation of the projection comes before the sum. The layers around the operator are handed in, so that the
    candidates of a search space can share them.
    """

    def __init__(
        self,
        expand: nn.Module,
        spatial: nn.Module,
        se: nn.Module,
        project: nn.Module,
        *,
        residual: bool,
        orthonormal: bool,
    ) -> None:
        super().__init__()
        self.expand = expand
        self.spatial = spatial
        self.se = se
        self.project = project
        self.residual = residual
        self.orthonormal = orthonormal

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.se(self.spatial(self.expand(x))))
        return x + y if self.residual else y

    def orthonormal_bases(self) -> list[nn.Conv2d]:
        """The projection, where the architecture marks it as a subspace basis W_B (BSConv section 4.2)."""
        if not self.orthonormal:
            return []
        basis = self.project.conv
        assert isinstance(basis, nn.Conv2d)
        return [basis]


class WholeBlock(nn.Module):
    """A whole-block operator with its residual: ``(b, c, h, w) -> (b, c', h/s, w/s)``.

    ``activation`` comes last, behind the sum where there is one.
    """

    def __init__(self, body: nn.Module, *, residual: bool, activation: str = "none") -> None:
        super().__init__()
        self.body = body
        self.residual = residual
        self.act = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.act(x + y if self.residual else y)


class ClassifierHead(nn.Module):
    """[Batch norm,] 1x1 convolution, global mean, hidden linear layer, classifier: ``(b, c, h, w) -> (b, classes)``."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        head = architecture.head
        width = architecture.blocks[-1].out_channels
        self.norm: nn.Module = nn.Identity()
        if head.norm_first:
            self.norm = in_series(norm=nn.BatchNorm2d(width), act=ACTIVATIONS[head.activation]())
        self.conv: nn.Module = nn.Identity()
        if head.channels:
            self.conv = ConvNormAct(width, head.channels, 1, activation=head.activation)
            width = head.channels
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.features: nn.Module = nn.Identity()
        if head.features:
            self.features = nn.Sequential(
                nn.Linear(width, head.features, bias=head.features_bias), ACTIVATIONS[head.activation]()
            )
            width = head.features
        self.classifier = nn.Linear(width, architecture.classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(self.pool(self.conv(self.norm(x))).flatten(1)))


class Network(nn.Module):
    """Stem, blocks and head of an `Architecture`, which it keeps as ``.architecture``.

    Maps ``(batch, in_channels, image_size, image_size)`` to logits ``(batch, classes)``.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.stem = make_stem(architecture)
        directions = iter(assign_directions(sum(map(directed_layers, architecture.blocks))))
        self.blocks = nn.Sequential()
        for block, size in architecture.sized_blocks():
            own = tuple(next(directions) for _ in range(directed_layers(block)))
            self.blocks.append(make_block(block, size, own, orthonormal=architecture.orthonormal))
        self.head = ClassifierHead(architecture)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)))


@overload
def build(architecture: Architecture) -> Network: ...


@overload
def build(architecture: AnyNetwork) -> nn.Module: ...


def build(architecture: AnyNetwork) -> nn.Module:
    """A fresh network, initialised from torch's global random state (see `initialise`)."""
    if isinstance(architecture, Blueprint):
        return architecture.build()
    network = Network(architecture)
    initialise(network)
    return network


def make_stem(architecture: Architecture) -> nn.Module:
    """The stem's convolution, and its batch norm and activation unless it is bare."""
    stem = architecture.stem
    if stem.bare:
        return nn.Conv2d(architecture.in_channels, stem.channels, 3, stem.stride, 1, bias=False)
    return ConvNormAct(architecture.in_channels, stem.channels, 3, stride=stem.stride, activation=stem.activation)


def directed_layers(block: Block) -> int:
    """Even-sized layers of ``block`` whose padding direction the network assigns (XSepConv section 3.2)."""
    return 0 if block.is_skip else block.definition.directed_layers


def make_expand(block: Block) -> nn.Module:
    """1x1 expansion of an inverted residual; identity where the widths are equal."""
    if not block.has_expand:
        return nn.Identity()
    return ConvNormAct(block.in_channels, block.expanded_channels, 1, activation=block.activation)


def make_se(block: Block) -> nn.Module:
    """Squeeze-and-excitation of an inverted residual, or identity."""
    if not block.se_channels:
        return nn.Identity()
    return SqueezeExcite(block.expanded_channels, block.se_channels, bias=block.se_bias)


def make_project(block: Block) -> ConvNormAct:
    """1x1 projection of an inverted residual: linear, or with the block's ``project_activation``."""
    return ConvNormAct(block.expanded_channels, block.out_channels, 1, activation=block.project_activation)


def make_block(block: Block, size: int, directions: tuple[Direction, ...], *, orthonormal: bool) -> nn.Module:
    """A stand-alone module for ``block`` on a ``size`` x ``size`` map."""
    if block.is_skip:
        return nn.Identity()
    body = block.definition.module(block.slot(size, size), directions)
    if not block.is_inverted_residual:
        return around_whole(block, body)
    return InvertedResidual(
        make_expand(block), body, make_se(block), make_project(block), residual=block.residual, orthonormal=orthonormal
    )


def around_whole(block: Block, body: nn.Module) -> WholeBlock:
    """``body``, a whole-block operator, with the residual and the activation of ``block``."""
    last = block.activation if block.definition.activation_after_residual else "none"
    return WholeBlock(body, residual=block.residual, activation=last)


def initialise(module: nn.Module) -> None:
    """He initialisation by fan-out for convolutions, N(0, 0.01) for linear layers, as MobileNets are trained."""
    for layer in module.modules():
        initialise_layer(layer)


def initialise_layer(layer: nn.Module) -> None:
    """`initialise` for one layer; its sub-modules are left alone."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    elif isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, std=0.01)
    else:
        return
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def orthonormal_bases(network: nn.Module) -> list[nn.Conv2d]:
    """All convolutions of ``network`` whose weight is a subspace basis W_B: those of ``bsconv_s`` operators, and the
    projections of an architecture marked ``orthonormal``. Parts of a supernet without weights of their own are left
    out."""
    bases = [basis for module in network.modules() for basis in getattr(module, "orthonormal_bases", list)()]
    return [basis for basis in bases if basis.weight is not None]


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
