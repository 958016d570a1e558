"""A search space as a value: for every block of a macro-architecture, the blocks that may stand there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from search_space.architecture import SKIP, Architecture, Block
from search_space.base.checks import known_names, shown
from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable
from search_space.macro_definition import divisible
from search_space.macro_file import find_macro
from search_space.network_cost import block_cost, head_cost, stem_cost
from search_space.notation import parse, parse_block
from search_space.options import SpaceOptions, operator_names
from search_space.registry import operators


@dataclass(frozen=True)
class SearchSpace:
    """All architectures that differ from ``skeleton`` in their blocks, each taken from ``choices`` of its position.

    The choices of a block are what its operator, its expanded channels and, where wanted, its squeeze-and-excitation
    can be, multiplied out: one flat list per block, so that costs add up over blocks. Their names say how they differ
    from the skeleton: ``dw_k5``, ``dw_k5-e96`` (other expanded channels), ``dw_k5-e96-nose`` (and no squeeze-and-
    excitation), ``sep_k3``, ``skip``. The NNI form is `search_space.space.SepConvSpace`.
    """

    skeleton: Architecture
    choices: tuple[tuple[Block, ...], ...]
    #: The stage of the macro-architecture that each block belongs to, where it is known.
    stage_numbers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.choices) != len(self.skeleton.blocks):
            raise InvalidRequest(
                f"choices: {len(self.choices)} lists for the {len(self.skeleton.blocks)} blocks of"
                f" {self.skeleton.macro}"
            )
        for index, names in enumerate(self.candidates):
            if not names:
                raise InvalidRequest(f"choices[{index}]: empty; no operator asked for fits this block")
            if len(set(names)) != len(names):
                raise InvalidRequest(f"choices[{index}]: a block is given twice in {known_names(names)}")
        for index, (choices, (original, size)) in enumerate(
            zip(self.choices, self.skeleton.sized_blocks(), strict=True)
        ):
            for block in choices:
                block.check(f"choices[{index}]", size, size)
                if _shape(block) != _shape(original):
                    raise InvalidRequest(
                        f"choices[{index}]: {block.operator} maps {_shape(block)}, the skeleton {_shape(original)}"
                        " (in_channels, out_channels, stride); all must agree"
                    )

    @classmethod
    def create(
        cls,
        options: SpaceOptions | None = None,
        *,
        image_size: int = 32,
        in_channels: int = 3,
        classes: int = 10,
        **changes: Any,
    ) -> SearchSpace:
        """The space that ``options``, with the fields in ``changes`` replaced, describe for square images of
        ``image_size`` pixels.

        An operator is a candidate wherever it fits: ``skip`` where the shape is kept, grouped convolutions where their
        width divides the channels. InvalidRequest for unknown names, an operator that fits nowhere, a stage that is not
        there.
        """
        options = replace(SpaceOptions() if options is None else options, **changes)
        definition = find_macro(options.macro)
        skeleton = definition.architecture(
            image_size=image_size, in_channels=in_channels, classes=classes, width=options.width
        )
        asked = options.operators
        if asked == "paper" and has_inner(skeleton.blocks[0]):
            asked = _pairs_like(skeleton)
        whole = _Wanted(operator_names(asked), tuple(options.widths), options.search_se)
        numbers = definition.stage_numbers
        wanted = dict.fromkeys(numbers, whole)
        for number, own in options.stages.items():
            if number not in wanted:
                raise InvalidRequest(
                    f"space.stages: there is no stage {shown(number)}; {skeleton.macro} has the stages 0 to"
                    f" {numbers[-1]}"
                )
            where = f"space.stages[{number}].operators"
            wanted[number] = _Wanted(
                whole.operators if own.operators is None else operator_names(own.operators, where),
                whole.widths if own.widths is None else tuple(own.widths),
                whole.search_se if own.search_se is None else own.search_se,
                where,
            )
        choices = tuple(
            wanted[number].choices(block, size)
            for number, (block, size) in zip(numbers, skeleton.sized_blocks(), strict=True)
        )
        for part in dict.fromkeys(wanted.values()):
            here = [blocks for number, blocks in zip(numbers, choices, strict=True) if wanted[number] is part]
            for name in part.operators:
                if not any(block.operator == name for blocks in here for block in blocks):
                    raise InvalidRequest(
                        f"{part.where}: {name} fits no block of {skeleton.macro} at width {options.width}; leave it out"
                    )
        return cls(skeleton, choices, numbers)

    @property
    def labels(self) -> tuple[str, ...]:
        """One label per block, as NNI sees them."""
        return tuple(f"block{index:02d}" for index in range(len(self.choices)))

    @cached_property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        """Names of the choices of every block."""
        return tuple(
            tuple(choice_name(block, original) for block in choices)
            for choices, original in zip(self.choices, self.skeleton.blocks, strict=True)
        )

    @property
    def size(self) -> int:
        """Number of architectures."""
        return math.prod(map(len, self.choices))

    def block(self, index: int, name: str) -> Block:
        """The block that candidate ``name`` puts at position ``index``."""
        block = self._named[index].get(name)
        if block is None:
            raise InvalidRequest(
                f"sample[{self.labels[index]!r}]: {shown(name)} is not one of {known_names(self.candidates[index])}"
            )
        return block

    def architecture(self, sample: Mapping[str, str]) -> Architecture:
        """The architecture of an NNI sample ``{label: candidate}``; InvalidRequest if a label is missing or unknown."""
        if missing := [label for label in self.labels if label not in sample]:
            raise InvalidRequest(f"sample: label {missing[0]!r} is missing")
        blocks = tuple(self.block(index, sample[label]) for index, label in enumerate(self.labels))
        return replace(self.skeleton, blocks=blocks)

    def sample(self, architecture: Architecture) -> dict[str, str]:
        """The inverse of `architecture`; InvalidRequest if it is not in this space."""
        if len(architecture.blocks) != len(self.choices):
            raise InvalidRequest(f"architecture: {len(architecture.blocks)} blocks, not {len(self.choices)}")
        sample = {}
        for index, (label, block) in enumerate(zip(self.labels, architecture.blocks, strict=True)):
            name = choice_name(block, self.skeleton.blocks[index])
            if self._named[index].get(name) != (_skip(block) if block.is_skip else block):
                raise InvalidRequest(
                    f"architecture: not in this space, as its block {index} ({name}) is not one of"
                    f" {known_names(self.candidates[index])}"
                )
            sample[label] = name
        own = replace(architecture, macro=self.skeleton.macro, blocks=self.skeleton.blocks)
        if own != self.skeleton:
            raise InvalidRequest("architecture: not in this space, as it differs in more than the blocks")
        return sample

    @cached_property
    def cost_table(self) -> CostTable:
        """MACs and params of every candidate at every block."""
        costs: dict[str, dict[str, np.ndarray]] = {"macs": {}, "params": {}}
        for index, (_, size) in enumerate(self.skeleton.sized_blocks()):
            own = [block_cost(block, size) for block in self.choices[index]]
            costs["macs"][self.labels[index]] = np.array([cost.macs for cost in own], dtype=np.int64)
            costs["params"][self.labels[index]] = np.array([cost.params for cost in own], dtype=np.int64)
        fixed = stem_cost(self.skeleton) + head_cost(self.skeleton)
        return CostTable(
            candidates=dict(zip(self.labels, self.candidates, strict=True)),
            costs=costs,
            fixed={"macs": fixed.macs, "params": fixed.params},
            kinds={
                label: tuple(block.family for block in blocks)
                for label, blocks in zip(self.labels, self.choices, strict=True)
            },
        )

    def _dump(self) -> dict[str, Any]:
        """What NNI's serialiser keeps of the space; it would pickle it, and refuse more than 4 KiB of that."""
        return {
            "skeleton": str(self.skeleton),
            "choices": [[str(block) for block in choices] for choices in self.choices],
            "stage_numbers": self.stage_numbers,
        }

    @classmethod
    def _load(cls, skeleton: str, choices: list[list[str]], stage_numbers: list[int] | None) -> SearchSpace:
        """The space from which `_dump` made these."""
        architecture = parse(skeleton)
        blocks = tuple(
            tuple(parse_block(text, original.in_channels) for text in texts)
            for texts, original in zip(choices, architecture.blocks, strict=True)
        )
        return cls(architecture, blocks, None if stage_numbers is None else tuple(stage_numbers))

    @cached_property
    def _named(self) -> tuple[dict[str, Block], ...]:
        return tuple(
            dict(zip(names, blocks, strict=True)) for names, blocks in zip(self.candidates, self.choices, strict=True)
        )


