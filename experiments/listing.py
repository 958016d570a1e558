"""What ``sepnas list`` prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from evaluators.sources.names import DATASETS
from evaluators.training.presets import RECIPES
from evaluators.training.recipes import Recipe
from search_space.options import PRESETS
from strategies.names import STRATEGIES

#: Where a recipe preset comes from.
_RECIPE_SOURCES = {
    "xsepconv-cifar": "XSepConv section 4.1",
    "xsepconv-svhn": "XSepConv section 4.1",
    "xsepconv-tiny-imagenet": "XSepConv section 4.1",
    "bsconv-cifar": "BSConv section 5.1",
    "bsconv-imagenet": "BSConv section 5.2",
    "even-kernel-cifar": "Convolution with even-sized kernels section 4.5",
    "xception-imagenet": "Xception sections 4.2 and 4.3",
    "quick": "our own: a first look, in minutes on a GPU",
    "cpu": "our own: small images on a few cores",
}


def _columns(rows: dict[str, str]) -> str:
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {text}" for name, text in rows.items())


def _operators() -> str:
    from search_space import operators

    rows = {name: f"{o.scope:7}  {o.summary} [{o.source}]" for name, o in operators.items()}
    rows["skip"] = "block    identity, where the shape is kept: depth is searched too"
    return _columns(rows)


def _presets() -> str:
    from search_space import preset

    rows = {name: f"{summary}:\n    {', '.join(preset(name))}" for name, summary in PRESETS.items()}
    return _columns(rows)


def _macros() -> str:
    from search_space import cost, macro
    from search_space.macros import MACROS
    from strategies.budget.budget import format_count

    rows = {}
    for name in MACROS:
        own = cost(macro(name, image_size=224, classes=1000))
        macs, params = format_count(own.macs), format_count(own.params)
        rows[name] = f"{len(macro(name).blocks)} blocks; at 224 pixels, 1000 classes {macs} MACs, {params} params"
    return _columns(rows)


def _baselines() -> str:
    from search_space import baselines

    return _columns(baselines())


def _strategies() -> str:
    lines = []
    for name, strategy in STRATEGIES.items():
        lines.append(f"{name}: {strategy.summary}")
        lines.extend(f"  {field.name} = {field.default!r}" for field in fields(strategy.options))
    return "\n".join(lines)


def _recipes() -> str:
    rows = {}
    for name, own in RECIPES.items():
        figures = f"{own.epochs} epochs, batch {own.batch_size}, {own.optimizer}, learning rate {own.learning_rate:g}"
        rows[name] = f"{figures}, {_schedule(own)} [{_RECIPE_SOURCES[name]}]"
    return _columns(rows)


def _schedule(recipe: Recipe) -> str:
    warmup = f", warm-up {recipe.warmup_epochs:g}" if recipe.warmup_epochs else ""
    if recipe.schedule == "step":
        at = ", ".join(f"{epoch:g}" for epoch in recipe.milestone_epochs)
        return f"step (x {recipe.decay_factor:g} at epochs {at}){warmup}"
    if recipe.schedule == "exponential":
        return f"exponential (x {recipe.decay_factor:g} every {recipe.decay_epochs:g} epochs){warmup}"
    return f"{recipe.schedule}{warmup}"


def _datasets() -> str:
    return _columns(DATASETS)


#: What can be listed -> the text: names with a line or more each.
LISTINGS: dict[str, Callable[[], str]] = {
    "operators": _operators,
    "presets": _presets,
    "macros": _macros,
    "baselines": _baselines,
    "strategies": _strategies,
    "recipes": _recipes,
    "datasets": _datasets,
}
