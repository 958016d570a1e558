"""ENAS (Pham et al. 2018) under a budget: a policy learns which paths of a supernet score well while it is trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from nni.nas.strategy import RandomOneShot as NniRandomOneShot
from torch import Tensor, nn

from search_space.base.errors import InvalidRequest
from strategies.budget.feasible import FeasibleSet
from strategies.one_shot.base import (
    OneShotSearch,
    SearchModule,
    frozen_statistics,
    log_softmax,
    loss_of,
    relative_gains,
)
from strategies.one_shot.options import EnasOptions
from strategies.one_shot.together import average, share_of

#: Architectures drawn from the policy at once; the first inside the budget is taken.
_DRAWS = 64


class FactorisedPolicy(nn.Module):
    """A probability for every candidate of every label, independent between labels, restricted to a `FeasibleSet`;
    uniform at first."""

    def __init__(self, feasible: FeasibleSet) -> None:
        super().__init__()
        self.feasible = feasible
        candidates = feasible.table.candidates
        # labels may hold what parameter names must not, such as dots
        self.logits = nn.ParameterList(nn.Parameter(torch.zeros(len(values))) for values in candidates.values())

    def log_probabilities(self) -> dict[str, np.ndarray]:
        """{label: log-probability of each candidate}, on the CPU."""
        return {
            label: log_softmax(logits) for label, logits in zip(self.feasible.table.labels, self.logits, strict=True)
        }

    def draw(self, generator: torch.Generator) -> dict[str, Any]:
        """A sample inside the budget: the first of some draws that is; the best of one perturbed policy if none is."""
        table = self.feasible.table
        noisy = {}
        for label, logits in self.log_probabilities().items():
            # drawn on the CPU, so that a run gives the same paths on every device
            gumbel = -torch.empty(_DRAWS, len(logits), dtype=torch.float64).exponential_(generator=generator).log()
            noisy[label] = logits + gumbel.numpy()
        rows = np.stack([own.argmax(1) for own in noisy.values()], axis=1)
        inside = rows[self.feasible.budget.inside(table.evaluate(rows))]
        # where the budget does not bind, both are the same draw (the Gumbel-max trick)
        return table.sample(inside[0]) if len(inside) else self.feasible.best({k: own[0] for k, own in noisy.items()})

    def draw_alike(self, generator: torch.Generator, count: int) -> tuple[list[dict[str, Any]], Tensor]:
        """Up to ``count`` samples inside the budget that differ in one label, or two where there is a budget.

        Returns:
            The samples, drawn by their probabilities without replacement, and their probabilities relative to each
            other, float64 (samples,).
        """
        table = self.feasible.table
        row = table.indices(self.draw(generator))
        logs = list(self.log_probabilities().values())
        several = [column for column, values in enumerate(logs) if len(values) > 1]
        order = torch.randperm(len(several), generator=generator).tolist()
        # inside a budget two labels vary together, so that one can become cheaper as the other becomes dearer
        columns = [several[i] for i in order[: 2 if self.feasible.budget.bounds() else 1]]
        grids = np.meshgrid(*(np.arange(len(logs[column])) for column in columns))
        rows = np.repeat(row[None], grids[0].size if columns else 1, axis=0)
        for column, grid in zip(columns, grids, strict=True):
            rows[:, column] = grid.ravel()
        rows = rows[self.feasible.budget.inside(table.evaluate(rows))]
        total = sum((logs[column][rows[:, column]] for column in columns), np.zeros(len(rows)))
        probabilities = torch.softmax(torch.from_numpy(total), 0).clamp_min(1e-12)
        drawn = torch.multinomial(probabilities, min(count, len(rows)), generator=generator)
        return [table.sample(rows[i]) for i in drawn.tolist()], probabilities[drawn] / probabilities[drawn].sum()

    def entropy(self) -> Tensor:
        """Entropy of the policy without the budget, in nats, a scalar with gradient."""
        logs = [torch.log_softmax(own, -1) for own in self.logits]
        return torch.stack([-(log.exp() * log).sum() for log in logs]).sum()


class EnasModule(SearchModule):
    """The search as a Lightning module: in each step a path is trained on a training batch and, behind the warm-up,
    a few similar ones are compared by what they score on a validation batch."""

    def __init__(
        self,
        training_module: Any,
        policy: FactorisedPolicy,
        options: EnasOptions,
        *,
        generator: torch.Generator,
        gradient_clip_val: float | None = None,
    ) -> None:
        super().__init__(training_module)
        self.policy = policy
        self.options = options
        self.generator = generator
        self.gradient_clip_val = gradient_clip_val

    def configure_architecture_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.policy.parameters(), self.options.policy_learning_rate)

    def resample(self) -> dict[str, Any]:
        """Set the supernet to a path drawn from the policy, inside the budget."""
        sample = self.policy.draw(self.generator)
        self.take(sample)
        return sample

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.trainer.current_epoch >= self.options.warmup_epochs:
            self._policy_step(batch["val"], batch_idx)
        self.resample()
        result = self.training_module.training_step(batch["train"], batch_idx)
        self.advance_optimization(loss_of(result), batch_idx, self.gradient_clip_val)
        self.advance_lr_schedulers(batch_idx)
        return result

    def _policy_step(self, batch: Any, batch_idx: int) -> None:
        paths, share = self.policy.draw_alike(self.generator, self.options.paths_per_step)
        with frozen_statistics(self.training_module):
            own = [share_of(batch) * self._reward(path, batch, batch_idx) for path in paths]
        rewards = average(torch.tensor(own, dtype=torch.float64, device=self.device)).tolist()
        self.update_policy(paths, share, rewards)
        if batch_idx % self.options.log_prob_every_n_step == 0:
            self.log("reward", float(np.mean(rewards)))
            self.log("policy_entropy", self.policy.entropy())

    def update_policy(self, paths: list[dict[str, Any]], share: Tensor, rewards: list[float]) -> None:
        """One step of the policy from ``paths`` that differ in one or two labels, rewarded on the same batch.

        What the batch and the rest of the path do to the reward is common to all and cancels. With ``q`` (``share``, as
        `FactorisedPolicy.draw_alike` gives it) the policy's probabilities of the paths relative to each other and ``R``
        their rewards, path ``i`` adds the gradient of their expected reward, ``q_i (R_i - sum_j q_j R_j)``, to the
        logits of what it chooses.
        """
        gains = relative_gains(share, torch.tensor(rewards, dtype=torch.float64))
        chosen = np.stack([self.policy.feasible.table.indices(path) for path in paths])
        optimizer: Any = self.architecture_optimizers()
        optimizer.zero_grad()
        if self.options.entropy_weight:
            weighted = -self.options.entropy_weight * self.policy.entropy()
            self.manual_backward(weighted, inputs=list(self.policy.parameters()))
        for logits, column in zip(self.policy.logits, torch.from_numpy(chosen.T), strict=True):
            if (column == column[0]).all():
                logits.grad = None  # Adam's moments are those of the steps in which a label took part
                continue
            gradient = -torch.zeros_like(logits).index_add(0, column.to(logits.device), gains.to(logits))
            logits.grad = gradient if logits.grad is None else logits.grad + gradient
        optimizer.step()

    @torch.no_grad()
    def _reward(self, path: dict[str, Any], batch: Any, batch_idx: int) -> float:
        metrics: dict[str, float] = {}

        def collect(name: str, value: Any, *args: Any, **kwargs: Any) -> None:
            metrics[name] = float(value)

        self.take(path)
        with self.logging_to(collect):
            self.training_module.validation_step(batch, batch_idx)
        return _reward_in(metrics, self.options.reward_metric_name)


def _reward_in(metrics: dict[str, float], wanted: str | None) -> float:
    """The reward that the logged ``metrics`` hold, more of it being better; InvalidRequest if that is not clear."""
    known = ", ".join(metrics) or "none"
    if wanted is not None:
        if wanted not in metrics:
            raise InvalidRequest(f"reward_metric_name: {wanted!r} is not logged in validation_step; logged are {known}")
        return metrics[wanted]
    if "default" in metrics:
        return metrics["default"]
    # a loss tells paths apart that have the same accuracy on a batch
    losses = [value for name, value in metrics.items() if name.endswith("loss")]
    if len(losses) == 1:
        return -losses[0]
    accuracies = [value for name, value in metrics.items() if name.endswith(("accuracy", "acc"))]
    for values in (accuracies, list(metrics.values())):
        if len(values) == 1:
            return values[0]
    raise InvalidRequest(f"reward_metric_name: None does not say which of these to take: {known}; name one")


class ENAS(OneShotSearch, NniRandomOneShot):
    """A policy samples paths of the supernet that it trains and learns from their validation scores, under a `Budget`.

    The policy is one categorical distribution per label, moved by the rewards of paths that differ in one or two labels
    (`EnasModule.update_policy`). NNI's LSTM can also learn that two labels go together, but its most probable
    architecture inside a budget cannot be found; of independent labels it is found exactly. Only architectures inside
    the budget are ever sampled. Takes what `OneShotSearch` takes; unlike NNI's ``ENAS`` it needs no tianshou.
    """

    name = "enas"
    options: EnasOptions
    _policy: FactorisedPolicy | None = None

    def mutate_model(self, model: Any) -> Any:
        mutated = super().mutate_model(model)
        self._policy = FactorisedPolicy(self.feasible)
        return mutated

    def configure_oneshot_module(self, training_module: Any) -> EnasModule:
        return EnasModule(
            training_module,
            self.policy,
            self.options,
            generator=self.generator,
            gradient_clip_val=self.gradient_clip_val,
        )

    @property
    def policy(self) -> FactorisedPolicy:
        """The policy; known once a space is mutated."""
        if self._policy is None:
            raise RuntimeError("the strategy is not initialised yet")
        return self._policy

    def log_probabilities(self) -> dict[str, np.ndarray]:
        return self.policy.log_probabilities()
