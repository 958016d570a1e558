"""Differentiable search under a budget: NNI's DARTS with a penalty that works and an export that fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from nni.nas.oneshot.pytorch.differentiable import DartsLightningModule, LinearTemperatureScheduler
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from nni.nas.space import RawFormatModelSpace
from nni.nas.strategy import DARTS as NniDARTS
from torch import Tensor, nn

from search_space.cost_table import CostTable
from strategies.budget.budget import Budget
from strategies.budget.budgeted import Budgeted
from strategies.one_shot.lagrangian import BudgetPenalty
from strategies.one_shot.shared_mixture import SharedMixture
from strategies.one_shot.single_path import SinglePathLayer


class BudgetedDartsModule(DartsLightningModule):
    """The search as a Lightning module: an architecture step on a validation batch, a weight step on a training one.

    Differs from NNI's in that the budget penalty has a gradient, the architecture step computes no weight gradients,
    and parameters come in an order that does not change between processes (NNI's does, which swaps the moments of the
    architecture optimizer when a run resumes).
    """

    def __init__(
        self,
        training_module: Any,
        *,
        alphas: dict[str, nn.Parameter],
        penalty: BudgetPenalty,
        betas: tuple[float, float],
        weight_decay: float,
        temperature: LinearTemperatureScheduler,
        generator: torch.Generator,
        **darts: Any,
    ) -> None:
        super().__init__(training_module, **darts)
        self.alphas = alphas
        self.budget_penalty = penalty
        self.betas = betas
        self.arch_weight_decay = weight_decay
        self.temperature = temperature
        self.generator = generator
        self._supernet_modules: list[BaseSuperNetModule] | None = None

    def supernet_modules(self) -> Iterable[BaseSuperNetModule]:
        """As in NNI, walked once: a supernet has thousands of modules and this is asked for in every step."""
        if self._supernet_modules is None:
            self._supernet_modules = list(super().supernet_modules())
            for module in self._supernet_modules:
                if isinstance(module, SinglePathLayer):
                    module.generator = self.generator
        return self._supernet_modules

    def arch_parameters(self) -> list[nn.Parameter]:
        return list(self.alphas.values())

    def configure_architecture_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            self.arch_parameters(), self.arc_learning_rate, betas=self.betas, weight_decay=self.arch_weight_decay
        )

    def on_train_epoch_start(self) -> None:
        tau = self.temperature.step(self.trainer.current_epoch, self.trainer.max_epochs)
        for module in self.supernet_modules():
            if isinstance(module, SinglePathLayer):
                module.tau = tau
        super().on_train_epoch_start()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.trainer.current_epoch >= self.warmup_epochs:
            self._architecture_step(batch["val"], batch_idx)
        with torch.no_grad():  # a weight step: paths are drawn, their probabilities get no gradient
            self.resample()
        result = self.training_module.training_step(batch["train"], 2 * batch_idx + 1)
        self.advance_optimization(_loss(result), batch_idx, self.gradient_clip_val)
        self.advance_lr_schedulers(batch_idx)
        return result

    def _architecture_step(self, batch: Any, batch_idx: int) -> None:
        optimizer = self.architecture_optimizers()
        self.resample()
        # the task module logs "train_loss": an architecture batch must not mix into it
        self.training_module.log = self._log_nothing
        try:
            loss = _loss(self.training_module.training_step(batch, 2 * batch_idx))
        finally:
            self.training_module.log = self.log
        optimizer.zero_grad()
        self.manual_backward(loss, inputs=self.arch_parameters())
        self.budget_penalty.add_gradients(self.alphas)
        optimizer.step()
        self.budget_penalty.update(self.alphas)
        self._log_architecture(batch_idx)

    @torch.no_grad()
    def _log_architecture(self, batch_idx: int) -> None:
        if batch_idx % self.log_prob_every_n_step:
            return
        probabilities = [torch.softmax(alpha, -1) for alpha in self.alphas.values()]
        entropy = torch.stack([-(p * p.clamp_min(1e-12).log()).sum() for p in probabilities]).mean()
        self.log("architecture_entropy", entropy)
        for metric, expected in self.budget_penalty.expected(self.alphas).items():
            self.log(f"expected_{metric}", expected)

    def _log_nothing(self, *args: Any, **kwargs: Any) -> None:
        pass

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["path_generator"] = self.generator.get_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.generator.set_state(checkpoint["path_generator"])


def _loss(result: Any) -> Tensor:
    return result["loss"] if isinstance(result, dict) else result


class DARTS(Budgeted, NniDARTS):
    """First-order DARTS over the full mixture of candidates, under a `Budget`.

    A subclass of ``nni.nas.strategy.DARTS``: it takes the same evaluators, and any `ModelSpace` of categorical labels
    whose costs are known (its own ``cost_table`` or ``costs``). A budget that no architecture meets is refused before
    anything is trained. What it exports is the most probable architecture *inside* the budget, found exactly.

    Parameters
    ----------
    budget, costs
        What the architecture may cost, and the cost of every candidate.
    arc_learning_rate, arc_betas, arc_weight_decay
        Adam on the architecture parameters.
    temperature
        (first, last) temperature of the Gumbel relaxation, linear in the epochs; only single-path search uses it.
    multiplier_rate
        How fast the budget's multipliers follow a violation, per architecture step.
    seed
        Seeds the architecture parameters and the sampled paths.
    gradient_clip_val, log_prob_every_n_step, warmup_epochs, mutation_hooks
        As in NNI.
    """

    def __init__(
        self,
        *,
        budget: Budget | None = None,
        costs: CostTable | None = None,
        arc_learning_rate: float = 0.05,
        arc_betas: tuple[float, float] = (0.5, 0.999),
        arc_weight_decay: float = 1e-3,
        temperature: tuple[float, float] = (2.0, 0.2),
        multiplier_rate: float = 0.2,
        gradient_clip_val: float | None = None,
        log_prob_every_n_step: int = 10,
        warmup_epochs: int = 0,
        mutation_hooks: list[Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            arc_learning_rate=arc_learning_rate,
            gradient_clip_val=gradient_clip_val,
            log_prob_every_n_step=log_prob_every_n_step,
            warmup_epochs=warmup_epochs,
            mutation_hooks=mutation_hooks,
        )
        self._set_budget(budget, costs)
        self.arc_betas = arc_betas
        self.arc_weight_decay = arc_weight_decay
        self.temperature = LinearTemperatureScheduler(*map(float, temperature))
        self.multiplier_rate = multiplier_rate
        self.seed = seed

    def default_mutation_hooks(self) -> list[Any]:
        return [SharedMixture.mutate, *super().default_mutation_hooks()]

    def mutate_model(self, model: Any) -> Any:
        self._meet_space(model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return super().mutate_model(model)

    def configure_oneshot_module(self, training_module: Any) -> BudgetedDartsModule:
        return BudgetedDartsModule(
            training_module,
            alphas=self._arch_parameters,
            penalty=BudgetPenalty(self.feasible.table, self.budget, rate=self.multiplier_rate),
            betas=self.arc_betas,
            weight_decay=self.arc_weight_decay,
            temperature=self.temperature,
            generator=torch.Generator().manual_seed(self.seed),
            arc_learning_rate=self.arc_learning_rate,
            gradient_clip_val=self.gradient_clip_val,
            log_prob_every_n_step=self.log_prob_every_n_step,
            warmup_epochs=self.warmup_epochs,
        )

    def log_probabilities(self) -> dict[str, np.ndarray]:
        """{label: log-probability of each candidate}, on the CPU."""
        return {
            label: torch.log_softmax(alpha.detach().double().cpu(), -1).numpy()
            for label, alpha in self._arch_parameters.items()
        }

    def export_sample(self) -> dict[str, str]:
        """The most probable architecture inside the budget, as an NNI sample."""
        return self.feasible.best(self.log_probabilities())

    def export_samples(self, k: int) -> list[dict[str, str]]:
        """The ``k`` most probable architectures inside the budget, the best first; fewer if there are fewer."""
        return self.feasible.best_k(self.log_probabilities(), k)

    def list_models(self, sort: bool = True, limit: int | None = 1) -> Iterator[RawFormatModelSpace]:
        """NNI's way to ask for results: the ``limit`` most probable architectures inside the budget, the best first.

        NNI's one-shot strategies know the first only. ValueError without a limit: all of them are too many.
        """
        if limit is None:
            raise ValueError("limit: None would list every architecture inside the budget; give a number")
        for sample in self.export_samples(limit):
            yield self.model_space.freeze(sample)


class GDAS(DARTS):
    """Single-path differentiable search (Dong & Yang 2019): like `DARTS`, but each step runs one sampled candidate.

    A step costs about as much as one network's, whatever the number of candidates.
    """

    def default_mutation_hooks(self) -> list[Any]:
        return [SinglePathLayer.mutate, *super().default_mutation_hooks()]  # the first hook that fits decides
