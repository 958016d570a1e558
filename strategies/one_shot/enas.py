"""ENAS (Pham et al. 2018) under a budget: a policy learns which paths of a supernet score well while it is trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from nni.nas.strategy import RandomOneShot as NniRandomOneShot
from torch import Tensor, nn

from search_space.base.errors import InvalidRequest
from strategies.budget.feasible import FeasibleSet
from strategies.one_shot.base import OneShotSearch, SearchModule, log_softmax, loss_of
from strategies.one_shot.batch_norms import frozen_statistics
from strategies.one_shot.options import EnasOptions

#: Architectures drawn from the policy at once; the first inside the budget is taken.
_DRAWS = 64


class FactorisedPolicy(nn.Module):
    """A probability for every candidate of every label, independent between labels, restricted to a `FeasibleSet`.

    Uniform at first. An ``nn.Module`` of one parameter vector a label, so it travels with checkpoints.
    """

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
        noise, perturbed = [], []
        for logits in self.log_probabilities().values():
            # drawn on the CPU, so that a run gives the same paths on every device
            gumbel = -torch.empty(_DRAWS, len(logits), dtype=torch.float64).exponential_(generator=generator).log()
            noise.append(logits + gumbel.numpy())
            perturbed.append(noise[-1].argmax(1))
        for row in np.stack(perturbed, axis=1):
            sample = table.sample(row)
            if self.feasible.admits(sample):
                return sample
        # where the budget does not bind, this is the same draw (the Gumbel-max trick)
        return self.feasible.best({label: own[0] for label, own in zip(table.labels, noise, strict=True)})

    def log_probability(self, sample: dict[str, Any]) -> Tensor:
        """Log-probability of ``sample`` in the policy without the budget, a scalar with gradient."""
        chosen = self.feasible.table.indices(sample).tolist()
        return torch.stack([torch.log_softmax(own, -1)[i] for own, i in zip(self.logits, chosen, strict=True)]).sum()

    def entropy(self) -> Tensor:
        """Entropy of the policy without the budget, in nats, a scalar with gradient."""
        logs = [torch.log_softmax(own, -1) for own in self.logits]
        return torch.stack([-(log.exp() * log).sum() for log in logs]).sum()


class EnasModule(SearchModule):
    """The search as a Lightning module: in each step a path is trained on a training batch and, behind the warm-up,
    another one is rewarded by what it scores on a validation batch."""

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
        self._rewards: list[tuple[dict[str, Any], float]] = []

    def configure_architecture_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.policy.parameters(), self.options.policy_learning_rate)

    def resample(self) -> dict[str, Any]:
        """Set the supernet to a path drawn from the policy, inside the budget."""
        sample = self.policy.draw(self.generator)
        for module in self.supernet_modules():
            module.resample(memo=dict(sample))
        return sample

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.trainer.current_epoch >= self.options.warmup_epochs:
            self._rewards.append((self.resample(), self._reward(batch["val"], batch_idx)))
            if len(self._rewards) == self.options.batches_per_update:
                self.update_policy(self._rewards)
                self._rewards = []
        self.resample()
        result = self.training_module.training_step(batch["train"], batch_idx)
        self.advance_optimization(loss_of(result), batch_idx, self.gradient_clip_val)
        self.advance_lr_schedulers(batch_idx)
        return result

    def update_policy(self, rewards: list[tuple[dict[str, Any], float]]) -> None:
        """One step of REINFORCE on (sample, reward) pairs, at least two.

        With the mean of the pairs as baseline and n - 1 below, the estimate is the covariance of the reward and the
        score function. That is the unbiased gradient for the policy *restricted to the budget*, whose normalisation
        then need not be known.
        """
        values = torch.tensor([reward for _, reward in rewards], dtype=torch.float64)
        advantages = values - values.mean()
        scale = values.std().clamp_min(1e-8)  # so that the learning rate does not depend on the metric's unit
        gains = [
            (advantage / scale).item() * self.policy.log_probability(sample)
            for (sample, _), advantage in zip(rewards, advantages, strict=True)
        ]
        loss = -torch.stack(gains).sum() / (len(rewards) - 1) - self.options.entropy_weight * self.policy.entropy()
        optimizer: Any = self.architecture_optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    @torch.no_grad()
    def _reward(self, batch: Any, batch_idx: int) -> float:
        metrics: dict[str, float] = {}

        def collect(name: str, value: Any, *args: Any, **kwargs: Any) -> None:
            metrics[name] = float(value)

        self.training_module.log = collect
        try:
            with frozen_statistics(self.training_module):
                self.training_module.validation_step(batch, batch_idx)
        finally:
            self.training_module.log = self.log
        reward = metrics[_reward_name(metrics, self.options.reward_metric_name)]
        if batch_idx % self.options.log_prob_every_n_step == 0:
            self.log("reward", reward)
            self.log("policy_entropy", self.policy.entropy())
        return reward

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        chosen = [self.policy.feasible.table.indices(sample).tolist() for sample, _ in self._rewards]
        checkpoint["rewards"] = [chosen, [reward for _, reward in self._rewards]]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        table = self.policy.feasible.table
        samples = [table.sample(np.array(chosen)) for chosen in checkpoint["rewards"][0]]
        self._rewards = list(zip(samples, checkpoint["rewards"][1], strict=True))


def _reward_name(metrics: dict[str, float], wanted: str | None) -> str:
    """Which of the logged ``metrics`` is the reward; InvalidRequest if that is not clear."""
    known = ", ".join(metrics) or "none"
    if wanted is not None:
        if wanted not in metrics:
            raise InvalidRequest(f"reward_metric_name: {wanted!r} is not logged in validation_step; logged are {known}")
        return wanted
    if len(metrics) == 1:
        return next(iter(metrics))
    for choice in (["default"], [name for name in metrics if name.endswith(("accuracy", "acc"))]):
        if len(choice) == 1 and choice[0] in metrics:
            return choice[0]
    raise InvalidRequest(f"reward_metric_name: None does not say which of these to take: {known}; name one")


class ENAS(OneShotSearch, NniRandomOneShot):
    """A policy samples paths of the supernet that it trains and learns from their validation scores, under a `Budget`.

    NNI's ``ENAS`` needs tianshou, takes a batch's last element for its kind under Lightning 2.6, knows no budget and
    exports a random draw. Here the policy is a few lines of torch: one categorical distribution per label, trained by
    REINFORCE (Williams 1992) with a mean baseline. NNI's LSTM can also learn that two labels go together, but its most
    probable architecture inside a budget cannot be found; of independent labels it is found exactly, and the export is
    the same at every call. Only architectures inside the budget are ever sampled. Takes what `OneShotSearch` takes.
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
