"""A policy trained by tianshou's PPO proposes architectures, under a budget. tianshou is an optional dependency."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from search_space.base.checks import option
from search_space.base.errors import InvalidRequest
from strategies.multi_trial._proposer import Proposer, Sample
from strategies.options import MultiTrialOptions
from strategies.registry import register


@dataclass(frozen=True)
class PolicyRLOptions(MultiTrialOptions):
    """Options of ``policy-rl``, which needs the optional tianshou.

    NNI's ``policy_fn`` is code; give it to `strategies.PolicyBasedRL` in Python. ``reward_for_invalid`` has no use:
    no invalid architecture is ever proposed.

    Attributes:
        samples_per_update: scored architectures between two updates of the policy.
        replay_buffer_size: decisions kept for an update; null for those of ``samples_per_update`` architectures.
        batch_size: decisions in a minibatch of PPO.
        repeat: passes of PPO over the buffer in an update.
        update_times: updates in a row.
    """

    samples_per_update: int = option(20, least=1)
    replay_buffer_size: int | None = option(None, least=1)
    batch_size: int = option(32, least=1)
    repeat: int = option(5, least=1)
    update_times: int = option(5, least=1)

    def check_packages(self) -> None:
        """InvalidRequest with the remedy if tianshou or gym is not installed."""
        for name in ("tianshou", "gym"):
            if find_spec(name) is None:
                raise InvalidRequest(
                    f"strategy.name: policy-rl needs {name}, which is not installed;"
                    " pip install tianshou==0.4.11 gym==0.26.2"
                )


class PolicyProposer(Proposer[PolicyRLOptions]):
    """Reinforcement learning (PPO with a small LSTM by default) inside the budget.

    A sample outside the budget is replaced by the nearest inside, and the trajectory that is rewarded is the one of
    that architecture, decision by decision, so the policy never learns from what was not scored. A trial without a
    finite score teaches nothing. All randomness, tianshou's included, is drawn from the seed. As in NNI an architecture
    can be proposed again. ``policy_fn`` makes the policy of NNI's ``TuningEnvironment``; by default NNI's own.
    """

    def __init__(self, *arguments: Any, policy_fn: Any = None) -> None:
        import torch
        from nni.mutable import Categorical, MutableDict
        from nni.nas.strategy._rl_impl import TuningTrajectoryGenerator, default_policy_fn
        from tianshou.data import ReplayBuffer

        super().__init__(*arguments)
        self._torch_state = torch.Generator().manual_seed(self.seed).get_state()
        self._numpy_state = np.random.RandomState(self.seed).get_state()
        candidates = self.feasible.table.candidates
        self._space = MutableDict({label: Categorical(values, label=label) for label, values in candidates.items()})
        with self._own_randomness():
            generator = TuningTrajectoryGenerator(self._space, policy_fn or default_policy_fn)
        self.policy: Any = generator.policy
        decisions = generator.expected_trajectory_length * self.options.samples_per_update
        self.replay_buffer = ReplayBuffer(self.options.replay_buffer_size or decisions)
        self.trajectories = 0
        self._generators: list[Any] = []

    def propose(self) -> Sample | None:
        from nni.nas.strategy._rl_impl import TuningTrajectoryGenerator

        with self._own_randomness():
            generator = TuningTrajectoryGenerator(self._space, self.policy)
            sample: Sample = generator.next_sample()
            if not self.feasible.admits(sample):
                sample = self.feasible.nearest(sample, self.rng)
                indices = dict(zip(self.feasible.table.labels, self.feasible.table.indices(sample), strict=True))
                # the same decisions again, so that trajectory and score belong together
                generator.policy = _Replay(self.policy, [int(indices[label]) for label, _ in generator.search_labels])
                generator.next_sample()
                generator.policy = self.policy
        self._generators.append(generator)
        return sample

    def observe(self, trial: int, sample: Sample, metric: float) -> None:
        if not math.isfinite(metric):
            return
        with self._own_randomness():
            self.replay_buffer.update(self._generators[trial].send_reward(metric))
            self._generators[trial] = None  # the buffer holds the trajectory now
            self.trajectories += 1
            if self.trajectories % self.options.samples_per_update == 0:
                for _ in range(self.options.update_times):
                    self.policy.update(
                        0, self.replay_buffer, batch_size=self.options.batch_size, repeat=self.options.repeat
                    )

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """tianshou draws from the global states of torch and NumPy: lend it ours."""
        import torch

        outer = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
        torch.set_rng_state(self._torch_state)
        np.random.set_state(self._numpy_state)  # noqa: NPY002
        try:
            yield
        finally:
            self._torch_state, self._numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
            torch.set_rng_state(outer[0])
            np.random.set_state(outer[1])  # noqa: NPY002


class _Replay:
    """A policy that looks like ``policy`` but decides as it is told."""

    def __init__(self, policy: Any, decisions: list[int]) -> None:
        self.policy = policy
        self.decisions = iter(decisions)

    def __call__(self, batch: Any, state: Any) -> Any:
        import torch

        result = self.policy(batch, state)
        result.act = torch.tensor([next(self.decisions)])
        return result

    def map_action(self, action: Any) -> Any:
        """As the policy does."""
        return self.policy.map_action(action)


register(
    "policy-rl",
    "a policy trained by PPO proposes architectures (needs: pip install tianshou==0.4.11 gym==0.26.2)",
    PolicyRLOptions,
    PolicyProposer,
)
