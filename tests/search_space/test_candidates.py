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
    macro,
    operators,
    preset,
)
from search_space.options import StageCandidates

DEFAULT = SearchSpace.create()
NARROW = SearchSpace.create(image_size=17, in_channels=1, classes=3, width=0.25)


def random_indices(space: SearchSpace, number: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.int64]]:
    generator = np.random.default_rng(seed)
    return np.stack([generator.integers(len(names), size=number) for names in space.candidates], axis=1)


def spatial_names(space: SearchSpace, index: int, operator: str) -> list[str]:
    """Names of the candidates of one operator at one block."""
    return [name for name in space.candidates[index] if name.split("-")[0] == operator]


def test_default_candidates_are_those_of_the_papers() -> None:
    assert {name.split("-")[0] for names in DEFAULT.candidates for name in names} == set(preset("paper"))
    assert SearchSpace.create(operators="paper", widths=(0.5, 0.75, 1.0, 1.25)) == DEFAULT


def test_presets_are_what_their_names_say() -> None:
    assert preset("kernels") == ("dw_k3", "dw_k5", "dw_k7")
    assert set(preset("full")) == {*operators, "skip"}
    assert set(preset("paper")) < set(preset("full"))
    with pytest.raises(InvalidRequest) as caught:
        preset("all")
    assert str(caught.value) == (
        "space.operators: 'all' is not a preset; give a list of names or a preset; known are paper, kernels, full"
    )


def test_operators_are_candidates_wherever_they_fit() -> None:
    space = SearchSpace.create(operators="full", widths=(1.0,))
    for (block, _), names in zip(space.skeleton.sized_blocks(), space.candidates, strict=True):
        assert ("skip" in names) == (block.stride == 1 and block.in_channels == block.out_channels)
        for width in (2, 4, 8, 16):
            assert (f"group_k3_w{width}" in names) == (block.expanded_channels % width == 0)
        assert {"dw_k3", "xsep_k7", "mix_k357", "sep_k5", "bsconv_s_k3", "c2", "c4sp_conv", "resnext_k3"} <= set(names)


def test_width_16_groups_fit_only_some_widths() -> None:
    space = SearchSpace.create(operators=("group_k3_w16", "dw_k3"))
    found = {i: spatial_names(space, i, "group_k3_w16") for i in (0, 1, 2)}
    # of 8, 16 and 24, of 40, 56, 72 and 88, of 48, 64, 88 and 112 expanded channels those that 16 divides
    assert found == {0: ["group_k3_w16"], 1: [], 2: ["group_k3_w16-e48", "group_k3_w16-e64", "group_k3_w16-e112"]}


def test_widths_are_multiples_of_the_hand_designed_ones_rounded_to_8() -> None:
    space = SearchSpace.create(operators=("dw_k5",))
    assert space.candidates[4] == ("dw_k5-e120", "dw_k5-e184", "dw_k5", "dw_k5-e304")  # of 240
    assert [b.se_channels for b in space.choices[4]] == [32, 48, 64, 80]  # its quarter goes with it
    # 12 and 16 both round to 16: one candidate
    assert space.candidates[0] == ("dw_k5-e8", "dw_k5", "dw_k5-e24")
    assert [b.has_expand for b in space.choices[0]] == [True, False, True]
    assert SearchSpace.create(operators=("dw_k5",), widths=(1.0,)).candidates == (("dw_k5",),) * 11


def test_squeeze_and_excitation_is_a_choice_on_request() -> None:
    space = SearchSpace.create(operators=("dw_k3", "sep_k3"), widths=(1.0, 0.5), search_se=True)
    assert space.candidates[4] == ("dw_k3", "dw_k3-nose", "dw_k3-e120", "dw_k3-e120-nose", "sep_k3")
    assert space.candidates[1] == ("dw_k3", "dw_k3-se", "dw_k3-e40", "dw_k3-e40-se", "sep_k3")
    assert [b.se_channels for b in space.choices[1]] == [0, 24, 0, 16, 0]  # a quarter of 72 and of 40, rounded
    assert [b.se_channels for b in space.choices[4]] == [64, 0, 32, 0, 0]


