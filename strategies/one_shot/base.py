"""What all one-shot strategies have in common: budget, supernet modules, seeded draws, and how results are exported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import nni.nas.strategy  # noqa: F401 - first: nni.nas.oneshot imports it in a circle, and then it has no strategies
import numpy as np
import torch
from nni.nas.nn.pytorch import LayerChoice
from nni.nas.oneshot.pytorch.base_lightning import BaseOneShotLightningModule
from nni.nas.oneshot.pytorch.strategy import OneShotStrategy
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedLayer
from nni.nas.space import RawFormatModelSpace
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from search_space.sliced import Sliced
from strategies.budget.budgeted import Budgeted
from strategies.one_shot.together import average_gradients
from strategies.options import OneShotOptions
from strategies.registry import registered


@dataclass
class Draws:
    """What all sampling layers of a supernet share: the ``generator`` of every draw (None: torch's global one), and the
    temperature ``tau`` of the relaxation in this epoch."""

    generator: torch.Generator | None = None
    tau: float = 1.0

    def gumbel(self, alpha: Tensor) -> Tensor:
        """Gumbel noise of the shape and on the device of ``alpha``, drawn on the CPU: the same on every device."""
        return torch.empty(alpha.shape).exponential_(generator=self.generator).log().neg().to(alpha.device)


class MixedLayer(DifferentiableMixedLayer):
    """Base of the layers that take the place of a `LayerChoice` in differentiable search.

    Args:
        paths: {name: candidate}.
        alpha: the architecture parameter of the label, (candidates,).
        softmax: maps ``alpha`` to probabilities.
        label: the choice's label.
        draws: what sampling layers share.
    """

    def __init__(self, paths: Any, alpha: Tensor, softmax: nn.Module, label: str, draws: Draws | None = None) -> None:
        super().__init__(paths, alpha, softmax, label)
        self.draws = draws if draws is not None else Draws()

    def weights(self) -> Tensor:
        """The candidates' weights, (candidates,); they sum to 1."""
        weights: Tensor = self._softmax(self._arch_alpha)
        return weights

    @classmethod
    def mutate(cls, module: nn.Module, name: str, memo: dict[str, Any], mutate_kwargs: dict[str, Any]) -> Self | None:
        """NNI's mutation hook: replaces exactly `LayerChoice`."""
        if type(module) is not LayerChoice:
            return None
        label = str(module.label)
        softmax = mutate_kwargs.get("softmax", nn.Softmax(-1))
        return cls(module.candidates, memo[label], softmax, label, mutate_kwargs.get("draws"))


class SearchModule(BaseOneShotLightningModule):
    """Base of the Lightning modules that search: supernet modules are listed once, draws go on after a resume."""

    generator: torch.Generator

    @cached_property
    def _listed(self) -> list[BaseSuperNetModule]:
        return list(super().supernet_modules())

    def supernet_modules(self) -> list[BaseSuperNetModule]:
        """As in NNI, but walked once: a supernet has thousands of modules and this is asked for in every step."""
        return self._listed

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """As in Lightning; gradients of processes that train together are averaged."""
        super().backward(loss, *args, **kwargs)
        average_gradients(kwargs.get("inputs") or self.parameters())

    def take(self, sample: Mapping[str, Any]) -> None:
        """Set every layer to its candidate in ``sample``."""
        for module in self.supernet_modules():
            module.resample(memo=dict(sample))

    @contextmanager
    def logging_to(self, log: Callable[..., None]) -> Iterator[None]:
        """Inside, what the evaluator's module logs goes to ``log``: a batch that decides must not count as training."""
        self.training_module.log = log
        try:
            yield
        finally:
            self.training_module.log = self.log

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["path_generator"] = self.generator.get_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.generator.set_state(checkpoint["path_generator"])


class BudgetedOneShot(Budgeted, OneShotStrategy):
    """Base of the NNI strategies that train a supernet under a `Budget`.

    They take the same evaluators as NNI's, and any `ModelSpace` of categorical labels whose costs are known. A budget
    that nothing meets is refused before anything is trained.

    Beside what `Budgeted` takes, ``mutation_hooks`` are those of NNI.
    """

    def mutate_model(self, model: Any) -> Any:
        self._meet_space(model)
        return super().mutate_model(model)


class OneShotSearch(BudgetedOneShot, ABC):
    """Base of the one-shot strategies of `STRATEGIES`: what they export is the most probable architecture *inside* the
    budget, found exactly.

    Args:
        options: the strategy's options; by default ``values`` and the defaults of the others.
        gradient_clip_val: norm to which the weights' gradient is clipped, which Lightning leaves to the strategy.
        values: single options by name, and what `BudgetedOneShot` takes.
    """

    #: what `STRATEGIES` calls it
    name: str

    def __init__(
        self, options: OneShotOptions | None = None, *, gradient_clip_val: float | None = None, **values: Any
    ) -> None:
        super().__init__(**{own: values.pop(own) for own in self.COMMON if own in values})
        self.options: Any = registered(self.name).options_from(options, values)
        self.gradient_clip_val = gradient_clip_val
        self.generator = torch.Generator().manual_seed(self.seed)

    def train_dataloader(self, train_dataloader_fn: Callable[[], Any], val_dataloader_fn: Callable[[], Any]) -> Any:
        """Both kinds of batches in every step, by name."""
        return {"train": train_dataloader_fn(), "val": val_dataloader_fn()}

    def val_dataloader(self, train_dataloader_fn: Callable[[], Any], val_dataloader_fn: Callable[[], Any]) -> Any:
        """None: the validation batches are part of every step."""

    @abstractmethod
    def log_probabilities(self) -> dict[str, np.ndarray]:
        """{label: log-probability of each candidate, (candidates,)}, on the CPU."""

    def export_sample(self) -> dict[str, Any]:
        """The most probable architecture inside the budget, {label: value}; the same at every call."""
        return self.feasible.best(self.log_probabilities())

    def export_samples(self, k: int, *, apart: int = 1) -> list[dict[str, Any]]:
        """The ``k`` most probable architectures inside the budget, the best first; fewer if there are fewer.

        Each differs from those before it in ``apart`` choices at least.
        """
        return self.feasible.best_k(self.log_probabilities(), k, apart=apart)

    def list_models(self, sort: bool = True, limit: int | None = 1) -> Iterator[RawFormatModelSpace]:
        """NNI's way to ask for results: the ``limit`` most probable architectures inside the budget, the best first;
        NNI's own knows the first only. ValueError without a limit."""
        if limit is None:
            raise ValueError("limit: None would list every architecture inside the budget; give a number")
        for sample in self.export_samples(limit):
            yield self.model_space.freeze(sample)


def relative_gains(share: Tensor, values: Tensor) -> Tensor:
    """``share_i (values_i - sum_j share_j values_j)``: the gradient of an expected value by the logits of ``share``."""
    return share * (values - (share * values).sum())


def loss_of(result: Any) -> Tensor:
    """The loss in what a Lightning ``training_step`` returns."""
    return result["loss"] if isinstance(result, dict) else result


def log_softmax(logits: Tensor) -> np.ndarray:
    """Log-probabilities of ``logits`` (candidates,), float64 on the CPU."""
    return torch.log_softmax(logits.detach().double().cpu(), -1).numpy()


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Inside, the batch norms of ``module`` that are in training mode normalise by the batch but leave their running
    statistics as they are."""
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.track_running_stats]
    norms = [norm for norm in norms if norm.training]
    # narrower candidates decide for the wide layers that they are parts of
    sliced = [part for part in module.modules() if isinstance(part, Sliced) and part.tracks_statistics]
    for norm in norms:
        norm.track_running_stats = False
    for part in sliced:
        part.tracks_statistics = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
        for part in sliced:
            part.tracks_statistics = True