def has_inner(block: Block) -> bool:
    """Whether a block is a whole-block operator whose inner channels can be chosen, as those of ResNets are."""
    return not block.is_skip and block.definition.has_inner


def _pairs_like(skeleton: Architecture) -> list[str]:
    """What the preset "paper" means for a ResNet: the papers' operators as both layers of a block, and ``skip``."""
    kind = type(skeleton.blocks[0].definition)
    keeps = any(block.stride == 1 and block.in_channels == block.out_channels for block in skeleton.blocks)
    return [*(name for name, each in operators.items() if type(each) is kind), *([SKIP] if keeps else [])]


def choice_name(block: Block, original: Block) -> str:
    """What ``block`` is called where ``original`` stands in the skeleton: the operator, and what else differs."""
    name = block.operator
    if not block.is_inverted_residual:
        return f"{name}-e{block.expanded_channels}" if block.expanded_channels else name
    if block.expanded_channels != original.expanded_channels:
        name += f"-e{block.expanded_channels}"
    if bool(block.se_channels) != bool(original.se_channels):
        name += "-se" if block.se_channels else "-nose"
    return name


@dataclass(frozen=True)
class _Wanted:
    """What a user asks for, for the whole network or one stage."""

    operators: tuple[str, ...]
    widths: tuple[float, ...]
    search_se: bool
    where: str = "space.operators"

    def choices(self, block: Block, size: int) -> tuple[Block, ...]:
        """All candidates that fit where ``block`` stands on a ``size`` x ``size`` map."""
        variants = [candidate for name in self.operators for candidate in self._variants(block, name)]
        fitting = [b for b in variants if b.is_skip or b.definition.unfit(b.slot(size, size)) is None]
        return tuple(dict.fromkeys(fitting))  # two widths can round to the same channels

    def _variants(self, block: Block, name: str) -> Iterable[Block]:
        if name == SKIP:
            if block.stride == 1 and block.in_channels == block.out_channels:
                yield _skip(block)
        elif operators[name].scope == "block":
            whole = replace(
                block, operator=name, expanded_channels=0, se_channels=0, se_bias=False, project_activation="none"
            )
            yield from self._inner_widths(whole) if has_inner(block) and has_inner(whole) else (whole,)
        else:
            for width in self.widths:
                yield from self._inverted_residuals(replace(block, operator=name), width)

    def _inner_widths(self, block: Block) -> Iterable[Block]:
        """``block`` in the wanted widths of its inner channels: designed are as many as go out."""
        for width in self.widths:
            inner = block.out_channels if width == 1 else divisible(block.out_channels * width)
            yield replace(block, expanded_channels=0 if inner == block.out_channels else inner)

    def _inverted_residuals(self, block: Block, width: float) -> Iterable[Block]:
        base = block.expanded_channels or block.in_channels
        expanded = base if width == 1 else divisible(base * width)
        # squeeze-and-excitation keeps its share of the channels; where there is none, MobileNetV3's quarter
        share = block.se_channels / base if block.se_channels else 0.25
        squeeze = block.se_channels if block.se_channels and width == 1 else divisible(expanded * share)
        with_se = replace(block, expanded_channels=expanded, se_channels=squeeze)
        without = replace(block, expanded_channels=expanded, se_channels=0, se_bias=False)
        designed, other = (with_se, without) if block.se_channels else (without, with_se)
        yield designed
        if self.search_se:
            yield other


def _skip(block: Block) -> Block:
    return Block(SKIP, block.in_channels, block.out_channels)


def _shape(block: Block) -> tuple[int, int, int]:
    return block.in_channels, block.out_channels, block.stride
