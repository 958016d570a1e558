"""A search space as a value: for every block of a macro-architecture, the blocks that may stand there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from search_space.architecture import SKIP, Architecture, Block
from search_space.cost_table import CostTable
from search_space.errors import InvalidRequest
from search_space.macros import macro
from search_space.network_cost import block_cost, fixed_cost
from search_space.registry import operators


def default_operators() -> tuple[str, ...]:
    """Every registered operator except the known-bad ablations, and ``skip``."""
    return (*(name for name, operator in operators.items() if operator.default_candidate), SKIP)


@dataclass(frozen=True)
class SearchSpace:
    """All architectures that differ from ``skeleton`` in the operator of their blocks.

    ``candidates[i]`` are the names that may stand at block i; at least one each. The value knows no NNI:
    `search_space.space.SepConvSpace` is its NNI form.
    """

    skeleton: Architecture
    candidates: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(self.candidates) != len(self.skeleton.blocks):
            raise InvalidRequest(
                f"candidates: {len(self.candidates)} lists for the {len(self.skeleton.blocks)} blocks of"
                f" {self.skeleton.macro}"
            )
        for index, names in enumerate(self.candidates):
            if not names:
                raise InvalidRequest(f"candidates[{index}]: empty; no operator asked for fits this block")
            if len(set(names)) != len(names):
                raise InvalidRequest(f"candidates[{index}]: a name stands twice in {', '.join(names)}")

    @classmethod
    def create(
        cls,
        macro_name: str = "mobilenetv3-small",
        *,
        image_size: int = 32,
        in_channels: int = 3,
        classes: int = 10,
        width: float = 1.0,
        operators: Iterable[str] | None = None,
    ) -> SearchSpace:
        """The space of ``operators`` (default: `default_operators`) on a macro-architecture.

        An operator is a candidate wherever it fits: ``skip`` where the shape is kept, grouped convolutions where their
        width divides the channels. InvalidRequest for unknown names and for an operator that fits nowhere.
        """
        skeleton = macro(macro_name, image_size=image_size, in_channels=in_channels, classes=classes, width=width)
        if isinstance(operators, str):  # it would be taken letter by letter
            raise InvalidRequest(f"operators: {operators!r} is one text; give a list of names")
        names = tuple(operators) if operators is not None else default_operators()
        if not names:
            raise InvalidRequest("operators: empty; name at least one")
        if len(set(names)) != len(names):
            raise InvalidRequest(f"operators: a name stands twice in {', '.join(names)}")
        for name in names:
            _require_known(name)
        candidates = tuple(
            tuple(name for name in names if _fits(block, name, size)) for block, size in skeleton.sized_blocks()
        )
        for name in names:
            if not any(name in here for here in candidates):
                raise InvalidRequest(f"operators: {name} fits no block of {macro_name} at width {width}; leave it out")
        return cls(skeleton, candidates)

    @property
    def labels(self) -> tuple[str, ...]:
        """One label a block, as NNI sees them."""
        return tuple(f"block{index:02d}" for index in range(len(self.candidates)))

    @property
    def size(self) -> int:
        """Number of architectures."""
        return self.cost_table.size

    def block(self, index: int, name: str) -> Block:
        """The block that candidate ``name`` puts at position ``index``."""
        if name not in self.candidates[index]:
            raise InvalidRequest(
                f"sample[{self.labels[index]!r}]: {name!r} is none of {', '.join(self.candidates[index])}"
            )
        return candidate_block(self.skeleton.blocks[index], name)

    def architecture(self, sample: Mapping[str, str]) -> Architecture:
        """The architecture of an NNI sample ``{label: operator}``; InvalidRequest if a label is missing or unknown."""
        if missing := [label for label in self.labels if label not in sample]:
            raise InvalidRequest(f"sample: label {missing[0]!r} is missing")
        blocks = tuple(self.block(index, sample[label]) for index, label in enumerate(self.labels))
        return replace(self.skeleton, blocks=blocks)

    def sample(self, architecture: Architecture) -> dict[str, str]:
        """The inverse of `architecture`; InvalidRequest if it is no point of this space."""
        if len(architecture.blocks) != len(self.candidates):
            raise InvalidRequest(f"architecture: {len(architecture.blocks)} blocks, not {len(self.candidates)}")
        sample = {label: block.operator for label, block in zip(self.labels, architecture.blocks, strict=True)}
        if self.architecture(sample) != replace(architecture, macro=self.skeleton.macro):
            raise InvalidRequest("architecture: no point of this space, as it differs in more than the operators")
        return sample

    @cached_property
    def cost_table(self) -> CostTable:
        """MACs and params of every candidate at every block."""
        costs: dict[str, dict[str, np.ndarray]] = {"macs": {}, "params": {}}
        for index, (block, size) in enumerate(self.skeleton.sized_blocks()):
            own = [block_cost(candidate_block(block, name), size) for name in self.candidates[index]]
            costs["macs"][self.labels[index]] = np.array([cost.macs for cost in own], dtype=np.int64)
            costs["params"][self.labels[index]] = np.array([cost.params for cost in own], dtype=np.int64)
        fixed = fixed_cost(self.skeleton)
        return CostTable(
            candidates=dict(zip(self.labels, self.candidates, strict=True)),
            costs=costs,
            fixed={"macs": fixed.macs, "params": fixed.params},
        )


def candidate_block(block: Block, name: str) -> Block:
    """``block`` of a skeleton with operator ``name`` in its place: spatial operators keep the inverted residual,
    whole-block operators and ``skip`` replace it."""
    if name == SKIP:
        return Block(SKIP, block.in_channels, block.out_channels)
    if operators[name].scope == "spatial":
        return replace(block, operator=name)
    return replace(block, operator=name, expanded_channels=0, se_channels=0, se_bias=False)


def _fits(block: Block, name: str, size: int) -> bool:
    candidate = candidate_block(block, name)
    if candidate.is_skip:
        return block.stride == 1 and block.in_channels == block.out_channels
    return operators[name].unfit(candidate.slot(size, size)) is None


def _require_known(name: str) -> None:
    if name != SKIP and name not in operators:
        raise InvalidRequest(f"operators: {name!r} is unknown; known are {', '.join(operators)}, {SKIP}")
