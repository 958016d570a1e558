"""``sepnas describe``: an architecture as a table, one row a block, and its totals by every convention."""

from __future__ import annotations

from typing import Any

import pandas as pd

from search_space.architecture import Architecture, Block
from search_space.layer_cost import Cost
from search_space.network_cost import block_cost, cost, head_cost, nni_flops, stem_cost
from strategies.budget.budget import format_count


def rows(architecture: Architecture) -> list[dict[str, Any]]:
    """Stem, blocks and head: where each sits, what it is, and what it costs."""
    a = architecture
    found = [_row("stem", a.image_size, "conv 3x3", (a.in_channels, a.stem.channels), stem_cost(a))]
    found[0] |= {"stride": a.stem.stride, "activation": a.stem.activation}
    for index, (block, size) in enumerate(a.sized_blocks()):
        row = _row(index, size, block.operator, (block.in_channels, block.out_channels), block_cost(block, size))
        found.append(row | _details(block))
    last = _row("head", a.final_size, "pool, linear", (a.blocks[-1].out_channels, a.classes), head_cost(a))
    found.append(last | {"activation": a.head.activation})
    total = cost(a)
    for row in found:
        row["macs_share"] = row["macs"] / total.macs
        row["params_share"] = row["params"] / total.params
    return found


def describe(architecture: Architecture, name: str) -> str:
    """The table and the totals as text."""
    a = architecture
    table = pd.DataFrame(rows(a)).fillna("")
    for metric in ("macs", "params"):
        table[metric] = [
            f"{format_count(value)} {share:6.1%}" for value, share in table[[metric, f"{metric}_share"]].values
        ]
    shown = table.drop(columns=["macs_share", "params_share"]).rename(columns={"macs": "MACs", "map": "map, px"})
    total, nni = cost(a), nni_flops(a)
    return "\n".join(
        [
            f"{name}: {a.macro}, input {a.in_channels}x{a.image_size}x{a.image_size}, {a.classes} classes",
            shown.to_string(index=False),
            "",
            f"MACs             {total.macs:>15,}  {format_count(total.macs)}: multiply-accumulates of convolutions and"
            " linear layers",
            f"2 x MACs         {2 * total.macs:>15,}  {format_count(2 * total.macs)}: each counted as two operations",
            f"NNI's profiler   {nni:>15,}  {format_count(nni)}: with biases, batch norms and the activations it knows",
            f"parameters       {total.params:>15,}  {format_count(total.params)}: all trainable ones",
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


def _row(block: int | str, size: int, operator: str, channels: tuple[int, int], own: Cost) -> dict[str, Any]:
    return {
        "block": block,
        "map": size,
        "operator": operator,
        "in": channels[0],
        "expanded": "",
        "out": channels[1],
        "stride": "",
        "SE": "",
        "activation": "",
        "residual": "",
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
