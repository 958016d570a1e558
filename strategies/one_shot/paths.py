"""Which paths of a supernet are trained: uniform ones, fair ones, or the sandwich of extremes and random ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from search_space.cost_table import CostTable
from strategies.budget.feasible import FeasibleSet

Sample = dict[str, Any]


class PathSource(Protocol):
    """Where the paths of supernet training come from; a `FeasibleSet` is one: uniform inside its budget."""

    def random(self, rng: np.random.RandomState) -> Sample:
        """The next sample, {label: candidate}."""
        ...


class FairPaths:
    """Strictly fair sampling (FairNAS, Chu et al. 2021, section 3.2): of every label each candidate is drawn once
    before any is drawn again, whatever it costs. Unlike in the paper, weights move after every path and not once a
    round, which would take more than forty passes per step."""

    def __init__(self, table: CostTable) -> None:
        self.table = table
        self._decks: dict[str, list[int]] = {label: [] for label in table.labels}

    def random(self, rng: np.random.RandomState) -> Sample:
        """The next sample."""
        sample = {}
        for label, values in self.table.candidates.items():
            deck = self._decks[label]
            if not deck:
                deck.extend(rng.permutation(len(values)).tolist())
            sample[label] = values[deck.pop()]
        return sample

    def state_dict(self) -> dict[str, list[int]]:
        """What is left of every label's round."""
        return {label: list(deck) for label, deck in self._decks.items()}

    def load_state_dict(self, state: Mapping[str, list[int]]) -> None:
        """Go on where `state_dict` was taken."""
        self._decks = {label: list(state[label]) for label in self._decks}


class SandwichPaths:
    """The sandwich rule (universally slimmable networks, Yu & Huang 2019; BigNAS, Yu et al. 2020): the largest, the
    smallest (in MACs, or the table's first cost) and ``randoms`` random paths in every step, all inside the budget."""

    def __init__(self, feasible: FeasibleSet, randoms: int = 2) -> None:
        self.feasible = feasible
        self.randoms = randoms
        table = feasible.table
        metric = "macs" if "macs" in table.metrics else table.metrics[0]
        costs = {label: np.asarray(table.costs[metric][label], dtype=np.float64) for label in table.labels}
        scale = max(1.0, *(float(np.abs(values).max()) for values in costs.values()))
        self.largest = feasible.best({label: values / scale for label, values in costs.items()})
        self.smallest = feasible.best({label: -values / scale for label, values in costs.items()})

    def random(self, rng: np.random.RandomState) -> Sample:
        """A random path inside the budget."""
        return self.feasible.random(rng)

    def step(self, rng: np.random.RandomState) -> list[Sample]:
        """The paths of one step, the largest first: it teaches the others."""
        return [self.largest, *(self.feasible.random(rng) for _ in range(self.randoms)), self.smallest]
