"""Latency tables: the parts of a space, what their times add up to, and what a correction does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from evaluators.latency.table import (
    EMPTY,
    HEAD,
    STEM,
    Agreement,
    LatencyTable,
    candidate_parts,
    fit_table,
    latency_table,
    space_parts,
)
from evaluators.latency.timing import network_part
from search_space.base.errors import InvalidRequest
from search_space.candidates import SearchSpace

SPACE = SearchSpace.create(
    image_size=16, in_channels=1, width=0.25, operators=["dw_k3", "xsep_k3", "sep_k3", "skip"], widths=[1.0]
)


# --- parts ---


def test_the_parts_of_a_network_have_its_parameters_and_its_shapes() -> None:
    """Stem, blocks and head of any architecture, made alone, are what the network is made of."""
    parts, candidates = space_parts(SPACE), candidate_parts(SPACE)
    for sample in random_samples(5):
        blocks = [candidates[label][name] for label, name in sample.items()]
        chain = [part for part in (parts[STEM], *blocks, parts[HEAD]) if part is not None]
        x = torch.randn(2, *chain[0].shape)
        params = 0
        for part in chain:
            assert x.shape[1:] == part.shape
            module = part.make()
            params += sum(p.numel() for p in module.parameters())
            x = module(x)
        assert x.shape == (2, SPACE.skeleton.classes)
        own = network_part(SPACE.architecture(sample))
        assert params == sum(p.numel() for p in own.make().parameters())


def test_equal_blocks_on_maps_of_equal_size_are_one_part() -> None:
    keys = {
        label: {name: part and part.key for name, part in own.items()} for label, own in candidate_parts(SPACE).items()
    }
    named = [key for own in keys.values() for key in own.values() if key is not None]
    assert len(space_parts(SPACE)) == len(set(named)) + 3 < len(named)
    for index, (_, size) in enumerate(SPACE.skeleton.sized_blocks()):
        for other, (_, its_size) in enumerate(SPACE.skeleton.sized_blocks()):
            for name, block in zip(SPACE.candidates[index], SPACE.choices[index], strict=True):
                for its_name, its_block in zip(SPACE.candidates[other], SPACE.choices[other], strict=True):
                    if block.is_skip or its_block.is_skip:
                        continue
                    same = keys[SPACE.labels[index]][name] == keys[SPACE.labels[other]][its_name]
                    assert same == (block == its_block and size == its_size)


def test_keys_and_weights_are_the_same_every_time() -> None:
    one, two = space_parts(SPACE), space_parts(SPACE)
    assert list(one) == list(two)
    torch.manual_seed(0)
    first = [p.clone() for part in one.values() for p in part.make().parameters()]
    torch.manual_seed(1)
    second = [p for part in two.values() for p in part.make().parameters()]
    assert all(map(torch.equal, first, second))


def test_making_parts_leaves_the_random_state() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    for part in space_parts(SPACE).values():
        part.make()
    assert torch.equal(torch.random.get_rng_state(), before)


# --- the table ---


def exact_table() -> LatencyTable:
    """From times of parts that are their parameters and, in each, the time of a call."""
    milliseconds = {
        key: 0.25 + (0 if key == EMPTY else sum(p.numel() for p in part.make().parameters()) / 1000)
        for key, part in space_parts(SPACE).items()
    }
    return latency_table(SPACE, milliseconds)


def random_samples(count: int) -> list[dict[str, str]]:
    rng = np.random.default_rng(1)
    return [
        {label: str(rng.choice(names)) for label, names in zip(SPACE.labels, SPACE.candidates, strict=True)}
        for _ in range(count)
    ]


def whole(sample: dict[str, str]) -> float:
    network = network_part(SPACE.architecture(sample)).make()
    return sum(p.numel() for p in network.parameters()) / 1000


def test_times_that_add_up_are_predicted_exactly() -> None:
    """The overhead of a call is in every part, and in a network once."""
    samples = random_samples(6)
    measured = np.array([0.25 + whole(sample) for sample in samples])
    fitted = fit_table(exact_table(), samples, measured)
    assert fitted.correction == "none"
    assert fitted.table.predict(samples) == pytest.approx(measured)
    assert fitted.agreement.mape == pytest.approx(0, abs=1e-9)
    assert (fitted.agreement.kendall, fitted.agreement.spearman) == pytest.approx((1, 1))


def test_the_table_is_one_that_a_budget_takes() -> None:
    table = exact_table()
    own = SPACE.cost_table.with_cost("latency_ms", table.costs, table.fixed)
    samples = random_samples(4)
    assert [own.cost(sample)["latency_ms"] for sample in samples] == pytest.approx(table.predict(samples).tolist())
    for label, names in zip(SPACE.labels, SPACE.candidates, strict=True):
        if "skip" in names:
            assert table.costs[label]["skip"] == 0


def test_no_time_is_negative() -> None:
    table = latency_table(SPACE, {key: 0.5 if key == EMPTY else 0.1 for key in space_parts(SPACE)})
    assert table.fixed == 0
    assert {value for own in table.costs.values() for value in own.values()} == {0.0}


def blocks(sample: dict[str, str]) -> int:
    return sum(name != "skip" for name in sample.values())


@pytest.mark.parametrize(
    ("correction", "change", "amount"),
    [
        ("fixed", lambda ms, sample: ms + 0.7, 0.7),
        ("fixed", lambda ms, sample: ms - 0.2, -0.2),
        ("block", lambda ms, sample: ms + 0.2 * blocks(sample), 0.2),
        ("scale", lambda ms, sample: ms * 1.3, 1.3),
    ],
)
def test_a_systematic_error_is_corrected_and_named(correction: str, change: Any, amount: float) -> None:
    samples = random_samples(8)
    measured = np.array([change(0.25 + whole(sample), sample) for sample in samples])
    fitted = fit_table(exact_table(), samples, measured)
    assert fitted.correction == correction
    assert fitted.amount == pytest.approx(amount)
    assert fitted.agreement.mape < 1e-9
    assert fitted.tried["none"].mape > 1e-3
    unseen = random_samples(20)[8:]
    wanted = [change(0.25 + whole(sample), sample) for sample in unseen]
    assert fitted.table.predict(unseen) == pytest.approx(np.array(wanted))
    assert all(own.get("skip", 0.0) == 0 for own in fitted.table.costs.values())


def test_the_stated_error_is_of_networks_the_correction_has_not_seen() -> None:
    """One number fitted to noise looks better than it is; left out, each network is predicted worse."""
    table = LatencyTable(1.0, {"a": {"x": 1.0, "y": 2.0, "z": 3.0}, "b": {"x": 0.5, "y": 0.6}})
    samples = [{"a": a, "b": b} for a in "xyz" for b in "xy"]
    rng = np.random.default_rng(0)
    measured = table.predict(samples) * 2 * rng.uniform(0.8, 1.25, 6)
    fitted = fit_table(table, samples, measured)
    assert fitted.correction != "none"
    seen = Agreement.of(fitted.table.predict(samples), measured)
    assert fitted.agreement.mape > seen.mape
    assert fitted.agreement == Agreement.of(fitted.predicted, measured)


def test_few_networks_correct_nothing() -> None:
    table = LatencyTable(1.0, {"a": {"x": 1.0, "y": 2.0}})
    fitted = fit_table(table, [{"a": "x"}, {"a": "y"}], np.array([4.0, 6.0]))
    assert (fitted.correction, fitted.table) == ("none", table)
    assert set(fitted.tried) == {"none"}
    assert fitted.agreement.bias == pytest.approx(-0.5)


def test_agreement_counted_by_hand() -> None:
    agreement = Agreement.of(np.array([1.1, 1.8, 4.0, 3.0]), np.array([1.0, 2.0, 3.2, 4.0]))
    assert agreement.networks == 4
    assert agreement.mape == pytest.approx((0.1 + 0.1 + 0.25 + 0.25) / 4)
    assert agreement.bias == pytest.approx((0.1 - 0.1 + 0.25 - 0.25) / 4)
    assert agreement.kendall == pytest.approx((5 - 1) / 6)  # of 6 pairs one is in the wrong order
    assert agreement.spearman == pytest.approx(1 - 6 * 2 / (4 * 15))


def test_ranks_of_one_network_are_unknown() -> None:
    agreement = Agreement.of(np.array([2.0]), np.array([1.0]))
    assert agreement.mape == agreement.bias == 1
    assert agreement.kendall is agreement.spearman is None
    with pytest.raises(InvalidRequest, match=r"^networks: none; measure at least one$"):
        Agreement.of(np.array([]), np.array([]))
