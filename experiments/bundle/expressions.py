"""How the modules of a network are made, as Python: of torch's layers and those of `experiments.bundle.layers`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from torch import nn

from search_space import layers as ours
from search_space.base.errors import InvalidRequest
from search_space.layered.joined import Joined
from search_space.network import ClassifierHead, InvertedResidual, WholeBlock
from search_space.ops.inception import InceptionTowers, SegmentTowers
from search_space.ops.mixed import MixedTowers
from search_space.ops.xsep import CornerInParallel
from search_space.padding import Direction

#: letters in a line
_WIDTH = 120


@dataclass(frozen=True)
class Call:
    """``name(arguments)``; the arguments have keywords where that is not empty."""

    name: str
    arguments: tuple[tuple[str, str | Call], ...]

    def lines(self, indent: int, before: str = "", after: str = "") -> list[str]:
        """On one line between ``before`` and ``after`` if that fits, else an argument to a line."""
        text = f"{' ' * indent}{before}{self}{after}"
        if len(text) <= _WIDTH:
            return [text]
        inner: list[str] = []
        for key, value in self.arguments:
            start = f"{key}=" if key else ""
            if isinstance(value, Call):
                inner += value.lines(indent + 4, start, ",")
            else:
                inner.append(f"{' ' * (indent + 4)}{start}{value},")
        return [f"{' ' * indent}{before}{self.name}(", *inner, f"{' ' * indent}){after}"]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value}' if key else str(value) for key, value in self.arguments)})"


def _call(name: str, *arguments: object, **keywords: object) -> Call:
    """Keywords that are None or False are left out."""
    given = [("", value if isinstance(value, Call) else str(value)) for value in arguments]
    for key, value in keywords.items():
        if value is not None and value is not False:
            given.append((key, value if isinstance(value, Call) else str(value)))
    return Call(name, tuple(given))


@singledispatch
def expression(module: nn.Module) -> Call:
    """How ``module`` is made. InvalidRequest for one with a forward of its own that `experiments.bundle.layers` does
    not know."""
    if type(module).__module__.startswith("torch.nn.") and not list(module.children()):
        name, _, rest = repr(module).partition("(")  # torch's layers print themselves as they are called
        return _call(f"nn.{name}", rest.removesuffix(")")) if rest != ")" else _call(f"nn.{name}")
    raise InvalidRequest(
        f"formats: source cannot say how {type(module).__module__}.{type(module).__qualname__} is made; leave it out,"
        " or teach experiments/bundle/expressions.py"
    )


@expression.register
def _(module: nn.Conv2d) -> Call:
    options = {
        "stride": _unless(1, module.stride),
        "padding": repr(module.padding) if isinstance(module.padding, str) else _unless(0, module.padding),
        "dilation": _unless(1, module.dilation),
        "groups": None if module.groups == 1 else module.groups,
        "bias": None if module.bias is not None else "False",
        "padding_mode": None if module.padding_mode == "zeros" else repr(module.padding_mode),
    }
    return _call("nn.Conv2d", module.in_channels, module.out_channels, _short(module.kernel_size), **options)


@expression.register
def _(module: nn.Linear) -> Call:
    bias = None if module.bias is not None else "False"
    return _call("nn.Linear", module.in_features, module.out_features, bias=bias)


@expression.register
def _(module: nn.BatchNorm2d) -> Call:
    default = nn.BatchNorm2d(1)
    names = ("eps", "momentum", "affine", "track_running_stats")
    given = {name: repr(getattr(module, name)) for name in names if getattr(module, name) != getattr(default, name)}
    return _call("nn.BatchNorm2d", module.num_features, **given)


def _short(pair: tuple[int, ...]) -> int | tuple[int, ...]:
    """One number for both if they are the same."""
    return pair[0] if len(set(pair)) == 1 else pair


def _unless(default: int, pair: tuple[int, ...]) -> int | tuple[int, ...] | None:
    """`_short`, or None for the default."""
    return None if set(pair) == {default} else _short(pair)


@expression.register
def _(module: nn.Sequential) -> Call:
    children = dict(module.named_children())
    if any(name.isdigit() for name in children):
        return _call("nn.Sequential", *map(expression, children.values()))
    return _call("series", **{name: expression(child) for name, child in children.items()})


@expression.register
def _(module: ours.ConvNormAct) -> Call:
    conv = module.conv
    shape = conv.in_channels, conv.out_channels, _short(conv.kernel_size)
    return _call("conv_norm", *shape, **_around(conv, module.act))


@expression.register
def _(module: ours.EvenConvNormAct) -> Call:
    conv = module.conv
    shape = conv.in_channels, conv.out_channels, conv.kernel_size[0]
    return _call("even_conv_norm", *shape, pad=_pad(module.pad, conv.in_channels), **_around(conv, module.act))


def _around(conv: nn.Conv2d, act: nn.Module) -> dict[str, object]:
    """Stride, groups and activation, where they are not the default."""
    return {
        "stride": _unless(1, conv.stride),
        "groups": None if conv.groups == 1 else conv.groups,
        "act": _act(act),
    }


def _act(act: nn.Module) -> str | None:
    return None if isinstance(act, nn.Identity) else f"nn.{type(act).__name__}"


def _pad(pad: ours.EvenPad, channels: int) -> Call:
    if pad.direction is Direction.FOUR_GROUP:
        return _call("FourWayPad", pad.kernel, channels)
    return _call("nn.ZeroPad2d", pad.direction.zeros(pad.kernel))


@expression.register
def _(module: ours.SqueezeExcite) -> Call:
    reduce = module.reduce
    return _call("SqueezeExcite", reduce.in_channels, reduce.out_channels, bias=reduce.bias is not None)


@expression.register
def _(module: InvertedResidual) -> Call:
    parts = ("expand", "spatial", "se", "project")
    return _call("InvertedResidual", **{name: _part(getattr(module, name)) for name in parts}, residual=module.residual)


def _part(module: nn.Module) -> Call | None:
    return None if isinstance(module, nn.Identity) else expression(module)


@expression.register
def _(module: WholeBlock) -> Call:
    return _call("WholeBlock", expression(module.body), residual=module.residual, act=_act(module.act))


@expression.register
def _(module: CornerInParallel) -> Call:
    return _call("ParallelSum", separated=expression(module.separated), corner=expression(module.corner))


@expression.register
def _(module: MixedTowers) -> Call:
    convs: list[Any] = [tower.conv for tower in module.towers.values()]
    segments = {conv.kernel_size[0]: conv.out_channels for conv in convs}
    return _call("MixedDepthwise", segments, **{**_around(convs[0], module.act), "groups": None})


@expression.register
def _(module: InceptionTowers) -> Call:
    first: Any = module.spatial[0]
    reduce = module.reduce
    shared = isinstance(module, SegmentTowers)
    channels = (reduce if shared else reduce[0]).conv.in_channels
    options = {**_around(first, module.act), "shared": shared}
    return _call("Inception", channels, module.widths, first.kernel_size[0], **options)


@expression.register
def _(module: Joined) -> Call:
    if module.how != "sum":
        raise InvalidRequest(f"formats: source cannot say how branches are joined by {module.how}; leave it out")
    return _call("BranchSum", *map(expression, module.branches))


@expression.register
def _(module: ours.EvenPad) -> Call:
    return _pad(module, sum(module.groups))


@expression.register
def _(module: ClassifierHead) -> Call:
    parts = {name: _part(getattr(module, name)) for name in ("norm", "conv", "features")}
    return _call("Head", **parts, classifier=expression(module.classifier))
