"""The networks that attribution trains: a winner with some of its operators swapped."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from search_space.architecture import Architecture
from search_space.plain_depthwise import is_plain, plain_operator, with_plain_depthwise

#: Which swaps: of each block alone, of each family of operators everywhere, of all operators.
Kind = Literal["blocks", "families", "all"]
KINDS: tuple[Kind, ...] = ("blocks", "families", "all")


@dataclass(frozen=True)
class Swap:
    """A winner with plain depthwise convolutions in place of some operators.

    Attributes:
        name: its trainings lie in a folder of this name.
        label: what tables call it.
        blocks: those that are swapped, counted from 0.
        operators: what became what, as ``xsep_k5 -> dw_k5``.
        family: of the operators that are swapped; None if they are of several.
        network: costs what the winner costs, as nearly as whole numbers of channels allow.
    """

    name: str
    label: str
    blocks: tuple[int, ...]
    operators: str
    family: str | None
    network: Architecture


def swaps(winner: Architecture, kinds: Collection[Kind], metric: str) -> list[Swap]:
    """The swaps of ``winner`` of these ``kinds``, each network once; none if it has plain depthwise convolutions alone.

    ``metric`` is what they cost equally: "macs" or "params".
    """
    other = [index for index, block in enumerate(winner.blocks) if not is_plain(block)]
    families: dict[str, list[int]] = {}
    for index in other:
        families.setdefault(winner.blocks[index].family, []).append(index)
    # a family of one block is swapped by that block's swap, and all operators by the only family's
    wanted: list[tuple[str, str, list[int]]] = []
    if "blocks" in kinds:
        wanted += [(f"swap-block{i}", f"block {i}: {winner.blocks[i].operator}", [i]) for i in other]
    if "families" in kinds:
        wanted += [(f"swap-{family}", f"every {family}", blocks) for family, blocks in families.items()]
    if "all" in kinds and other:
        wanted.append(("swap-all", "every operator", other))
    found: dict[tuple[int, ...], Swap] = {}
    for name, label, blocks in wanted:
        key = tuple(blocks)
        if key in found:
            continue
        own = [winner.blocks[index] for index in blocks]
        changes = dict.fromkeys(f"{block.operator} -> {plain_operator(block.definition)}" for block in own)
        family = own[0].family if len({block.family for block in own}) == 1 else None
        network = with_plain_depthwise(winner, blocks, metric)
        found[key] = Swap(name, label, key, ", ".join(changes), family, network)
    return list(found.values())
