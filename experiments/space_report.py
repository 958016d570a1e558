"""``sepnas space``: how large a search space is, what it holds, and how much of it a budget leaves."""

from __future__ import annotations

from search_space.candidates import SearchSpace
from search_space.cost_table import CostTable
from strategies.budget.budget import Budget, format_count
from strategies.budget.feasible import FeasibleSet


def space_report(space: SearchSpace, table: CostTable, budget: Budget) -> str:
    """Number of architectures, candidates of every block, reachable costs (``table``), the share inside ``budget``."""
    a = space.skeleton
    lines = [
        f"{a.macro}, input {a.in_channels}x{a.image_size}x{a.image_size}, {a.classes} classes:"
        f" {space.size:.4g} architectures, {len(space.labels)} labels, {sum(map(len, space.candidates))} candidates",
        "",
    ]
    previous: tuple[str, ...] = ()
    stages = space.stage_numbers or ("?",) * len(space.labels)
    rows = zip(space.labels, stages, a.sized_blocks(), space.candidates, strict=True)
    for label, stage, (block, size), names in rows:
        shown = "the same" if names == previous else ", ".join(names)
        previous = names
        shape = f"{size} px, {block.in_channels} -> {block.out_channels}, stride {block.stride}"
        lines.append(f"{label} (stage {stage}; {shape}) {len(names)}: {shown}")
    lines.append("")
    for metric, (low, high) in table.reachable().items():
        lines.append(f"reachable {metric}: {format_count(low)} to {format_count(high)} ({low:,} to {high:,})")
    inside = FeasibleSet(table, budget)
    lines.append(f"budget {budget}: {inside.count:.4g} architectures inside, {inside.share:.4%} of the space")
    return "\n".join(lines)
