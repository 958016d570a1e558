"""Every one-shot strategy finds what is planted, and its gradient ranks candidates as their losses do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from helpers.planted import BUDGET, FORMS, Form, Handicap, fidelity, search, value

from strategies.registry import STRATEGIES, make

#: {strategy: why it is known to fail}; what is listed here must say so in its summary too
EXEMPT: dict[str, str] = {}

every_strategy = pytest.mark.parametrize(
    "name", [name for name, strategy in STRATEGIES.items() if strategy.kind == "one-shot" and name not in EXEMPT]
)
every_form = pytest.mark.parametrize("form", FORMS)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@every_strategy
@every_form
def test_the_cleanest_candidates_are_found(name: str, form: Form) -> None:
    found = search(partial(make, name), form, seed=1)
    assert found.levels.count(0) >= 3, found


@every_strategy
def test_candidates_that_see_less_are_told_from_those_that_see_all(name: str) -> None:
    """Without noise the derivative by the scale of an output, as of GDAS in its paper, says nothing here."""
    found = search(partial(make, name), "parallel", "blind", seed=1)
    assert found.levels.count(0) >= 3, found


@every_strategy
@every_form
def test_the_shortlist_inside_a_budget_holds_what_is_about_as_good_as_the_best_there(name: str, form: Form) -> None:
    """Which of the shortlist that is, the supernet says here; in the product their own trainings can."""
    found = search(partial(make, name), form, budget=BUDGET, seed=1)
    # without norms a chain's layers depend on each other so much that beliefs about single layers say less
    assert value(form, found.best_of_shortlist) >= (0.8 if form == "chain" else 0.9), found


@every_strategy
@pytest.mark.parametrize(("form", "handicap"), [("parallel", "blind"), ("chain-bn", "noise")])
def test_the_mean_gradient_ranks_candidates_as_their_losses_do(name: str, form: Form, handicap: Handicap) -> None:
    assert fidelity(partial(make, name), form, handicap, steps=160, paths=16) >= 0.7
