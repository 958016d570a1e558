"""``sepnas describe`` and ``sepnas space``: what a network or a search space holds, and what it costs."""

from __future__ import annotations

from typing import Any

from experiments.tables import table
from search_space.architecture import Architecture
from search_space.candidates import SearchSpace
from search_space.cost_table import CostTable
from search_space.layer_cost import Cost
from search_space.layered.joined import in_text
from search_space.layered.simple import Act, Norm
from search_space.layered_network import LayeredNetwork, PlainNetwork, network_name
from search_space.network_cost import block_cost, cost, head_cost, nni_flops, stem_cost
from strategies.budget.budget import Budget, format_count
from strategies.budget.feasible import FeasibleSet

#: What a row says of a layer beside its costs.
_COLUMNS = ("block", "map", "operator", "in", "expanded", "out", "stride", "SE", "activation", "residual")
#: What it says of costs.
_COSTS = ("macs", "params", "macs_share", "params_share")


def rows(network: PlainNetwork) -> list[dict[str, Any]]:
    """Stem, blocks and head: where each sits, what it is, what it costs, and its share of the network's costs."""
    layers = _layers(network) if isinstance(network, LayeredNetwork) else _blocks(network)
    total = cost(network)
    return [
        layer
        | {"macs": part.macs, "params": part.params}
        | {"macs_share": part.macs / total.macs, "params_share": part.params / total.params}
        for layer, part in layers
    ]


def _layers(network: LayeredNetwork) -> list[tuple[dict[str, Any], Cost]]:
    """The rows of a network that is made of single layers: norms and activations stand with the layer in front."""
    placed = list(network.placed())
    starts = [index for index, (layer, _) in enumerate(placed) if not index or not isinstance(layer, Norm | Act)]
    found: list[tuple[dict[str, Any], Cost]] = []
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(placed)], strict=True)):
        own = placed[start:end]
        last, at = own[-1]
        row = {"layer": number, "map": own[0][1].height, "in": own[0][1].channels, "out": last.out(at).channels}
        part = sum((layer.cost(given) for layer, given in own), Cost())
        found.append((row | {"made of": in_text([layer for layer, _ in own])}, part))
    last, at = placed[-1]
    final = last.out(at)
    head: dict[str, Any] = {"layer": "head", "map": final.height, "in": final.channels, "out": network.classes}
    return [*found, (head | {"made of": network.head_text()}, network.head_cost())]


def _blocks(a: Architecture) -> list[tuple[dict[str, Any], Cost]]:
    stem = {"block": "stem", "map": a.image_size, "operator": "conv 3x3", "in": a.in_channels, "out": a.stem.channels}
    layers = [(stem | {"stride": a.stem.stride, "activation": a.stem.activation}, stem_cost(a))]
    for index, (b, size) in enumerate(a.sized_blocks()):
        layer = {"block": index, "map": size, "operator": b.operator, "in": b.in_channels, "out": b.out_channels}
        if not b.is_skip:
            layer |= {"expanded": b.expanded_channels or "", "stride": b.stride, "SE": b.se_channels or ""}
            layer |= {"activation": b.activation, "residual": "yes" if b.residual else ""}
        layers.append((layer, block_cost(b, size)))
    head = {"block": "head", "map": a.final_size, "operator": "pool, linear"}
    head |= {"in": a.blocks[-1].out_channels, "out": a.classes, "activation": a.head.activation}
    layers.append((head, head_cost(a)))
    return [(dict.fromkeys(_COLUMNS, "") | layer, part) for layer, part in layers]


def describe(network: PlainNetwork, name: str) -> str:
    """The table and the totals as text."""
    a = network
    found = rows(a)
    columns = [column for column in found[0] if column not in _COSTS]
    layers = [
        [row[column] for column in columns]
        + [f"{format_count(row[metric])} {row[f'{metric}_share']:6.1%}" for metric in ("macs", "params")]
        for row in found
    ]
    headings = [*("map, px" if column == "map" else column for column in columns), "MACs", "params"]
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
            table(layers, headings, right=range(len(headings))),
            "",
            table(((what, f"{value:,}", format_count(value), text) for what, value, text in totals), right=(1, 2)),
            "",
            str(a),
        ]
    )


def summary(architecture: PlainNetwork, name: str) -> dict[str, Any]:
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
    stages = space.stage_numbers or ("?",) * len(space.labels)
    blocks = []
    for index, (block, size) in enumerate(a.sized_blocks()):
        names = space.candidates[index]
        shape = f"{size} px, {block.in_channels} -> {block.out_channels}, stride {block.stride}"
        shown = "the same" if index and names == space.candidates[index - 1] else ", ".join(names)
        blocks.append((space.labels[index], f"(stage {stages[index]}; {shape})", f"{len(names)}: {shown}"))
    lines += [table(blocks), ""]
    for metric, (low, high) in costs.reachable().items():
        lines.append(f"reachable {metric}: {format_count(low)} to {format_count(high)} ({low:,} to {high:,})")
    inside = FeasibleSet(costs, budget)
    lines.append(f"budget {budget}: {inside.count:.4g} architectures inside, {inside.share:.4%} of the space")
    return "\n".join(lines)


def _shape(a: PlainNetwork) -> str:
    return f"{network_name(a)}, input {a.in_channels}x{a.image_size}x{a.image_size}, {a.classes} classes"
