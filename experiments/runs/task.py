"""What a config means: images, the space for them, and the budget checked -- cheap questions first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evaluators.data.images import ImageData
from evaluators.data.load import describe, load_data, open_source
from evaluators.data.options import DataOptions
from evaluators.training.devices import check_precision, pick_accelerator
from experiments.options.config import SearchConfig, SpaceConfig
from experiments.options.files import is_macro_file
from experiments.runs.seeds import stream_seed
from search_space.base.errors import InvalidRequest
from search_space.candidates import SearchSpace
from search_space.cost_file import load_costs
from search_space.cost_table import CostTable
from search_space.macro_definition import MacroDefinition
from search_space.macro_file import load_macro, macro_from_dict
from strategies.budget.feasible import FeasibleSet, format_ranges
from strategies.factory import make_multi_trial
from strategies.multi_trial.pareto import check_objectives
from strategies.options import EnasOptions, MultiTrialOptions, NSGA2Options

#: What the training of a supernet measures on validation batches.
VALIDATION_METRICS = ("val_accuracy", "val_loss")


@dataclass(frozen=True)
class Task:
    """Images and the feasible part of the space for them."""

    data: ImageData
    space: SearchSpace
    feasible: FeasibleSet


def check_request(config: SearchConfig) -> None:
    """InvalidRequest for names, operators, recipes, options and budgets that cannot work; decodes no image.

    Whether images are grey can need a look into every file, so with ``channels: auto`` a budget is refused here only
    if it fails for grey and for colour images (they differ in the stem alone).
    """
    _check_recipe(config)
    classes = len(open_source(config.data).classes)
    refused = None
    for count in possible_channels(config):
        try:
            table = cost_table(config, _space(config, count, classes))
            _check_strategy(config, table)
            FeasibleSet(table, config.budget)
            return
        except InvalidRequest as error:
            refused = error
    if refused is not None:
        raise refused


def _check_recipe(config: SearchConfig) -> None:
    """InvalidRequest if ``config.search`` asks for what its trainings or their device cannot do."""
    from evaluators.training.supernet import check_supernet_recipe

    device = pick_accelerator(config.accelerator)
    if getattr(config.strategy.typed_options(), "scoring", "supernet") == "supernet":
        check_supernet_recipe(config.search)
    else:
        check_precision(config.search.precision, device)


def _check_strategy(config: SearchConfig, table: CostTable) -> None:
    """InvalidRequest if the strategy lacks a package, or if its options name what is not there."""
    options = config.strategy.typed_options()
    if isinstance(options, MultiTrialOptions):
        make_multi_trial(config.strategy.name, options, budget=config.budget, costs=table)
    if isinstance(options, NSGA2Options):
        check_objectives(options.objectives, table.metrics, "strategy.options.objectives")
    if isinstance(options, EnasOptions) and options.reward_metric_name not in (None, *VALIDATION_METRICS):
        raise InvalidRequest(
            f"strategy.options.reward_metric_name: {options.reward_metric_name!r} is not measured; known are"
            f" {', '.join(VALIDATION_METRICS)}"
        )


def load_task(config: SearchConfig) -> Task:
    """Load the images and check the budget exactly; prints what is searched and what is reachable."""
    data = load_images(config.data, config.seed)
    print(describe(data))
    space = _space(config, data.channels, len(data.classes))
    table = cost_table(config, space)
    print(f"space: {space.size:.3g} architectures; reachable are {format_ranges(table)}")
    feasible = FeasibleSet(table, config.budget)
    print(f"budget: {config.budget}")
    return Task(data, space, feasible)


def load_images(config: DataOptions, seed: int) -> ImageData:
    """The images of a data config, split by a stream of ``seed``."""
    data = load_data(config, seed=stream_seed(seed, "splits"))
    if data.skipped:
        shown = ", ".join(data.skipped[:3]) + (", ..." if len(data.skipped) > 3 else "")
        print(f"skipped {len(data.skipped)} unreadable images: {shown}")
    return data


def space_arguments(config: SpaceConfig, image_size: int, channels: int, classes: int) -> dict[str, Any]:
    """Arguments of `SearchSpace.create` and of `SepConvSpace` for a config and the images it is for."""
    return {
        "macro_name": _macro(config.macro),
        "image_size": image_size,
        "in_channels": channels,
        "classes": classes,
        "width": config.width,
        "operators": config.operators,
        "widths": config.widths,
        "search_se": config.search_se,
        "stages": config.stages,
    }


def cost_table(config: SearchConfig, space: SearchSpace) -> CostTable:
    """MACs and params of every candidate of ``space``, and the user's own costs that the config names."""
    table = space.cost_table
    for path in config.costs:
        try:
            table = load_costs(path).added_to(table)
        except InvalidRequest as error:
            raise InvalidRequest(f"costs: {path}: {error}") from None
    return table


def _space(config: SearchConfig, channels: int, classes: int) -> SearchSpace:
    return SearchSpace.create(**space_arguments(config.space, config.data.image_size, channels, classes))


def light_space(config: SearchConfig) -> SearchSpace:
    """The space of a config without a look at its images: where ``data.channels`` is auto, colour is assumed."""
    return _space(config, possible_channels(config)[-1], len(open_source(config.data).classes))


def possible_channels(config: SearchConfig) -> tuple[int, ...]:
    """Input channels that the images can have, as far as that is known without decoding them."""
    return open_source(config.data).channels if config.data.channels == "auto" else (config.data.channels,)


def _macro(given: str | dict[str, Any]) -> str | MacroDefinition:
    """A macro-architecture's name as it is, one's own as its definition."""
    if isinstance(given, dict):
        return macro_from_dict(given, "space.macro")
    return load_macro(given) if is_macro_file(given) else given
