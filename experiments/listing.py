"""What ``sepnas list`` prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from evaluators.sources.names import DATASETS
from evaluators.training.presets import PRESETS as RECIPE_PRESETS
from search_space.options import PRESETS
from strategies.names import STRATEGIES


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
    return _columns({name: preset.summary for name, preset in RECIPE_PRESETS.items()})


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
