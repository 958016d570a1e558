"""The convolutions of any network replaced, one by one, by operators of the papers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from search_space.base.checks import check_choice, refusal, require
from search_space.conversion.obstacles import sharing, why_not, why_not_plain, why_shared
from search_space.conversion.replacement import operator_for, replacement, take_weights
from search_space.conversion.report import Changed, Conversion, Skipped, in_words
from search_space.conversion.running import batch_of, run_once
from search_space.conversion.targets import TARGETS, Target, target_of
from search_space.layers import ACTIVATIONS
from search_space.padding import assign_directions

Init = Literal["fresh", "from-weights"]
INITS: tuple[Init, ...] = ("fresh", "from-weights")
#: what the whole network is called where it is a convolution itself
_ROOT = "(the model)"


def convert(
    model: nn.Module,
    to: str,
    where: Callable[[str, nn.Conv2d], bool] | None = None,
    *,
    init: Init = "fresh",
    between: str = "none",
    inputs: Sequence[int] | Tensor | None = None,
) -> Conversion:
    """Replace the `torch.nn.Conv2d` layers of ``model`` by operators, in place.

    A layer keeps its stride, padding, dilation, groups, bias, dtype, device, memory format and mode, and what is
    frozen stays frozen. Batch norm and activation behind it stay the network's own. A layer that several modules use is
    replaced once. What cannot be replaced stays, and the result says why: other kernels, subclasses of Conv2d, layers
    with hooks or parametrizations.

    Args:
        model: any network.
        to: what by: "bsconv_u", "bsconv_s", "sep" (dense layers), "xsep", "xsep_sp", "xsep_no2x2", "xsep_b" (depthwise
            ones), "c2sp", "c4sp", "c2", "c4" (both). Even kernels apart, the kernel size is the layer's. The subspace
            of "bsconv_s" has a sixth of the channels, that of "bsconv_s_p4_min4" a quarter and at least 4.
        where: which layers, by name and layer; all by default.
        init: "fresh" draws new weights; "from-weights" takes those whose kernel is nearest to the old one's
            (`search_space.conversion.factors`), so that a trained network can be tuned rather than trained anew.
        between: batch norm and this activation stand between the layers of an xsep, as in its paper; by default
            nothing does, so that it is one linear convolution as the layer was.
        inputs: shape of one image (channels, height, width), or a batch; with it the network is run before and after:
            MACs are counted, and a network that does not work with its new layers is put back and refused. The padding
            directions of xsep are assigned in the order in which layers are called, without it in that of their
            definition.

    Raises:
        InvalidRequest: An unknown name, options that do not go together, or a network that does not run.
    """
    require(isinstance(model, nn.Module), "model", type(model).__name__, "is not a torch.nn.Module")
    target = target_of(to)
    _check_options(to, target, init, between)
    batch = None if inputs is None else batch_of(model, inputs)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    macs, called = None, convolutions
    if batch is not None:  # first of all, as lazy layers get their sizes by it
        macs, called = run_once(model, batch, convolutions)
    layers, skipped = _sorted_out(model, to, target, where)
    before = _params(model)
    operators = {layer: operator_for(target, layer) for layer in layers}
    directions = iter(assign_directions(sum(operator.directed_layers for operator in operators.values())))
    changed: dict[nn.Conv2d, Changed] = {}
    new: dict[nn.Module, nn.Module] = {}
    for layer in dict.fromkeys([*called, *convolutions]):
        if layer not in layers:
            continue
        own = tuple(next(directions) for _ in range(operators[layer].directed_layers))
        module = new[layer] = replacement(operators[layer], layer, own, between=between)
        row = Changed(layers[layer], in_words(layer), _params(layer), _params(module))
        if init == "from-weights":
            require(not layer.weight.is_meta, "init", init, "needs weights", "those of the model are on device meta")
            row = replace(row, error=take_weights(target, layer, module))
        changed[layer] = row
    converted, after = _exchange(model, new), None
    if batch is not None:
        try:
            after, still = run_once(converted, batch, list(new.values()))
            for layer in called:
                if layer in layers and new[layer] not in still:
                    remedy = "leave it out by `where`"
                    raise refusal("model", layers[layer][0], "is used other than by calling it", remedy)
        except BaseException:
            _exchange(converted, {module: layer for layer, module in new.items()})
            raise
    rows = tuple(changed[layer] for layer in layers)
    return Conversion(converted, to, init, rows, tuple(skipped), before, _params(converted), macs, after)


def _check_options(to: str, target: Target, init: str, between: str) -> None:
    check_choice("init", init, INITS)
    check_choice("between", between, ACTIVATIONS)
    if between != "none":
        joining = [name for name, other in TARGETS.items() if other.joins]
        require(target.joins, "between", between, f"has no place in {to}", f"it goes with {', '.join(joining)}")
        why = "makes an operator that no kernel equals, so there is none to take from the weights"
        require(init == "fresh", "between", between, why, "leave out one of the two")


def _sorted_out(
    model: nn.Module, to: str, target: Target, where: Callable[[str, nn.Conv2d], bool] | None
) -> tuple[dict[nn.Conv2d, tuple[str, ...]], list[Skipped]]:
    """The layers to replace with their names, and those that stay."""
    names: dict[nn.Conv2d, list[str]] = defaultdict(list)
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, nn.Conv2d):
            names[module].append(name or _ROOT)
    shared, layers, skipped = sharing(model), {}, []
    for layer, own in names.items():
        why = "is left out by `where`"
        if where is None or where(own[0], layer):
            plain = why_not_plain(layer) or why_shared(own[0], layer, shared)
            why = plain or why_not(to, target, layer) or ""
        if why:
            skipped.append(Skipped(tuple(own), why))
        else:
            layers[layer] = tuple(own)
    return layers, skipped


def _exchange(model: nn.Module, new: dict[nn.Module, nn.Module]) -> nn.Module:
    """Put ``new`` modules in the places of old ones, wherever they are; returns the model, which may be one itself."""
    for module in list(model.modules()):
        for name, part in module._modules.items():
            if part is not None and part in new:
                module._modules[name] = new[part]
    return new.get(model, model)


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if not is_lazy(parameter))
