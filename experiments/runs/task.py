"""What a config stands for: the images, the space, the part of it inside the budget."""

from __future__ import annotations

import zlib
from dataclasses import asdict, replace
from functools import cached_property
from typing import Literal

import numpy as np

from evaluators.data.images import ImageData
from evaluators.data.load import describe, image_channels, load_data, open_source
from evaluators.data.options import DataOptions
from evaluators.sources.base import Source
from evaluators.training.devices import check_precision, pick_accelerator
from evaluators.training.loaders import check_augmentation
from experiments.options.config import SearchConfig
from experiments.runs.engine import check_engine
from experiments.runs.experience import experience
from search_space.architecture import Architecture
from search_space.base.checks import printable
from search_space.base.errors import InvalidRequest
from search_space.candidates import SearchSpace
from search_space.cost_file import load_costs
from search_space.cost_table import CostTable
from search_space.hand_designed import FIT_SUFFIX, fit_baseline
from search_space.layered_network import PlainNetwork
from search_space.network_cost import cost
from strategies.budget.budget import Budget
from strategies.budget.feasible import FeasibleSet, format_ranges
from strategies.multi_trial.halving import HalvingOptions

#: What the training of a supernet measures on validation batches.
VALIDATION_METRICS = ("val_accuracy", "val_loss")


def stream_seed(seed: int, purpose: str) -> int:
    """A 31-bit seed for ``purpose``; streams of different purposes or seeds are independent."""
    key = zlib.crc32(purpose.encode())  # the same on every machine, unlike hash()
    return int(np.random.SeedSequence([seed, key]).generate_state(1)[0] >> 1)


class DataTask:
    """The images that options name. They are listed when first asked about and decoded when first needed, each once.

    Args:
        options: the data section of a config.
        seed: of the config; a stream of it decides the splits.
    """

    def __init__(self, options: DataOptions, seed: int) -> None:
        self.options = options
        self.seed = seed

    @cached_property
    def source(self) -> Source:
        """The listed data set; InvalidRequest if it cannot be used."""
        return open_source(self.options)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.source.classes

    @cached_property
    def channels(self) -> Literal[1, 3]:
        """1 for grey images, 3 for colour; with ``channels: auto`` this can need a look at the headers of the files."""
        return image_channels(self.options, self.source)

    @property
    def sizes(self) -> dict[str, int]:
        """What an architecture needs to know of the images, as `baseline` and `SearchSpace.create` take it."""
        return {"image_size": self.options.image_size, "in_channels": self.channels, "classes": len(self.classes)}

    @cached_property
    def data(self) -> ImageData:
        """The decoded images; prints which unreadable ones were skipped."""
        _ = self.classes  # the listing is not kept: that of an archive holds its pixels
        options = replace(self.options, channels=self.channels)
        data = load_data(options, seed=stream_seed(self.seed, "splits"), source=self.source)
        del self.source
        if data.skipped:
            names = ", ".join(map(printable, data.skipped[:3])) + (", ..." if len(data.skipped) > 3 else "")
            print(f"skipped {len(data.skipped)} unreadable images: {names}")
        return data


class SearchTask(DataTask):
    """A search: its images, the space for them, and the part of the space inside the budget."""

    def __init__(self, config: SearchConfig) -> None:
        super().__init__(config.data, config.seed)
        self.config = config

    @cached_property
    def space(self) -> SearchSpace:
        """The space for these images."""
        return SearchSpace.create(self.config.space, **self.sizes)

    @cached_property
    def table(self) -> CostTable:
        """What the candidates cost, and what earlier trainings say of them if the strategy wants to know."""
        table, options = cost_table(self.config, self.space), self.config.strategy.typed_options()
        if isinstance(options, HalvingOptions) and options.experience:
            table = replace(table, experience=experience(self.space, options.experience))
        return table

    @cached_property
    def feasible(self) -> FeasibleSet:
        """The architectures inside the budget; InvalidRequest if there are none."""
        return FeasibleSet(self.table, self.config.budget)

    @cached_property
    def searched(self) -> FeasibleSet:
        """The part of `feasible` that is searched: what fills the budget as far as the config's ``fill`` says."""
        bounded = any(high is not None for _, high in self.config.budget.bounds().values())
        pareto = self.config.strategy.typed_options().objectives_beside_accuracy
        if not self.config.fill or not bounded or pareto:
            return self.feasible
        return self.feasible.top_part(self.config.fill)

    def fitted(self, name: str, budget: Budget | None = None) -> tuple[PlainNetwork, float]:
        """A hand-designed network in its widest form inside the budget (or another one), and its width multiplier.

        Only bounds on MACs and params count: other costs are known for candidates of the space alone. InvalidRequest if
        there is no such form.
        """
        exact = (self.config.budget if budget is None else budget).exact
        upper = Budget(max_macs=exact.max_macs, max_params=exact.max_params)
        network, width = fit_baseline(name, lambda costs: upper.admits(asdict(costs)), **self.sizes)
        if not exact.admits(asdict(cost(network))):
            raise InvalidRequest(
                f"baseline: {name}{FIT_SUFFIX} costs {cost(network)} in its widest form below the upper bounds, which"
                f" is outside {exact}; loosen the budget or leave it out"
            )
        return network, width

    def draw(self, feasible: FeasibleSet, n: int, purpose: str) -> list[Architecture]:
        """The first ``n`` of a sequence of different architectures, uniform over ``feasible``; fewer if it has no more.

        The config's seed and ``purpose`` decide the sequence, so more of it begins with the same ones.
        """
        rng = np.random.RandomState(stream_seed(self.seed, purpose))
        drawn: dict[Architecture, None] = {}
        while len(drawn) < min(n, feasible.count):
            drawn[self.space.architecture(feasible.table.sample(feasible.sample_many(rng, 1)[0]))] = None
        return list(drawn)

    def check(self) -> None:
        """InvalidRequest if something in the config cannot work; decodes no image."""
        from evaluators.training.supernet import check_supernet_recipe

        check_engine(self.config)
        device = pick_accelerator(self.config.accelerator)
        options = self.config.strategy.typed_options()
        if options.trains_supernet:
            check_supernet_recipe(self.config.search)
        else:
            check_precision(self.config.search.precision, device)
        check_augmentation(self.config.search, self.channels, self.config.data.image_size)
        options.check_packages()
        options.check_names(self.table.metrics, VALIDATION_METRICS)
        _ = self.feasible

    def announce(self) -> None:
        """Load the images; print what is searched and what is reachable."""
        feasible = self.feasible
        print(describe(self.data))
        print(f"space: {self.space.size:.3g} architectures; reachable: {format_ranges(self.table)}")
        print(f"budget: {feasible.budget}")
        if self.searched is not feasible:
            print(f"searched: {self.searched.budget} (fill {self.config.fill:g})")


def cost_table(config: SearchConfig, space: SearchSpace) -> CostTable:
    """MACs and params of every candidate of ``space``, and the user's own costs that the config names."""
    table = space.cost_table
    for path in config.costs:
        try:
            table = load_costs(path).added_to(table)
        except InvalidRequest as error:
            raise InvalidRequest(f"costs: {path}: {error}") from None
    return table
