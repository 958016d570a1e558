"""The layers of exported networks as plain PyTorch. `experiments.bundle.source` copies those that a network needs into
its ``model.py``, so nothing here may need more than torch.

Sub-modules have the names that the modules of `search_space` give theirs: the weights of one fit the other.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def series(**layers: nn.Module) -> nn.Sequential:
    """Layers one after the other, under their names."""
    return nn.Sequential(OrderedDict(layers))


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: int | tuple[int, int],
    *,
    stride: int | tuple[int, int] = 1,
    groups: int = 1,
    act: type[nn.Module] = nn.Identity,
) -> nn.Sequential:
    """Convolution with an odd kernel, which keeps the map's size but for its stride; batch norm; activation."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (height // 2, width // 2)
    return series(
        conv=nn.Conv2d(in_channels, out_channels, (height, width), stride, padding, groups=groups, bias=False),
        norm=nn.BatchNorm2d(out_channels),
        act=act(),
    )


def even_conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: int,
    *,
    pad: nn.Module,
    stride: int = 1,
    groups: int = 1,
    act: type[nn.Module] = nn.Identity,
) -> nn.Sequential:
    """The same with an even kernel, for which ``pad`` adds kernel - 1 zeros in each dimension."""
    return series(
        pad=pad,
        conv=nn.Conv2d(in_channels, out_channels, kernel, stride, groups=groups, bias=False),
        norm=nn.BatchNorm2d(out_channels),
        act=act(),
    )


class FourWayPad(nn.Module):
    """kernel - 1 zeros in each dimension: each quarter of the channels has its odd zero in another corner."""

    def __init__(self, kernel: int, channels: int) -> None:
        super().__init__()
        self.less, self.more = kernel // 2 - 1, kernel // 2
        self.sizes = [channels // 4 + (part < channels % 4) for part in range(4)]

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.less, self.more
        # zeros on the left, right, top, bottom
        corners = [(b, a, b, a), (a, b, a, b), (b, a, a, b), (a, b, b, a)]
        parts = zip(x.split(self.sizes, dim=1), corners, strict=True)
        return torch.cat([F.pad(part, corner) for part, corner in parts], dim=1)


class SqueezeExcite(nn.Module):
    """Scales each channel by what the means of all channels say."""

    def __init__(self, channels: int, squeezed: int, *, bias: bool = False) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1, bias=bias)
        self.act = nn.ReLU()
        self.expand = nn.Conv2d(squeezed, channels, 1, bias=bias)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.act(self.reduce(self.pool(x)))))


class InvertedResidual(nn.Module):
    """1x1 expansion, spatial operator, squeeze-and-excitation, 1x1 projection, and the input on top of it."""

    def __init__(
        self,
        *,
        spatial: nn.Module,
        project: nn.Module,
        expand: nn.Module | None = None,
        se: nn.Module | None = None,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.expand = expand or nn.Identity()
        self.spatial = spatial
        self.se = se or nn.Identity()
        self.project = project
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.se(self.spatial(self.expand(x))))
        return x + y if self.residual else y


class WholeBlock(nn.Module):
    """An operator that is a block by itself, the input on top of it, and an activation behind the sum."""

    def __init__(self, body: nn.Module, *, residual: bool = False, act: type[nn.Module] = nn.Identity) -> None:
        super().__init__()
        self.body = body
        self.residual = residual
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.act(x + y if self.residual else y)


class ParallelSum(nn.Module):
    """The sum of a separated k x k and a 2x2 depthwise convolution."""

    def __init__(self, *, separated: nn.Module, corner: nn.Module) -> None:
        super().__init__()
        self.separated = separated
        self.corner = corner

    def forward(self, x: Tensor) -> Tensor:
        return self.separated(x) + self.corner(x)


