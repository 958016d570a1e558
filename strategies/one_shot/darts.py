"""Differentiable search under a budget: NNI's DARTS with a penalty that works and an export that fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from nni.nas.oneshot.pytorch.differentiable import DartsLightningModule
from nni.nas.oneshot.pytorch.supermodule.differentiable import MixedOpDifferentiablePolicy
from nni.nas.strategy import DARTS as NniDARTS
from torch import nn

from strategies.budget.costs import categorical_labels
from strategies.one_shot.base import Draws, OneShotSearch, SearchModule, log_softmax, loss_of
from strategies.one_shot.lagrangian import BudgetPenalty
from strategies.one_shot.options import DifferentiableOptions
from strategies.one_shot.shared_mixture import SharedMixture


class BudgetedDartsModule(SearchModule, DartsLightningModule):
    """The search as a Lightning module: an architecture step on a validation batch, a weight step on a training one.

    Unlike NNI's, the budget penalty has a gradient, the architecture step computes no weight gradients, and parameters
    come in the same order in every process (or a resumed run would swap the moments of the architecture optimizer).
    ``training_module`` is the evaluator's, ``alphas`` are {label: architecture parameter}.
    """

    def __init__(
        self,
        training_module: Any,
        options: DifferentiableOptions,
        *,
        alphas: dict[str, nn.Parameter],
        penalty: BudgetPenalty,
        draws: Draws,
        gradient_clip_val: float | None,
    ) -> None:
        super().__init__(
            training_module,
            gradient_clip_val=gradient_clip_val,
            log_prob_every_n_step=options.log_prob_every_n_step,
            warmup_epochs=options.warmup_epochs,
        )
        self.options = options
        self.alphas = alphas
        self.budget_penalty = penalty
        self.draws = draws
        assert draws.generator is not None
        self.generator = draws.generator

    def arch_parameters(self) -> list[nn.Parameter]:
        return list(self.alphas.values())

    def configure_architecture_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            self.arch_parameters(),
            self.options.arc_learning_rate,
            betas=self.options.arc_betas,
            weight_decay=self.options.arc_weight_decay,
        )

    def on_train_epoch_start(self) -> None:
        self.draws.tau = self.options.temperature(self.trainer.current_epoch, self.trainer.max_epochs)
        super().on_train_epoch_start()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.trainer.current_epoch >= self.warmup_epochs:
            self._architecture_step(batch["val"], batch_idx)
        with torch.no_grad():  # a weight step: paths are drawn, their probabilities get no gradient
            self.resample()
        result = self.training_module.training_step(batch["train"], 2 * batch_idx + 1)
        self.advance_optimization(loss_of(result), batch_idx, self.gradient_clip_val)
        self.advance_lr_schedulers(batch_idx)
        return result

    def _architecture_step(self, batch: Any, batch_idx: int) -> None:
        optimizer = self.architecture_optimizers()
        optimizer.zero_grad()
        with self.logging_to(lambda *_, **__: None):
            self._set_task_gradients(batch, 2 * batch_idx)
        self.budget_penalty.add_gradients(self.alphas)
        optimizer.step()
        self.budget_penalty.update(self.alphas)
        self._log_architecture(batch_idx)

    def _set_task_gradients(self, batch: Any, batch_idx: int) -> None:
        """Give the architecture parameters the gradient of the loss on ``batch``."""
        self.resample()
        loss = loss_of(self.training_module.training_step(batch, batch_idx))
        self.manual_backward(loss, inputs=self.arch_parameters())

    @torch.no_grad()
    def _log_architecture(self, batch_idx: int) -> None:
        if batch_idx % self.log_prob_every_n_step:
            return
        probabilities = [torch.softmax(alpha, -1) for alpha in self.alphas.values()]
        entropy = torch.stack([-(p * p.clamp_min(1e-12).log()).sum() for p in probabilities]).mean()
        self.log("architecture_entropy", entropy)
        for metric, expected in self.budget_penalty.expected(self.alphas).items():
            self.log(f"expected_{metric}", expected)
        for (metric, _, sign), multiplier in zip(
            self.budget_penalty.bounds, self.budget_penalty.multipliers, strict=True
        ):
            self.log(f"multiplier_{'max' if sign > 0 else 'min'}_{metric}", multiplier)


class DARTS(OneShotSearch):
    """First-order DARTS over the full mixture of candidates, under a `Budget`: a penalty on the expected costs
    (`BudgetPenalty`) moves the architecture parameters into it. Takes what `OneShotSearch` takes."""

    name = "darts"
    options: DifferentiableOptions
    #: takes the steps
    module_class: type[BudgetedDartsModule] = BudgetedDartsModule

    def default_mutation_hooks(self) -> list[Any]:
        return [SharedMixture.mutate, *NniDARTS.default_mutation_hooks(self)]  # the first hook that fits decides

    def mutate_model(self, model: Any) -> Any:
        self.draws = Draws(self.generator)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._arch_parameters = {
                label: nn.Parameter(torch.randn(len(values)) * 1e-3)
                for label, values in categorical_labels(model).items()
            }
            return super().mutate_model(model)

    def run_hook(self, hook: Any, name: str, module: nn.Module, memo: dict[str, Any]) -> Any:
        """As in NNI: hooks find the architecture parameters in ``memo``."""
        memo.update(self._arch_parameters)
        policy = MixedOpDifferentiablePolicy
        return hook(module, name, memo, {"mixed_op_sampling": policy, "softmax": nn.Softmax(-1), "draws": self.draws})

    def configure_oneshot_module(self, training_module: Any) -> BudgetedDartsModule:
        return self.module_class(
            training_module,
            self.options,
            alphas=self._arch_parameters,
            penalty=BudgetPenalty(self.feasible.table, self.budget, rate=self.options.multiplier_rate),
            draws=self.draws,
            gradient_clip_val=self.gradient_clip_val,
        )

    def log_probabilities(self) -> dict[str, np.ndarray]:
        return {label: log_softmax(alpha) for label, alpha in self._arch_parameters.items()}