def test_stages_are_those_of_the_macro() -> None:
    assert DEFAULT.stage_numbers == NARROW.stage_numbers == (0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4)
    mobilenetv2 = SearchSpace.create(macro="mobilenetv2", width=0.35)
    assert mobilenetv2.stage_numbers == (0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6)


def test_stages_can_have_candidates_of_their_own() -> None:
    own = {2: StageCandidates(operators=["xsep_k5", "skip"]), 4: StageCandidates(widths=[0.5], search_se=True)}
    space = SearchSpace.create(operators=("dw_k3", "sep_k3"), widths=(1.0, 0.75), stages=own)
    assert space.candidates[2] == ("dw_k3", "dw_k3-e64", "sep_k3")
    assert space.candidates[3] == ("xsep_k5", "xsep_k5-e72")
    assert space.candidates[4] == ("xsep_k5", "xsep_k5-e184", "skip")
    assert space.candidates[10] == ("dw_k3-e288", "dw_k3-e288-nose", "sep_k3")


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({5: StageCandidates()}, "space.stages: there is no stage 5; mobilenetv3-small has the stages 0 to 4"),
        ({1: StageCandidates(operators=["conv"])}, "space.stages[1].operators: 'conv' is unknown; known are "),
        ({1: StageCandidates(widths=[])}, "space.stages[1].widths: [] must be one or more different multipliers"),
        (
            {0: StageCandidates(operators=["dw_k3", "group_k3_w16"], widths=[0.5])},
            "space.stages[0].operators: group_k3_w16 fits no block of mobilenetv3-small at width 1.0; leave it out",
        ),
        ({1: StageCandidates(operators=["skip"])}, "choices[1]: empty; no operator asked for fits this block"),
    ],
)
def test_impossible_stages_are_refused(stages: dict[int, StageCandidates], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        SearchSpace.create(operators=("dw_k3", "skip"), stages=stages)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("widths", [(), (0.0,), (1.0, 1.0), (17.0,), (float("nan"),)])
def test_impossible_widths_are_refused(widths: tuple[float, ...]) -> None:
    with pytest.raises(InvalidRequest, match=r"^space\.widths(\[0\])?: .* must "):
        SearchSpace.create(widths=widths)


def test_candidates_stand_in_the_order_asked_for() -> None:
    space = SearchSpace.create(operators=("skip", "sep_k3", "dw_k3"), widths=(1.0,))
    assert set(space.candidates) == {("skip", "sep_k3", "dw_k3"), ("sep_k3", "dw_k3")}


def test_labels_number_the_blocks() -> None:
    assert DEFAULT.labels == tuple(f"block{i:02d}" for i in range(11))


def test_size_is_the_product_of_the_choices() -> None:
    space = SearchSpace.create(operators=("dw_k3", "dw_k5", "skip"), widths=(1.0,))
    choices = [3 if "skip" in names else 2 for names in space.candidates]
    assert space.size == space.cost_table.size == np.prod(choices)
    assert DEFAULT.size > 10**17


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "space.operators: () is empty; name at least one"),
        (("dw_k3", "dw_k3"), "space.operators: ('dw_k3', 'dw_k3') names an operator twice; leave one out"),
        (("dw_k3", "conv"), "space.operators: 'conv' is unknown; known are "),
        (("skip",), "choices[1]: empty; no operator asked for fits this block"),  # 16 -> 24 channels at stride 2
    ],
)
def test_impossible_candidates_are_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        SearchSpace.create(operators=names)
    assert str(caught.value).startswith(message)


def test_operators_that_fit_nowhere_are_refused() -> None:
    # at this width every layer has 8 channels
    with pytest.raises(InvalidRequest) as caught:
        SearchSpace.create(width=0.01, operators=("dw_k3", "group_k3_w16"), widths=(1.0,))
    assert (
        str(caught.value)
        == "space.operators: group_k3_w16 fits no block of mobilenetv3-small at width 0.01; leave it out"
    )


