"""``sepnas describe`` and ``sepnas space``: what a network or a search space holds, and what it costs."""

from __future__ import annotations

from typing import Any

from experiments.tables import table
from search_space.architecture import Architecture, Block
from search_space.candidates import SearchSpace
from search_space.cost_table import CostTable
from search_space.layer_cost import Cost
from search_space.network_cost import block_cost, cost, head_cost, nni_flops, stem_cost
from strategies.budget.budget import Budget, format_count
from strategies.budget.feasible import FeasibleSet

#: the table's columns: key of a row, heading
_COLUMNS = {
    "block": "block",
    "map": "map, px",
    "operator": "operator",
    "in": "in",
    "expanded": "expanded",
    "out": "out",
    "stride": "stride",
    "SE": "SE",
    "activation": "activation",
    "residual": "residual",
    "macs": "MACs",
    "params": "params",
}


def rows(architecture: Architecture) -> list[dict[str, Any]]:
    """Stem, blocks and head: where each sits, what it is, and what it costs."""
    a = architecture
    stem = _row("stem", a.image_size, "conv 3x3", (a.in_channels, a.stem.channels), stem_cost(a))
    layers = [stem | {"stride": a.stem.stride, "activation": a.stem.activation}]
    for index, (block, size) in enumerate(a.sized_blocks()):
        row = _row(index, size, block.operator, (block.in_channels, block.out_channels), block_cost(block, size))
        layers.append(row | _details(block))
    last = _row("head", a.final_size, "pool, linear", (a.blocks[-1].out_channels, a.classes), head_cost(a))
    layers.append(last | {"activation": a.head.activation})
    total = cost(a)
    for row in layers:
        row["macs_share"] = row["macs"] / total.macs
        row["params_share"] = row["params"] / total.params
    return layers


def describe(architecture: Architecture, name: str) -> str:
    """The table and the totals as text."""
    a = architecture
    layers = [
        row | {metric: f"{format_count(row[metric])} {row[f'{metric}_share']:6.1%}" for metric in ("macs", "params")}
        for row in rows(a)
    ]
    total, nni = cost(a), nni_flops(a)
    totals = [
        ("MACs", total.macs, "multiply-accumulates of convolutions and linear layers"),
        ("2 x MACs", 2 * total.macs, "each counted as two operations"),
        ("NNI's profiler", nni, "with biases, batch norms and the activations it knows"),
        ("parameters", total.params, "all trainable ones"),
    ]
    return "\n".join(
        [
            f"{name}: {_shape(a)}",
            table([[row[key] for key in _COLUMNS] for row in layers], list(_COLUMNS.values()), right=range(12)),
            "",
            table(((what, f"{value:,}", format_count(value), text) for what, value, text in totals), right=(1, 2)),
            "",
            str(a),
        ]
    )


def summary(architecture: Architecture, name: str) -> dict[str, Any]:
    """The same for JSON."""
    total = cost(architecture)
    return {
        "network": name,
        "architecture": str(architecture),
        "macs": total.macs,
        "flops_2x": 2 * total.macs,
        "flops_nni": nni_flops(architecture),
        "params": total.params,
        "blocks": rows(architecture),
    }


def describe_space(space: SearchSpace, costs: CostTable, budget: Budget) -> str:
    """Number of architectures, candidates of every block, reachable ``costs``, the share inside ``budget``."""
    a = space.skeleton
    lines = [
        f"{_shape(a)}: {space.size:.4g} architectures, {len(space.labels)} labels,"
        f" {sum(map(len, space.candidates))} candidates",
        "",
    ]
    previous: tuple[str, ...] = ()
    stages = space.stage_numbers or ("?",) * len(space.labels)
    blocks = []
    for label, stage, (block, size), names in zip(
        space.labels, stages, a.sized_blocks(), space.candidates, strict=True
    ):
        shape = f"{size} px, {block.in_channels} -> {block.out_channels}, stride {block.stride}"
        shown = "the same" if names == previous else ", ".join(names)
        blocks.append((label, f"(stage {stage}; {shape})", f"{len(names)}: {shown}"))
        previous = names
    lines += [table(blocks), ""]
    for metric, (low, high) in costs.reachable().items():
        lines.append(f"reachable {metric}: {format_count(low)} to {format_count(high)} ({low:,} to {high:,})")
    inside = FeasibleSet(costs, budget)
    lines.append(f"budget {budget}: {inside.count:.4g} architectures inside, {inside.share:.4%} of the space")
    return "\n".join(lines)


def _shape(a: Architecture) -> str:
    return f"{a.macro}, input {a.in_channels}x{a.image_size}x{a.image_size}, {a.classes} classes"


def _row(block: int | str, size: int, operator: str, channels: tuple[int, int], own: Cost) -> dict[str, Any]:
    row = dict.fromkeys(_COLUMNS, "")
    return row | {
        "block": block,
        "map": size,
        "operator": operator,
        "in": channels[0],
        "out": channels[1],
        "macs": own.macs,
        "params": own.params,
    }


def _details(block: Block) -> dict[str, Any]:
    if block.is_skip:
        return {}
    return {
        "expanded": block.expanded_channels or "",
        "stride": block.stride,
        "SE": block.se_channels or "",
        "activation": block.activation,
        "residual": "yes" if block.residual else "",
    }
