"""``sepnas reproduce``: trains the networks of a paper's table row by row, and sets them beside what it prints."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from evaluators.data.images import ImageData
from evaluators.training.retrain import retrain
from evaluators.training.run import TrainingDiverged, TrainingRun
from experiments.options.config import SearchConfig
from experiments.reproduce.report import Trained, report_files, write_report
from experiments.reproduce.table import PaperTable, Row, Setting
from experiments.reproduce.tables import TABLES
from experiments.runs.claimed_folder import ClaimedFolder, FolderKind
from experiments.runs.engine import jobs_at_once
from experiments.runs.task import DataTask
from experiments.search.timing import part_of, short, threads_of_one
from experiments.training.retrain import (
    RESULT_FILE,
    check_request,
    data_config,
    read_result,
    trained_seeds,
    training_conditions,
)
from experiments.training.several import Wanted, retrain_several
from search_space.architecture import Architecture
from search_space.base.checks import refusal, require
from search_space.blueprint import AnyNetwork
from search_space.hand_designed import baseline
from search_space.layered_network import PlainNetwork

#: Steps of an epoch by which a row is timed.
_STEPS = 3
#: A folder of networks that were trained alike, and the reports of all tables that were made of them.
REPRODUCTION = FolderKind(
    "a reproduction",
    ("networks", *(file for table in TABLES.values() for file in report_files(table))),
    marker="reproduction.json",
    valuable=(f"networks/*/seed*/{RESULT_FILE}",),
)


@dataclass(frozen=True)
class Reproduction:
    """A table to be reproduced.

    Attributes:
        table: of a paper.
        setting: one of its settings, which the published figures are of.
        config: the images, and how the networks are trained on them.
        out: the folder for networks and report; tables that are trained alike can share it.
        width: multiplies the width of every row.
    """

    table: PaperTable
    setting: str
    config: SearchConfig
    out: Path
    width: float = 1.0

    @property
    def paper(self) -> Setting:
        """How the paper trained."""
        return self.table.settings[self.setting]

    def network(self, row: Row, task: DataTask) -> PlainNetwork:
        """The network of ``row`` for the images of ``task``; InvalidRequest if there is none for them."""
        assert row.network is not None
        network = baseline(row.network, **task.sizes, width=row.width * self.width)
        if row.operator is None:
            return network
        assert isinstance(network, Architecture)  # tables name operators for macro-architectures alone
        # a whole block has no expansion and no projection of its own
        own: dict[str, Any] = {"operator": row.operator, "expanded_channels": 0, "project_activation": "none"}
        return replace(network, blocks=tuple(replace(block, **own) for block in network.blocks))

    def home(self, row: Row) -> Path:
        """The folder of the trainings of ``row``."""
        return self.out / "networks" / row.home

    @property
    def request(self) -> dict[str, Any]:
        """What the folder's trainings and the figures beside them depend on."""
        own = {"setting": self.setting, "width": self.width}
        return {**training_conditions(self.config.retrain, data_config(self.config)), **own}


def chosen_rows(table: PaperTable, numbers: Collection[int] | None) -> list[Row]:
    """The rows of these numbers, counted from 1, or all; without those that are quoted alone.

    InvalidRequest if a number is none of a row.
    """
    for number in numbers or ():
        within, why = 1 <= number <= len(table.rows), f"is not a row of {table.name}"
        require(within, "--rows", number, why, f"it has rows 1 to {len(table.rows)}")
    rows = [row for number, row in enumerate(table.rows, 1) if numbers is None or number in numbers]
    if not (trained := [row for row in rows if row.network is not None]):
        raise refusal("--rows", ",".join(map(str, numbers or ())), "are quoted from the paper alone", "name others")
    return trained


def reproduce(wanted: Reproduction, rows: Collection[int] | None = None, *, overwrite: bool = False) -> list[Trained]:
    """Train the rows of these numbers (all by default) where they are not yet, and write the report after each.

    The report has every row, those without a training as well.

    Raises:
        InvalidRequest: a network cannot be trained on these images, or the folder holds other results; before the first
            is trained.
        TrainingDiverged: a training diverged; raised when all have been tried.
    """
    table, config = wanted.table, wanted.config
    chosen, task = chosen_rows(table, rows), DataTask(config.data, config.seed)
    folder = ClaimedFolder(wanted.out, REPRODUCTION)
    folder.check(wanted.request, overwrite=overwrite)
    for row in chosen:
        check_request(wanted.network(row, task), config, task, wanted.home(row), overwrite=overwrite)
    folder.claim(wanted.request, overwrite=overwrite)
    diverged = None
    for row in chosen:
        one = Wanted(f"{table.name}: {row.label}", wanted.network(row, task), wanted.home(row))
        try:
            retrain_several([one], config, task)
        except TrainingDiverged as error:
            diverged = diverged or error
        trained = finished(wanted)
        if trained:
            write_report(table, wanted.setting, trained, config, task, wanted.out, width=wanted.width)
    if diverged is not None:
        raise diverged
    return trained


def finished(wanted: Reproduction) -> list[Trained]:
    """The rows that have a training, in the table's order."""
    homes = {row.label: (row, wanted.home(row)) for row in wanted.table.rows if row.network is not None}
    return [Trained(row, read_result(home), home) for row, home in homes.values() if trained_seeds(home)]


def forecast(wanted: Reproduction, rows: Collection[int] | None = None) -> list[tuple[Row, PlainNetwork, float]]:
    """Each row with its network, and how many seconds one of its trainings takes on this machine.

    That is measured by a few steps of each network, as `reproduce` would train it. Writes nothing.
    """
    config = wanted.config
    task = DataTask(config.data, config.seed)
    found = []
    threads = torch.get_num_threads()
    sizes = task.data.sizes
    images = sizes["train"] + (sizes["validation"] if config.retrain.train_on == "train+validation" else 0)
    torch.set_num_threads(threads_of_one(jobs_at_once(config)))
    try:
        for row in chosen_rows(wanted.table, rows):
            network = wanted.network(row, task)
            check_request(network, config, task, wanted.home(row), overwrite=True)
            each = seconds_per_image(network, task.data, config)
            found.append((row, network, each * images * config.retrain.recipe.epochs))
    finally:
        torch.set_num_threads(threads)
    return found


def seconds_per_image(network: AnyNetwork, data: ImageData, config: SearchConfig) -> float:
    """Seconds of a training of ``network`` for each image of an epoch, by the second of two short epochs."""
    recipe = config.retrain.recipe
    part, run = part_of(data, _STEPS * recipe.batch_size), TrainingRun(accelerator=config.accelerator, title="forecast")
    run = replace(run, train_on="train", measure_on="validation")
    ends: list[dict[str, float]] = []
    retrain(network, part, short(recipe, 2), run, on_epoch=ends.append)
    return ends[1]["seconds"] / len(part.train)