def test_choices_must_match_the_blocks() -> None:
    skeleton = macro("mobilenetv3-small")
    own = tuple((block,) for block in skeleton.blocks)
    with pytest.raises(InvalidRequest, match=r"^choices: 1 lists for the 11 blocks of mobilenetv3-small$"):
        SearchSpace(skeleton, own[:1])
    with pytest.raises(InvalidRequest, match=r"^choices\[3\]: empty; no operator asked for fits this block$"):
        SearchSpace(skeleton, (*own[:3], (), *own[4:]))
    with pytest.raises(InvalidRequest, match=r"^choices\[0\]: a block is given twice in dw_k3, dw_k3$"):
        SearchSpace(skeleton, (own[0] * 2, *own[1:]))
    with pytest.raises(InvalidRequest, match=r"^choices\[0\]: dw_k3 maps \(16, 24, 2\), the skeleton \(16, 16, 1\)"):
        SearchSpace(skeleton, (own[1], *own[1:]))
    with pytest.raises(InvalidRequest, match=r"^choices\[0\]\.operator: 'conv' is unknown"):
        SearchSpace(skeleton, ((replace(skeleton.blocks[0], operator="conv"),), *own[1:]))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_samples_and_architectures_are_the_same_points(seed: int) -> None:
    row = random_indices(NARROW, 1, seed)[0]
    sample = NARROW.cost_table.sample(row)
    architecture = NARROW.architecture(sample)
    assert NARROW.sample(architecture) == sample
    assert NARROW.cost_table.indices(sample).tolist() == row.tolist()
    assert [block.operator for block in architecture.blocks] == [name.split("-")[0] for name in sample.values()]
    for block, original in zip(architecture.blocks, NARROW.skeleton.blocks, strict=True):
        own = (block.in_channels, block.out_channels, block.stride)
        assert own == (original.in_channels, original.out_channels, original.stride)


def test_candidates_keep_the_inverted_residual_or_replace_it() -> None:
    original = DEFAULT.skeleton.blocks[4]
    assert DEFAULT.block(4, "xsep_k5") == replace(original, operator="xsep_k5")
    assert DEFAULT.block(4, "xsep_k5-e120") == replace(
        original, operator="xsep_k5", expanded_channels=120, se_channels=32
    )
    assert DEFAULT.block(4, "sep_k3") == Block("sep_k3", 40, 40, activation="hardswish", residual=True)
    assert DEFAULT.block(4, "skip") == Block("skip", 40, 40)


@pytest.mark.parametrize("width", [0.5, 1.0])
@pytest.mark.parametrize("name", sorted(baselines()))
def test_baselines_are_points_of_the_full_space_of_their_macro(name: str, width: float) -> None:
    architecture = baseline(name, width=width)
    space = SearchSpace.create(macro=architecture.macro, operators="full", width=width)
    # the orthonormal loss of BSConv-S is a matter of training, not of structure
    assert space.architecture(space.sample(replace(architecture, orthonormal=False))) == replace(
        architecture, orthonormal=False
    )


def test_name_of_the_macro_does_not_decide_membership() -> None:
    assert DEFAULT.sample(replace(baseline("mobilenetv3-small"), macro="renamed"))["block00"] == "dw_k3"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": 11}, "architecture: not in this space, as it differs in more than the blocks"),
        ({"orthonormal": True}, "architecture: not in this space, as it differs in more than the blocks"),
        (
            {"blocks": (replace(DEFAULT.skeleton.blocks[0], expanded_channels=32), *DEFAULT.skeleton.blocks[1:])},
            "architecture: not in this space, as its block 0 (dw_k3-e32) is not one of dw_k3-e8, dw_k3, ",
        ),
        ({"blocks": DEFAULT.skeleton.blocks[:3]}, "architecture: 3 blocks, not 11"),
    ],
)
def test_architectures_outside_the_space_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        DEFAULT.sample(replace(DEFAULT.skeleton, **change))
    assert str(caught.value).startswith(message)


def test_wrong_samples_are_refused_by_label() -> None:
    sample = DEFAULT.sample(DEFAULT.skeleton)
    wrong = {**sample, "block03": "skip"}
    missing = {label: name for label, name in sample.items() if label != "block05"}
    for read in (DEFAULT.architecture, DEFAULT.cost_table.indices, DEFAULT.cost_table.cost):
        with pytest.raises(InvalidRequest, match=r"^sample\['block03'\]: 'skip' is not one of dw_k3-e48, "):
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
