"""Strategies by name, for configs and the command line. Imports neither torch nor NNI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from strategies.options import (
    DifferentiableOptions,
    EnasOptions,
    EvolutionOptions,
    GridOptions,
    GumbelOptions,
    MultiTrialOptions,
    NSGA2Options,
    PolicyRLOptions,
    RandomOneShotOptions,
    RandomOptions,
    SinglePathOptions,
    TpeOptions,
)

OneShotOptions = DifferentiableOptions | EnasOptions


@dataclass(frozen=True)
class StrategyName:
    """A strategy that a config can name.

    Attributes:
        summary: what it does, in a line.
        options: class of its options.
        kind: "one-shot" searches while it trains one supernet; "multi-trial" scores one architecture after the other.
        home: module and class, as ``"evolution.RegularizedEvolution"``.
    """

    summary: str
    options: type[OneShotOptions] | type[MultiTrialOptions]
    kind: Literal["one-shot", "multi-trial"]
    home: str


STRATEGIES: dict[str, StrategyName] = {
    "gdas": StrategyName(
        "single-path differentiable search (GDAS): one sampled candidate a step; the default",
        SinglePathOptions,
        "one-shot",
        "one_shot.darts.GDAS",
    ),
    "darts": StrategyName(
        "first-order DARTS over the full mixture: every candidate in every step, so slower and larger",
        DifferentiableOptions,
        "one-shot",
        "one_shot.darts.DARTS",
    ),
    "gumbel-darts": StrategyName(
        "DARTS whose mixture is weighted by a Gumbel-softmax sample that cools down",
        GumbelOptions,
        "one-shot",
        "one_shot.gumbel.GumbelDARTS",
    ),
    "proxyless": StrategyName(
        "binary gates (ProxylessNAS): one candidate runs in a weight step, two in an architecture step",
        DifferentiableOptions,
        "one-shot",
        "one_shot.proxyless.Proxyless",
    ),
    "enas": StrategyName(
        "a policy learns by REINFORCE which paths of the supernet it trains score well on validation batches",
        EnasOptions,
        "one-shot",
        "one_shot.enas.ENAS",
    ),
    "evolution": StrategyName(
        "regularized evolution; scores by inherited supernet weights or by a short training",
        EvolutionOptions,
        "multi-trial",
        "multi_trial.evolution.RegularizedEvolution",
    ),
    "nsga2": StrategyName(
        "multi-objective evolution (NSGA-II) over accuracy, MACs and params: a run gives the Pareto set",
        NSGA2Options,
        "multi-trial",
        "multi_trial.nsga2.NSGA2",
    ),
    "random": StrategyName(
        "architectures drawn uniformly inside the budget, scored by inherited weights or by a short training",
        RandomOptions,
        "multi-trial",
        "multi_trial.random.Random",
    ),
    "random-one-shot": StrategyName(
        "NNI's RandomOneShot made a search: it exports the best of random architectures by inherited weights",
        RandomOneShotOptions,
        "multi-trial",
        "multi_trial.random.Random",
    ),
    "tpe": StrategyName(
        "tree-structured Parzen estimators of what good and other architectures choose",
        TpeOptions,
        "multi-trial",
        "multi_trial.tpe.TPE",
    ),
    "grid": StrategyName(
        "every architecture inside the budget once, in an order that varies all blocks evenly from the start",
        GridOptions,
        "multi-trial",
        "multi_trial.grid.GridSearch",
    ),
    "policy-rl": StrategyName(
        "a policy trained by PPO proposes architectures (needs: pip install tianshou==0.4.11 gym==0.26.2)",
        PolicyRLOptions,
        "multi-trial",
        "multi_trial.policy_rl.PolicyBasedRL",
    ),
}
