"""Supernet training by sampled paths: uniform ones, fair ones, or the sandwich of extremes and random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import numpy as np
import torch
from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule
from nni.nas.strategy import RandomOneShot as NniRandomOneShot
from torch import Tensor
from torch.nn import functional as F

from search_space.cost_table import CostTable
from strategies.budget.feasible import FeasibleSet
from strategies.one_shot.base import BudgetedOneShot, SearchModule, loss_of
from strategies.one_shot.together import share_of

Sampling = Literal["uniform", "fair", "sandwich"]
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
        costs = table.costs["macs" if "macs" in table.metrics else table.metrics[0]]
        scale = max(1.0, *(float(np.abs(costs[label]).max()) for label in table.labels))
        self.largest = feasible.best({label: costs[label] / scale for label in table.labels})
        self.smallest = feasible.best({label: -costs[label] / scale for label in table.labels})

    def random(self, rng: np.random.RandomState) -> Sample:
        """A random path inside the budget."""
        return self.feasible.random(rng)

    def step(self, rng: np.random.RandomState) -> list[Sample]:
        """The paths of one step, the largest first: it teaches the others."""
        return [self.largest, *(self.feasible.random(rng) for _ in range(self.randoms)), self.smallest]


class _PathModule(SearchModule, RandomSamplingLightningModule):
    """NNI's module, with paths from a seeded, budgeted source instead of a fresh random state for each draw."""

    def __init__(self, training_module: Any, paths: PathSource, rng: np.random.RandomState) -> None:
        super().__init__(training_module)
        self.paths = paths
        self.rng = rng

    def resample(self) -> dict[str, Any]:
        sample = self.paths.random(self.rng)
        self.take(sample)
        return sample

    def training_step(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self.paths, SandwichPaths):
            return self._sandwich_step(self.paths.step(self.rng), batch, *args, **kwargs)
        self.resample()
        return self.training_module.training_step(batch, *args, **kwargs)

    def _sandwich_step(self, samples: list[dict[str, Any]], batch: Any, *args: Any, **kwargs: Any) -> Tensor:
        """In-place distillation (Yu & Huang 2019, section 3.3): the largest path learns from the labels, the others
        from its output in the same step. The loss is the mean over the paths."""
        outputs: list[Tensor] = []
        handle = self.training_module.model.register_forward_hook(
            lambda _module, _inputs, output: outputs.append(output)
        )
        try:
            self.take(samples[0])
            result = self.training_module.training_step(batch, *args, **kwargs)
        finally:
            handle.remove()
        loss = loss_of(result)
        target = outputs[-1].detach().softmax(-1)
        for sample in samples[1:]:
            self.take(sample)
            loss = loss + share_of(batch) * F.cross_entropy(self.training_module(batch[0]), target)
        return loss / len(samples)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = self.rng.get_state(legacy=False)["state"]
        checkpoint["path_rng"] = torch.tensor([*state["key"].tolist(), state["pos"]])
        if isinstance(self.paths, FairPaths):
            checkpoint["path_source"] = self.paths.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        *keys, position = checkpoint["path_rng"].tolist()
        self.rng.set_state(("MT19937", np.array(keys, dtype=np.uint32), position, 0, 0.0))
        if isinstance(self.paths, FairPaths):
            self.paths.load_state_dict(checkpoint["path_source"])


class RandomOneShot(BudgetedOneShot, NniRandomOneShot):
    """Trains a supernet on sampled architectures (single path one-shot, Guo et al. 2020). It searches nothing by
    itself: hand the trained space to `RegularizedEvolution`.

    Args:
        sampling: "uniform": one path per step, uniform inside the budget. "fair": one path per step, every
            candidate as often as the others, whatever the budget (`FairPaths`). "sandwich": the largest, the
            smallest and two random paths inside the budget in each step, the largest teaching the others
            (`SandwichPaths`); the evaluator's module must have batches of ``(inputs, targets)`` and map inputs to
            logits.
        paths: another source of training paths.
        common: what `BudgetedOneShot` takes.
    """

    def __init__(self, *, sampling: Sampling = "uniform", paths: PathSource | None = None, **common: Any) -> None:
        super().__init__(**common)
        self.sampling = sampling
        self.paths = paths
        self.rng = np.random.RandomState(self.seed)

    def configure_oneshot_module(self, training_module: Any) -> _PathModule:
        sources: dict[str, Callable[[], PathSource]] = {
            "uniform": lambda: self.feasible,
            "fair": lambda: FairPaths(self.feasible.table),
            "sandwich": lambda: SandwichPaths(self.feasible),
        }
        return _PathModule(training_module, self.paths or sources[self.sampling](), self.rng)

    def list_models(self, sort: bool = True, limit: int | None = 1) -> Any:
        """A random architecture inside the budget, as NNI's strategy exports one (but inside)."""
        yield self.model_space.freeze(self.feasible.random(self.rng))
