"""A policy trained by tianshou's PPO proposes architectures, under a budget. tianshou is an optional dependency."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from nni.nas.execution import ExecutionEngine
from nni.nas.space import ExecutableModelSpace
from nni.nas.strategy import PolicyBasedRL as NniPolicyBasedRL

from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable
from strategies.budget.budget import Budget
from strategies.multi_trial.base import MultiTrial


class PolicyBasedRL(MultiTrial, NniPolicyBasedRL):
    """Reinforcement learning (PPO with a small LSTM by default) inside a `Budget`.

    A subclass of ``nni.nas.strategy.PolicyBasedRL``, which takes no seed, no budget, and fails in tianshou where it is
    missing. Here a sample outside the budget is replaced by the nearest inside, and the trajectory that is rewarded is
    the one of that architecture, decision by decision; so the policy never learns from what was not scored. All
    randomness, tianshou's included, is drawn from ``seed``. A trial without a finite score teaches nothing. As in NNI
    an architecture can be asked for again once the policy is sure of it.

    Parameters
    ----------
    budget, costs, seed
        What an architecture may cost, the cost of every candidate, and the seed of all draws.
    samples_per_update, replay_buffer_size, policy_fn, update_kwargs
        As in NNI. Its ``reward_for_invalid`` has no use: nothing invalid is asked for.
    """

    def __init__(
        self,
        *,
        budget: Budget | None = None,
        costs: CostTable | None = None,
        samples_per_update: int = 20,
        replay_buffer_size: int | None = None,
        policy_fn: Any = None,
        update_kwargs: dict[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        require_tianshou()
        super().__init__(
            samples_per_update=samples_per_update,
            replay_buffer_size=replay_buffer_size,
            policy_fn=policy_fn,
            update_kwargs=update_kwargs,
        )
        self._set_up(budget, costs, seed)
        self._generators: dict[int, Any] = {}
        self._torch_state = torch.Generator().manual_seed(seed).get_state()
        self._numpy_state = np.random.RandomState(seed).get_state()

    def _initialize(self, model_space: ExecutableModelSpace, engine: ExecutionEngine) -> ExecutableModelSpace:
        MultiTrial._initialize(self, model_space, engine)
        with self._own_randomness():
            return NniPolicyBasedRL._initialize(self, model_space, engine)

    def _propose(self) -> dict[str, Any] | None:
        from nni.nas.strategy._rl_impl import TuningTrajectoryGenerator

        policy: Any = self._policy
        with self._own_randomness():
            generator = TuningTrajectoryGenerator(self.model_space, policy)
            sample = generator.next_sample()
            if not self.feasible.admits(sample):
                sample = self.feasible.nearest(sample, self.rng)
                indices = dict(zip(self.feasible.table.labels, self.feasible.table.indices(sample), strict=True))
                # the same decisions again, so that trajectory and score belong together
                generator.policy = _Replay(policy, [int(indices[label]) for label, _ in generator.search_labels])
                generator.next_sample()
                generator.policy = policy
        self._generators[len(self._asked)] = generator
        return sample

    def _observe(self, trial: int, sample: dict[str, Any], metric: float) -> None:
        generator = self._generators.pop(trial)
        if math.isfinite(metric):
            with self._own_randomness():
                self._add_trajectory(generator.send_reward(metric))

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """tianshou draws from the global states of torch and NumPy: lend it ours."""
        theirs = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
        torch.set_rng_state(self._torch_state)
        np.random.set_state(self._numpy_state)  # noqa: NPY002
        try:
            yield
        finally:
            self._torch_state, self._numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
            torch.set_rng_state(theirs[0])
            np.random.set_state(theirs[1])  # noqa: NPY002


class _Replay:
    """A policy that looks like ``policy`` but decides as told."""

    def __init__(self, policy: Any, decisions: list[int]) -> None:
        self.policy = policy
        self.decisions = iter(decisions)

    def __call__(self, batch: Any, state: Any) -> Any:
        result = self.policy(batch, state)
        result.act = torch.tensor([next(self.decisions)])
        return result

    def map_action(self, action: Any) -> Any:
        """As the policy does."""
        return self.policy.map_action(action)


def require_tianshou() -> None:
    """InvalidRequest with the remedy if tianshou or gym is not installed."""
    for name in ("tianshou", "gym"):
        if find_spec(name) is None:
            raise InvalidRequest(
                f"strategy.name: policy-rl needs {name}, which is not installed;"
                " pip install tianshou==0.4.11 gym==0.26.2"
            )
