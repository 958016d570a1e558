"""Supernet training by sampled paths, all of them inside the budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import torch
from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from nni.nas.strategy import RandomOneShot as NniRandomOneShot
from torch import Tensor
from torch.nn import functional as F

from search_space.cost_table import CostTable
from strategies.budget.budget import Budget
from strategies.budget.budgeted import Budgeted
from strategies.one_shot.paths import FairPaths, PathSource, SandwichPaths

Sampling = Literal["uniform", "fair", "sandwich"]


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

    def resample(self) -> dict[str, Any]:
        sample = self.paths.random(self.rng)
        self._take(sample)
        return sample

    def _take(self, sample: dict[str, Any]) -> None:
        for module in self.supernet_modules():
            module.resample(memo=dict(sample))

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
            self._take(samples[0])
            result = self.training_module.training_step(batch, *args, **kwargs)
        finally:
            handle.remove()
        loss = result["loss"] if isinstance(result, dict) else result
        target = outputs[-1].detach().softmax(-1)
        for sample in samples[1:]:
            self._take(sample)
            loss = loss + F.cross_entropy(self.training_module(batch[0]), target)
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


class RandomOneShot(Budgeted, NniRandomOneShot):
    """Trains a supernet on sampled architectures (single path one-shot, Guo et al. 2020).

    A subclass of ``nni.nas.strategy.RandomOneShot``, which ignores seeds, rejects at most 100 times where there is a
    filter, and exports samples that the filter refuses. It searches nothing by itself: hand the trained space to
    `RegularizedEvolution`.

    Parameters
    ----------
    budget, costs
        What the architectures may cost, and the cost of every candidate.
    sampling
        "uniform": one path a step, uniform inside the budget. "fair": one path a step, every candidate as often as
        the others, whatever the budget (`FairPaths`). "sandwich": the largest, the smallest and two random paths inside
        the budget in each step, the largest teaching the others (`SandwichPaths`); the evaluator's module must have
        batches of ``(inputs, targets)`` and map inputs to logits.
    paths
        Another source of training paths.
    seed
        Of the sampled paths.
    """

    def __init__(
        self,
        *,
        budget: Budget | None = None,
        costs: CostTable | None = None,
        sampling: Sampling = "uniform",
        paths: PathSource | None = None,
        mutation_hooks: list[Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(mutation_hooks=mutation_hooks)
        self._set_budget(budget, costs)
        self.sampling = sampling
        self.paths = paths
        self.rng = np.random.RandomState(seed)

    def mutate_model(self, model: Any) -> Any:
        self._meet_space(model)
        return super().mutate_model(model)

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
