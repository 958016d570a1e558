"""Why a convolution stays as it is."""

from __future__ import annotations

from collections import defaultdict

from torch import nn
from torch.nn.utils import parametrize

from search_space.conversion.targets import Target, kind_of

#: what `torch.nn.Module` keeps hooks in
_HOOKS = (
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
    *("_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
)


def why_not_plain(layer: nn.Conv2d) -> str | None:
    """Why ``layer`` does more than a convolution with its own weights, so that nothing can stand for it; or None."""
    if parametrize.is_parametrized(layer):
        return f"has parametrizations of {', '.join(layer.parametrizations)}"  # type: ignore[arg-type]
    if type(layer) is not nn.Conv2d:
        return f"is of type {type(layer).__name__}, a subclass of Conv2d that may do more"
    if hooks := [name for name in _HOOKS if getattr(layer, name, None)]:
        return f"has hooks ({', '.join(name.strip('_').replace('_', ' ') for name in hooks)})"
    if "forward" in vars(layer):
        return "has a forward of its own"
    if more := [*({*layer._parameters} - {"weight", "bias"}), *layer._buffers, *layer._modules]:
        return f"has more than weight and bias: {', '.join(sorted(more))}"
    return None


def why_not(to: str, target: Target, layer: nn.Conv2d) -> str | None:
    """Why ``target``, by name ``to``, cannot replace ``layer``; or None if it can."""
    (height, width), kind = layer.kernel_size, kind_of(layer)
    if (height, width) == (1, 1):
        return "has a 1x1 kernel"
    if height != width and not target.any_shape:
        return f"has a kernel of {height}x{width}, which is not square"
    if kind not in target.takes:
        return f"is {_words(layer)}; {to} replaces {' and '.join(target.takes)} ones"
    if "depthwise" in target.takes and len(target.takes) == 1 and layer.out_channels != layer.in_channels:
        return f"makes {layer.out_channels} channels of {layer.in_channels}; {to} keeps their number"
    if target.pads_zeros and layer.padding_mode != "zeros":
        return f"pads by {layer.padding_mode}; {to} pads with zeros"
    if target.even is not None:
        if layer.dilation != (1, 1):
            return f"has dilation {layer.dilation}; {to} is not defined with one"
        if layer.padding not in ("same", (height // 2, height // 2)) or height % 2 == 0:
            return f"has a {height}x{height} kernel with padding {layer.padding}; {to} keeps the map's size"
    return None


def _words(layer: nn.Conv2d) -> str:
    kind = kind_of(layer)
    if kind == "grouped":
        return f"grouped ({layer.groups} groups)"
    return "of one channel for each filter (depthwise)" if kind == "depthwise" else "dense"


def sharing(model: nn.Module) -> dict[int, list[str]]:
    """{id of a parameter: the names of all modules that hold it}, where several do."""
    owners: dict[int, list[str]] = defaultdict(list)
    for name, module in model.named_modules():  # each module once: one under two names holds its weights alone
        for parameter in module._parameters.values():
            if parameter is not None:
                owners[id(parameter)].append(name)
    return {key: names for key, names in owners.items() if len(names) > 1}


def why_shared(name: str, layer: nn.Conv2d, shared: dict[int, list[str]]) -> str | None:
    """Why ``layer`` cannot be replaced alone: other modules hold its weights too; or None."""
    for parameter in layer._parameters.values():
        others = [other for other in shared.get(id(parameter), []) if other != name]
        if others:
            return f"has weights that {others[0]} holds too"
    return None
