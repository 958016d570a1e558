"""ENAS (Pham et al. 2018) under a budget: a policy learns which paths of a supernet score well while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from nni.nas.oneshot.pytorch.base_lightning import BaseOneShotLightningModule
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from nni.nas.space import RawFormatModelSpace
from nni.nas.strategy import ENAS as NniENAS
from torch import Tensor, nn

from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable
from strategies.budget.budget import Budget
from strategies.budget.budgeted import Budgeted
from strategies.budget.feasible import FeasibleSet
from strategies.one_shot.batch_norms import frozen_statistics

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
            label: torch.log_softmax(logits.detach().double().cpu(), -1).numpy()
            for label, logits in zip(self.feasible.table.labels, self.logits, strict=True)
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


class EnasModule(BaseOneShotLightningModule):
    """The search as a Lightning module: in each step a path is trained on a training batch and, behind the warm-up,
    another one is rewarded by what it scores on a validation batch."""

    def __init__(
        self,
        training_module: Any,
        policy: FactorisedPolicy,
        *,
        learning_rate: float,
        batches_per_update: int,
        entropy_weight: float,
        reward_metric_name: str | None,
        warmup_epochs: int,
        log_prob_every_n_step: int,
        gradient_clip_val: float | None,
        generator: torch.Generator,
    ) -> None:
        super().__init__(training_module)
        self.policy = policy
        self.policy_learning_rate = learning_rate
        self.batches_per_update = batches_per_update
        self.entropy_weight = entropy_weight
        self.reward_metric_name = reward_metric_name
        self.warmup_epochs = warmup_epochs
        self.log_prob_every_n_step = log_prob_every_n_step
        self.gradient_clip_val = gradient_clip_val
        self.generator = generator
        self._rewards: list[tuple[dict[str, Any], float]] = []
        self._supernet_modules: list[BaseSuperNetModule] | None = None

    def supernet_modules(self) -> Iterable[BaseSuperNetModule]:
        """As in NNI, walked once."""
        if self._supernet_modules is None:
            self._supernet_modules = list(super().supernet_modules())
        return self._supernet_modules

    def configure_architecture_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.policy.parameters(), self.policy_learning_rate)

    def resample(self) -> dict[str, Any]:
        """Set the supernet to a path drawn from the policy, inside the budget."""
        sample = self.policy.draw(self.generator)
        for module in self.supernet_modules():
            module.resample(memo=dict(sample))
        return sample

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.trainer.current_epoch >= self.warmup_epochs:
            self._rewards.append((self.resample(), self._reward(batch["val"], batch_idx)))
            if len(self._rewards) == self.batches_per_update:
                self.update_policy(self._rewards)
                self._rewards = []
        self.resample()
        result = self.training_module.training_step(batch["train"], batch_idx)
        loss = result["loss"] if isinstance(result, dict) else result
        self.advance_optimization(loss, batch_idx, self.gradient_clip_val)
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
        loss = -torch.stack(gains).sum() / (len(rewards) - 1) - self.entropy_weight * self.policy.entropy()
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
        reward = metrics[_reward_name(metrics, self.reward_metric_name)]
        if batch_idx % self.log_prob_every_n_step == 0:
            self.log("reward", reward)
            self.log("policy_entropy", self.policy.entropy())
        return reward

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["path_generator"] = self.generator.get_state()
        chosen = [self.policy.feasible.table.indices(sample).tolist() for sample, _ in self._rewards]
        checkpoint["rewards"] = [chosen, [reward for _, reward in self._rewards]]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.generator.set_state(checkpoint["path_generator"])
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


class ENAS(Budgeted, NniENAS):
    """A policy samples paths of the supernet that it trains and learns from their validation scores, under a `Budget`.

    A subclass of ``nni.nas.strategy.ENAS``, which needs tianshou, takes a batch's last element for its kind under
    Lightning 2.6, knows no budget and exports a random draw. Here the policy is a few lines of torch: one categorical
    distribution a label, trained by REINFORCE (Williams 1992) with a mean baseline. NNI's LSTM can also learn that two
    labels go together, but its most probable architecture inside a budget cannot be found; of independent labels it is
    found exactly, and the export is the same at every call. Only architectures inside the budget are ever sampled.

    Parameters
    ----------
    budget, costs, seed
        What an architecture may cost, the cost of every candidate, and the seed of all draws.
    policy_learning_rate
        Adam's learning rate on the policy's logits.
    batches_per_update
        Rewards, each of another architecture on another validation batch, before the policy moves; at least 2.
    entropy_weight
        Weight of the policy's entropy (nats) beside the standardised reward.
    reward_metric_name
        Which metric that ``validation_step`` logs is the reward. By default the only one, or ``default``, or the only
        one whose name ends in ``accuracy`` or ``acc``.
    warmup_epochs
        Epochs in which only weights are trained, on paths of the uniform policy.
    log_prob_every_n_step
        Steps between two logs of reward and entropy.
    gradient_clip_val
        Norm to which the weights' gradient is clipped.
    mutation_hooks
        As in NNI.

    NNI's ``replay_buffer_size``, ``policy_fn`` and ``update_kwargs`` configure tianshou's PPO and have no meaning here,
    ``penalty`` is the budget; they are not accepted.
    """

    def __init__(
        self,
        *,
        budget: Budget | None = None,
        costs: CostTable | None = None,
        policy_learning_rate: float = 0.1,
        batches_per_update: int = 10,
        entropy_weight: float = 1e-4,
        reward_metric_name: str | None = None,
        warmup_epochs: int = 0,
        log_prob_every_n_step: int = 10,
        gradient_clip_val: float | None = None,
        mutation_hooks: list[Any] | None = None,
        seed: int = 0,
    ) -> None:
        if batches_per_update < 2:
            raise InvalidRequest(f"batches_per_update: {batches_per_update} must be at least 2 for a baseline")
        super().__init__(
            batches_per_update=batches_per_update,
            log_prob_every_n_step=log_prob_every_n_step,
            reward_metric_name=reward_metric_name,
            warmup_epochs=warmup_epochs,
            mutation_hooks=mutation_hooks,
        )
        self._set_budget(budget, costs)
        self.policy_learning_rate = policy_learning_rate
        self.entropy_weight = entropy_weight
        self.gradient_clip_val = gradient_clip_val
        self.seed = seed
        self._policy: FactorisedPolicy | None = None

    def mutate_model(self, model: Any) -> Any:
        self._meet_space(model)
        self._policy = FactorisedPolicy(self.feasible)
        return super().mutate_model(model)

    def configure_oneshot_module(self, training_module: Any) -> EnasModule:
        return EnasModule(
            training_module,
            self.policy,
            learning_rate=self.policy_learning_rate,
            batches_per_update=int(self.batches_per_update),
            entropy_weight=self.entropy_weight,
            reward_metric_name=self.reward_metric_name,
            warmup_epochs=self.warmup_epochs,
            log_prob_every_n_step=self.log_prob_every_n_step,
            gradient_clip_val=self.gradient_clip_val,
            generator=torch.Generator().manual_seed(self.seed),
        )

    def train_dataloader(self, train_dataloader_fn: Callable[[], Any], val_dataloader_fn: Callable[[], Any]) -> Any:
        """Both kinds of batches in every step, by name."""
        return {"train": train_dataloader_fn(), "val": val_dataloader_fn()}

    @property
    def policy(self) -> FactorisedPolicy:
        """The policy; known once a space is mutated."""
        if self._policy is None:
            raise RuntimeError("the strategy is not initialised yet")
        return self._policy

    def log_probabilities(self) -> dict[str, np.ndarray]:
        """{label: log-probability of each candidate}, on the CPU."""
        return self.policy.log_probabilities()

    def export_sample(self) -> dict[str, Any]:
        """The policy's most probable architecture inside the budget, as an NNI sample."""
        return self.feasible.best(self.log_probabilities())

    def list_models(self, sort: bool = True, limit: int | None = 1) -> Iterator[RawFormatModelSpace]:
        """NNI's way to ask for the result: yields the exported architecture."""
        if limit is not None and limit != 1:
            raise ValueError(f"limit: {limit} is not supported; this search exports one architecture")
        yield self.model_space.freeze(self.export_sample())
