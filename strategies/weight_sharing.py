"""Supernet training by sampled paths, all of them inside the budget (SPOS, Guo et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import torch
from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from nni.nas.strategy import RandomOneShot as NniRandomOneShot

from search_space.cost_table import CostTable
from strategies.budget import Budget
from strategies.budgeted import Budgeted


class PathSource(Protocol):
    """Where the paths of supernet training come from; a `FeasibleSet` is one."""

    def random(self, rng: np.random.RandomState) -> dict[str, str]:
        """The next sample, {label: candidate}."""
        ...


class _PathModule(RandomSamplingLightningModule):
    """NNI's module, with paths from a seeded, budgeted source instead of a fresh random state a draw."""

    def __init__(self, training_module: Any, paths: PathSource, rng: np.random.RandomState) -> None:
        super().__init__(training_module)
        self.paths = paths
        self.rng = rng
        self._supernet_modules: list[BaseSuperNetModule] | None = None

    def supernet_modules(self) -> Iterable[BaseSuperNetModule]:
        if self._supernet_modules is None:  # walking thousands of modules in every step would show
            self._supernet_modules = list(super().supernet_modules())
        return self._supernet_modules

    def resample(self) -> dict[str, str]:
        sample = self.paths.random(self.rng)
        for module in self.supernet_modules():
            module.resample(memo=dict(sample))
        return sample

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        self.resample()
        return self.training_module.training_step(*args, **kwargs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = self.rng.get_state(legacy=False)["state"]
        checkpoint["path_rng"] = torch.tensor([*state["key"].tolist(), state["pos"]])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        *keys, position = checkpoint["path_rng"].tolist()
        self.rng.set_state(("MT19937", np.array(keys, dtype=np.uint32), position, 0, 0.0))


class RandomOneShot(Budgeted, NniRandomOneShot):
    """Trains a supernet on random architectures inside the budget, one a step.

    A subclass of ``nni.nas.strategy.RandomOneShot`` that honours ``seed`` and, through ``budget``, never trains (or
    exports) a path outside. It searches nothing by itself: hand the trained space to `RegularizedEvolution`.
    ``paths`` replaces the source of training paths, which otherwise are random ones inside the budget.
    """

    def __init__(
        self,
        *,
        budget: Budget | None = None,
        costs: CostTable | None = None,
        paths: PathSource | None = None,
        mutation_hooks: list[Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(mutation_hooks=mutation_hooks)
        self._set_budget(budget, costs)
        self.paths = paths
        self.rng = np.random.RandomState(seed)

    def mutate_model(self, model: Any) -> Any:
        self._meet_space(model)
        return super().mutate_model(model)

    def configure_oneshot_module(self, training_module: Any) -> _PathModule:
        return _PathModule(training_module, self.paths or self.feasible, self.rng)

    def list_models(self, sort: bool = True, limit: int | None = 1) -> Any:
        """A random architecture inside the budget, as NNI's strategy exports one (but inside)."""
        yield self.model_space.freeze(self.feasible.random(self.rng))
