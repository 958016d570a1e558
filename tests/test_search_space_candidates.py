"""The search space as a value, and its cost table."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_space import (
    Block,
    CostTable,
    InvalidRequest,
    SearchSpace,
    baseline,
    baselines,
    cost,
    default_operators,
    macro,
    operators,
)

DEFAULT = SearchSpace.create()
NARROW = SearchSpace.create(image_size=17, in_channels=1, classes=3, width=0.25)


def random_indices(space: SearchSpace, number: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.int64]]:
    generator = np.random.default_rng(seed)
    return np.stack([generator.integers(len(names), size=number) for names in space.candidates], axis=1)


def test_default_candidates_are_all_operators_but_the_ablations_and_skip() -> None:
    assert set(default_operators()) == {*operators, "skip"} - {"c2", "c4"}
    assert not any({"c2", "c4"} & set(names) for names in DEFAULT.candidates)


def test_ablations_are_candidates_on_request() -> None:
    assert SearchSpace.create(operators=("c2", "c4")).candidates == (("c2", "c4"),) * 11


def test_operators_are_candidates_wherever_they_fit() -> None:
    for (block, _), names in zip(DEFAULT.skeleton.sized_blocks(), DEFAULT.candidates, strict=True):
        assert ("skip" in names) == (block.stride == 1 and block.in_channels == block.out_channels)
        for width in (2, 4, 8, 16):
            assert (f"group_k3_w{width}" in names) == (block.expanded_channels % width == 0)
        assert {"dw_k3", "xsep_k7", "mix_k357", "sep_k5", "bsconv_s_k3"} <= set(names)


def test_width_16_groups_fit_only_some_blocks_of_the_full_network() -> None:
    fitting = [i for i, names in enumerate(DEFAULT.candidates) if "group_k3_w16" in names]
    assert fitting == [0, 3, 4, 5, 7, 8, 9, 10]  # 72, 88 and 120 channels are not divisible by 16


def test_candidates_stand_in_the_order_asked_for() -> None:
    space = SearchSpace.create(operators=("skip", "sep_k3", "dw_k3"))
    assert set(space.candidates) == {("skip", "sep_k3", "dw_k3"), ("sep_k3", "dw_k3")}


def test_labels_number_the_blocks() -> None:
    assert DEFAULT.labels == tuple(f"block{i:02d}" for i in range(11))


def test_size_is_the_product_of_the_choices() -> None:
    space = SearchSpace.create(operators=("dw_k3", "dw_k5", "skip"))
    choices = [3 if "skip" in names else 2 for names in space.candidates]
    assert space.size == space.cost_table.size == np.prod(choices)
    assert DEFAULT.size > 10**16


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "operators: empty; name at least one"),
        (("dw_k3", "dw_k3"), "operators: a name stands twice in dw_k3, dw_k3"),
        (("dw_k3", "conv"), "operators: 'conv' is unknown; known are "),
        (("skip",), "candidates[1]: empty; no operator asked for fits this block"),  # 16 -> 24 channels at stride 2
    ],
)
def test_impossible_candidates_are_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        SearchSpace.create(operators=names)
    assert str(caught.value).startswith(message)


def test_operators_that_fit_nowhere_are_refused() -> None:
    # at this width every layer has 8 channels
    with pytest.raises(InvalidRequest) as caught:
        SearchSpace.create(width=0.01, operators=("dw_k3", "group_k3_w16"))
    assert str(caught.value) == "operators: group_k3_w16 fits no block of mobilenetv3-small at width 0.01; leave it out"


def test_candidate_lists_must_match_the_blocks() -> None:
    skeleton = macro("mobilenetv3-small")
    with pytest.raises(InvalidRequest, match=r"^candidates: 1 lists for the 11 blocks of mobilenetv3-small$"):
        SearchSpace(skeleton, (("dw_k3",),))
    with pytest.raises(InvalidRequest, match=r"^candidates\[3\]: empty; no operator asked for fits this block$"):
        SearchSpace(skeleton, (("dw_k3",),) * 3 + ((),) + (("dw_k3",),) * 7)
    with pytest.raises(InvalidRequest, match=r"^candidates\[0\]: a name stands twice in dw_k3, dw_k3$"):
        SearchSpace(skeleton, (("dw_k3", "dw_k3"),) * 11)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_samples_and_architectures_are_the_same_points(seed: int) -> None:
    row = random_indices(NARROW, 1, seed)[0]
    sample = NARROW.cost_table.sample(row)
    architecture = NARROW.architecture(sample)
    assert NARROW.sample(architecture) == sample
    assert NARROW.cost_table.indices(sample).tolist() == row.tolist()
    assert [block.operator for block in architecture.blocks] == list(sample.values())
    for block, original in zip(architecture.blocks, NARROW.skeleton.blocks, strict=True):
        own = (block.in_channels, block.out_channels, block.stride)
        assert own == (original.in_channels, original.out_channels, original.stride)


def test_candidates_keep_the_inverted_residual_or_replace_it() -> None:
    original = DEFAULT.skeleton.blocks[4]
    assert DEFAULT.block(4, "xsep_k5") == replace(original, operator="xsep_k5")
    assert DEFAULT.block(4, "sep_k3") == Block("sep_k3", 40, 40, activation="hardswish", residual=True)
    assert DEFAULT.block(4, "skip") == Block("skip", 40, 40)


@pytest.mark.parametrize("name", set(baselines()) - {"mobilenetv3-small-bsconv-s"})
def test_baselines_are_points_of_the_default_space(name: str) -> None:
    architecture = baseline(name)
    assert DEFAULT.architecture(DEFAULT.sample(architecture)) == architecture


def test_name_of_the_macro_does_not_decide_membership() -> None:
    assert DEFAULT.sample(replace(baseline("mobilenetv3-small"), macro="renamed"))["block00"] == "dw_k3"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": 11}, "architecture: no point of this space, as it differs in more than the operators"),
        ({"orthonormal": True}, "architecture: no point of this space, as it differs in more than the operators"),
        ({"blocks": DEFAULT.skeleton.blocks[:3]}, "architecture: 3 blocks, not 11"),
    ],
)
def test_architectures_outside_the_space_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        DEFAULT.sample(replace(DEFAULT.skeleton, **change))
    assert str(caught.value) == message


def test_wrong_samples_are_refused_by_label() -> None:
    sample = DEFAULT.sample(DEFAULT.skeleton)
    wrong = {**sample, "block03": "skip"}
    missing = {label: name for label, name in sample.items() if label != "block05"}
    for read in (DEFAULT.architecture, DEFAULT.cost_table.indices, DEFAULT.cost_table.cost):
        with pytest.raises(InvalidRequest, match=r"^sample\['block03'\]: 'skip' is none of bsconv_u_k3, "):
            read(wrong)
        with pytest.raises(InvalidRequest, match=r"^sample: label 'block05' is missing$"):
            read(missing)


@pytest.mark.parametrize("space", [DEFAULT, NARROW], ids=["default", "narrow"])
def test_cost_table_gives_the_closed_form_costs(space: SearchSpace) -> None:
    indices = random_indices(space, 60)
    totals = space.cost_table.evaluate(indices)
    architectures = [space.architecture(space.cost_table.sample(row)) for row in indices]
    assert totals["macs"].tolist() == [cost(a).macs for a in architectures]
    assert totals["params"].tolist() == [cost(a).params for a in architectures]
    assert set(space.cost_table.metrics) == {"macs", "params"} == set(totals)


def test_cost_of_one_sample_is_its_row() -> None:
    row = random_indices(NARROW, 1)
    sample = NARROW.cost_table.sample(row[0])
    own = cost(NARROW.architecture(sample))
    assert NARROW.cost_table.cost(sample) == {"macs": own.macs, "params": own.params}


def test_costs_add_up_over_blocks() -> None:
    # exchanging one block costs the same whatever the others are
    one, other = random_indices(NARROW, 2)
    for column in range(len(NARROW.labels)):
        changes = []
        for row in (one, other):
            pair = np.stack([row, row])
            pair[:, column] = (0, 1)
            changes.append(np.diff(NARROW.cost_table.evaluate(pair)["macs"]).item())
        assert changes[0] == changes[1]


TABLE = CostTable(
    candidates={"a": ("x", "y", "z"), "b": ("x", "y"), "c": ("z",), "d": ("u", "v", "w")},
    costs={
        "macs": {"a": np.array([5, 1, 9]), "b": np.array([2, 8]), "c": np.array([4]), "d": np.array([0, 3, 3])},
        "params": {"a": np.array([7, 7, 1]), "b": np.array([6, 2]), "c": np.array([5]), "d": np.array([9, 0, 4])},
    },
    fixed={"macs": 100, "params": 10},
)


def test_reachable_costs_are_those_of_brute_force() -> None:
    totals: dict[str, list[int]] = {"macs": [], "params": []}
    for names in itertools.product(*TABLE.candidates.values()):
        sample = dict(zip("abcd", names, strict=True))
        for metric, values in totals.items():
            parts = [TABLE.costs[metric][label][TABLE.candidates[label].index(name)] for label, name in sample.items()]
            values.append(TABLE.fixed[metric] + int(sum(parts)))
    assert len(totals["macs"]) == TABLE.size == 18
    assert TABLE.reachable() == {metric: (min(values), max(values)) for metric, values in totals.items()}


def test_reachable_costs_of_a_real_space_are_attained() -> None:
    space = SearchSpace.create(width=0.25, image_size=16, operators=("dw_k3", "dw_k7", "sep_k3", "skip"))
    table = space.cost_table
    low, high = table.reachable()["macs"]
    cheapest = [int(table.costs["macs"][label].argmin()) for label in table.labels]
    dearest = [int(table.costs["macs"][label].argmax()) for label in table.labels]
    assert cost(space.architecture(table.sample(np.array(cheapest)))).macs == low
    assert cost(space.architecture(table.sample(np.array(dearest)))).macs == high
    assert low < high


def test_tables_need_a_number_for_every_candidate() -> None:
    with pytest.raises(InvalidRequest) as caught:
        CostTable({"a": ("x", "y")}, {"macs": {"a": np.array([1])}}, {"macs": 0})
    assert str(caught.value) == "costs['macs']['a']: needs one number for each of the 2 candidates"
    with pytest.raises(InvalidRequest, match=r"^costs\['macs'\]\['a'\]: needs one number"):
        CostTable({"a": ("x",)}, {"macs": {}}, {"macs": 0})


def test_equal_requests_give_equal_spaces() -> None:
    assert SearchSpace.create() == DEFAULT
    assert hash(SearchSpace.create()) == hash(DEFAULT)
    assert SearchSpace.create(classes=11) != DEFAULT
