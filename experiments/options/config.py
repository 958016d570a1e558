"""Typed configuration. Read without torch, so that a wrong key or value is answered at once."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from evaluators.cluster.options import RayOptions
from evaluators.data.options import DataOptions
from evaluators.training.recipes import Recipe
from evaluators.training.run import Accelerator, TrainingOptions
from experiments.options.values import make, options_of
from search_space.base.checks import SEED_LIMIT, check_choice, check_options, nearest, option, refusal, require
from search_space.base.errors import InvalidRequest
from search_space.options import SpaceOptions
from strategies.budget.budget import Budget
from strategies.options import MultiTrialOptions, OneShotOptions, StrategyOptions
from strategies.registry import registered

#: Where figures are sent while a search or a training goes on.
TrackerName = Literal["tensorboard", "mlflow", "wandb"]
#: What trains architectures, one after the other or several at once.
ENGINES = ("sequential", "ray")
#: The options of a config that say what trainings run on, for commands that take these alone.
ENGINE_OPTIONS = ("engine", "ray", "jobs", "trial_time", "retries")
#: NNI's training services, each of which is refused as an engine.
NNI_ENGINES = ("local", "remote", "openpai", "aml", "kubeflow", "frameworkcontroller", "adl", "dlc", "hybrid")
#: The strategy that stands for whichever suits the time.
AUTO = "auto"
#: Hand-designed networks that are finalists of every search, in their widest form inside the budget.
FITTED_FINALISTS = ("mobilenetv3-small", "mobilenetv3-small-xsep")
#: What winners are compared with unless others are named: hand-designed networks fitted to the budget, and random ones.
DEFAULT_BASELINES = ("mobilenetv3-small@fit", "mobilenetv3-small-xsep@fit", "random:3")


@dataclass(frozen=True)
class StrategyConfig:
    """How the space is searched.

    Attributes:
        name: halving, gdas, evolution, ...; see `sepnas list strategies`. auto means halving, which trains real
            networks, if at least 30 trainings fit the time, and gdas, which trains one supernet, otherwise.
        options: options of that strategy by name; `sepnas list strategies` shows them with their defaults.
    """

    name: str = AUTO
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name != AUTO:
            registered(self.name)
        elif self.options:
            name, value = next(iter(self.options.items()))
            why = "belongs to one strategy, and auto may choose another"
            raise refusal(f"strategy.options.{name}", value, why, "set strategy.name")

    def typed_options(self) -> StrategyOptions:
        """The options as an instance of the strategy's option class; InvalidRequest for an unknown or ill-typed one.

        Of auto they are those of halving, which it prefers.
        """
        cls = registered("halving" if self.name == AUTO else self.name).options
        for name, value in self.options.items():
            if name not in options_of(cls):
                why = f"is unknown for {self.name}"
                raise refusal(f"strategy.options.{name}", value, why, nearest(name, options_of(cls)))
        return make(cls, self.options, "strategy.options.")


@dataclass(frozen=True)
class RetrainConfig(TrainingOptions):
    """How winners and baselines are trained for the comparison.

    Attributes:
        seeds: one training for each seed.
        recipe: the training recipe, the same for every network.
    """

    seeds: list[int] = option(factory=lambda: [0, 1, 2], least=0, most=SEED_LIMIT - 1)
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        check_options(self, "retrain")
        different = len(set(self.seeds)) == len(self.seeds) > 0
        require(different, "retrain.seeds", self.seeds, "must be one or more different whole numbers")


@dataclass(frozen=True)
class SearchConfig:
    """A search from data to winner, and how the winner is retrained.

    Attributes:
        data: images.
        space: candidates.
        budget: what the network may cost.
        fill: least share of the tightest upper bound that a network must use. Larger networks are mostly better; 0
            searches the whole budget. Without an upper bound, and for Pareto sets, the whole is searched.
        finalists: how many of the best candidates are trained to choose the winner. They are trained by the search's
            recipe beside hand-designed networks fitted to the budget, in rounds that keep the better half; the winner
            is the best on the validation images at the end. 0 takes the search's own best.
        finalist_seeds: rounds of training the finalists, each with another seed.
        costs: JSON files with your own costs, as `sepnas latency --table` writes. They are additive; budget.max_costs
            bounds them by name.
        strategy: the search strategy.
        time: time that strategy auto plans for, such as 90s, 30m or 2h. halving takes as many candidates as fit; null
            means 30m as the limit, and halving's usual number of candidates.
        search: recipe of the supernet's training or, where candidates are trained (halving, scoring "training"), of
            each candidate's.
        retrain: the final training.
        supernet: folder of a run whose trained supernet is reused. That may be for another budget; null to train one.
        engine: sequential (this machine) or ray (a cluster). Results are the same.
        ray: the Ray cluster of engine ray.
        devices: processes that share each batch of a supernet's training; GPUs, or CPU processes without one.
        jobs: trainings at once. Candidates and finalists get one thread each; the seeds of retrain and the networks of
            compare share the threads, or are trained one after the other if each takes several devices. null for one
            training per core, on a GPU for one, with Ray as many as the cluster has room for.
        trial_time: longest time for one training, such as 90s, 30m or 2h. It fails if it takes longer; null for no
            limit.
        retries: how often a killed training is restarted. One that is lost with its machine is too.
        max_failed: share of 8 or more candidates that may fail; one fails if its training diverges, lacks memory, takes
            longer than trial_time or is killed more often than retries allow. With more failures the search stops.
        seed: seed of everything random and of the data's splits.
        accelerator: auto uses the GPU where there is one.
        trackers: where metrics are logged: tensorboard, mlflow, wandb. Searches and final trainings log them as they
            run; tensorboard's lie in tracking/ in the run.
    """

    data: DataOptions = field(default_factory=DataOptions)
    space: SpaceOptions = field(default_factory=SpaceOptions)
    budget: Budget = field(default_factory=Budget)
    fill: float = option(0.85, least=0, below=1)
    finalists: int = option(5, least=0)
    finalist_seeds: int = option(3, least=1)
    costs: list[str] = field(default_factory=list)
    strategy: StrategyConfig = field(default_factory=StrategyConfig)
    time: str | None = None
    search: Recipe = field(default_factory=Recipe)
    retrain: RetrainConfig = field(default_factory=RetrainConfig)
    supernet: str | None = None
    engine: str = ENGINES[0]
    ray: RayOptions = field(default_factory=RayOptions)
    devices: int = option(1, least=1)
    jobs: int | None = option(None, least=1)
    trial_time: str | None = None
    retries: int = option(1, least=0)
    max_failed: float = option(0.5, least=0, most=1)
    seed: int = option(0, least=0, most=SEED_LIMIT - 1)
    accelerator: Accelerator = "auto"
    trackers: list[TrackerName] = field(default_factory=lambda: ["tensorboard"])

    def __post_init__(self) -> None:
        check_options(self)
        self._check_engine()
        if self.time is not None:
            seconds("time", self.time)
            why = f"has no effect with strategy.name {self.strategy.name}"
            require(self.strategy.name == AUTO, "time", self.time, why, "leave one of them out")
        options = self.strategy.typed_options()
        if self.supernet is not None and not options.inherits_weights:
            raise InvalidRequest(
                f'supernet: {self.supernet!r} is of no use to {self.strategy.name}; only scoring "supernet" takes one'
            )
        trains = options.trains_supernet and self.strategy.name != AUTO and self.supernet is None
        why = f"processes share the training of a supernet, and {self.strategy.name} here trains none, or not for sure"
        require(self.devices == 1 or trains, "devices", self.devices, why, "use jobs, or a strategy such as gdas")
        if isinstance(options, MultiTrialOptions) and self.strategy.name != AUTO:
            options.epochs_at_rungs(self.search.epochs)
        if isinstance(options, OneShotOptions) and options.warmup_epochs >= self.search.epochs:
            raise InvalidRequest(
                f"strategy.options.warmup_epochs: {options.warmup_epochs} leaves none of search.epochs"
                f" {self.search.epochs} to search; give fewer"
            )

    def _check_engine(self) -> None:
        if self.engine in NNI_ENGINES:
            why = "is a training service of NNI, which gives trials other trials' architectures and opens a port to all"
            raise refusal("engine", self.engine, why, "use sequential (with jobs), or ray for several machines")
        check_choice("engine", self.engine, ENGINES)
        if self.trial_time is not None:
            seconds("trial_time", self.trial_time)
        if self.engine != "ray":
            for own in fields(RayOptions):
                value = getattr(self.ray, own.name)
                why = f"has no effect with engine {self.engine}"
                require(value == own.default, f"ray.{own.name}", value, why, "set engine to ray, or leave it out")
            return
        if self.accelerator == "cuda":
            require(
                self.ray.gpus > 0,
                "ray.gpus",
                0,
                "gives trainings no GPU, which accelerator cuda asks for",
                "set it to 1",
            )
        for name in ("devices", "num_nodes"):
            value = getattr(self.retrain, name)
            why = "is not for engine ray, which spreads whole trainings by jobs and ray.gpus"
            require(value == 1, f"retrain.{name}", value, why, "set it to 1, or engine to sequential")

    def as_dict(self) -> dict[str, Any]:
        """Plain nested dicts, for YAML."""
        return asdict(self)


def seconds(where: str, text: str) -> float:
    """How long ``text``, as 90s, 30m or 2h, is; InvalidRequest, naming the option ``where``, for another text."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)(s|m|h)", text)
    if found is None or float(found[1]) == 0:
        raise refusal(where, text, "is not a time above 0", "write it like 90s, 30m or 2h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]