class BranchSum(nn.Module):
    """The sum of branches side by side."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        total = self.branches[0](x)
        for branch in self.branches[1:]:
            total = total + branch(x)
        return total


class MixedDepthwise(nn.Module):
    """Depthwise convolutions of several kernel sizes, each on its segment of the channels."""

    def __init__(self, segments: dict[int, int], *, stride: int = 1, act: type[nn.Module] = nn.Identity) -> None:
        """``segments`` has the channels of each kernel size."""
        super().__init__()
        self.sizes = list(segments.values())
        self.towers = nn.ModuleDict(
            {f"k{kernel}": conv_norm(c, c, kernel, stride=stride, groups=c) for kernel, c in segments.items()}
        )
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(self.sizes, dim=1)
        maps = [tower(part) for tower, part in zip(self.towers.values(), parts, strict=True)]
        return self.act(torch.cat(maps, dim=1))


class Inception(nn.Module):
    """Towers side by side, each a 1x1 and a dense k x k convolution; a batch norm and activation behind all of them."""

    def __init__(
        self,
        in_channels: int,
        widths: list[int],
        kernel: int,
        *,
        stride: int = 1,
        act: type[nn.Module] = nn.Identity,
        shared: bool = False,
    ) -> None:
        """``widths`` has the channels of each tower; with ``shared`` one 1x1 convolution serves all of them."""
        super().__init__()
        self.widths, self.shared = widths, shared
        if shared:
            self.reduce: nn.Sequential | nn.ModuleList = conv_norm(in_channels, sum(widths), 1, act=act)
        else:
            self.reduce = nn.ModuleList(conv_norm(in_channels, width, 1, act=act) for width in widths)
        self.spatial = nn.ModuleList(
            nn.Conv2d(width, width, kernel, stride, kernel // 2, bias=False) for width in widths
        )
        self.norm = nn.BatchNorm2d(sum(widths))
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        parts = self.reduce(x).split(self.widths, dim=1) if self.shared else [reduce(x) for reduce in self.reduce]
        maps = [conv(part) for conv, part in zip(self.spatial, parts, strict=True)]
        return self.act(self.norm(torch.cat(maps, dim=1)))


class Head(nn.Module):
    """Batch norm, 1x1 convolution, mean over the map, hidden layer, classifier; mean, classifier and what is given."""

    def __init__(
        self,
        *,
        classifier: nn.Linear,
        norm: nn.Module | None = None,
        conv: nn.Module | None = None,
        features: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.norm = norm or nn.Identity()
        self.conv = conv or nn.Identity()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.features = features or nn.Identity()
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(self.pool(self.conv(self.norm(x))).flatten(1)))


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Merge each batch norm of ``network`` into the convolution in front of it, in place: faster, for inference alone.

    One behind several convolutions side by side (`Inception`) is shared out to them; one in front of its convolution,
    with an activation between, stays.
    """
    for layer in list(network.modules()):
        norm, conv = getattr(layer, "norm", None), getattr(layer, "conv", None)
        convs = [conv] if isinstance(conv, nn.Conv2d) else getattr(layer, "spatial", None)
        if isinstance(norm, nn.BatchNorm2d) and convs is not None:
            _fold(norm, convs)
            layer.norm = nn.Identity()
        if isinstance(layer, nn.Sequential):
            for index in range(1, len(layer)):
                before, own = layer[index - 1], layer[index]
                while isinstance(before, nn.Sequential):
                    before = before[-1]
                if isinstance(before, nn.Conv2d) and isinstance(own, nn.BatchNorm2d):
                    _fold(own, [before])
                    layer[index] = nn.Identity()
    return network


def _fold(norm: nn.BatchNorm2d, convs: list[nn.Conv2d] | nn.ModuleList) -> None:
    """Merge ``norm`` into ``convs``, whose channels it sees one after the other."""
    start = 0
    for conv in convs:
        assert isinstance(conv, nn.Conv2d)
        own = slice(start, start + conv.out_channels)
        start = own.stop
        part = {name: values[own] for name, values in norm.state_dict().items() if values.ndim}
        conv.weight, conv.bias = nn.utils.fuse_conv_bn_weights(
            *(conv.weight, conv.bias, part["running_mean"], part["running_var"]),
            *(norm.eps, part["weight"], part["bias"]),
        )
