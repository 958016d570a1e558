"""Tables of architectures, each trained on its own: the truth that supernets and models of scores are judged by."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.base.progress import progress_bar
from evaluators.training.devices import check_precision, pick_accelerator
from evaluators.training.loaders import check_augmentation
from evaluators.training.recipes import Recipe
from evaluators.training.run import TrainingRun
from experiments.options.config import SearchConfig
from experiments.options.values import make
from experiments.runs.claimed_folder import IMAGES, ClaimedFolder, FolderKind, first_difference
from experiments.runs.engine import check_engine
from experiments.runs.files import sweep
from experiments.runs.held import held
from experiments.runs.scores import SCORES_FILE, ScoreTable
from experiments.runs.task import SearchTask
from experiments.runs.trainings import Trainings
from search_space.architecture import Architecture
from search_space.base.checks import SEED_LIMIT, check_int, require
from search_space.base.errors import InvalidRequest

ABOUT_FILE = "about.json"
TRAINING_FOLDER = "training"
TRIALS_FILE = "trials.csv"
TABLE = FolderKind(name="a table", files=(SCORES_FILE, TRIALS_FILE, TRAINING_FOLDER), marker=ABOUT_FILE)


def tabulate(
    config: SearchConfig, folder: Path, *, n: int = 100, seeds: Sequence[int] = (0,), overwrite: bool = False
) -> ScoreTable:
    """Train ``n`` architectures of the part of the space that ``config`` searches, once for each of ``seeds``.

    They are drawn uniformly, the first ``n`` of one sequence that the config's seed decides, so that more can be added
    later: what ``folder`` holds is not trained again, and a training that was killed goes on from its last whole epoch.
    All are trained on the training images by the recipe of the config's retraining and measured on the validation
    images; the test images are not looked at.

    Raises:
        InvalidRequest: the budget holds fewer than ``n`` architectures, or the folder a table made differently.
    """
    check_int("n", n, 1)
    check_seeds(seeds)
    recipe = config.retrain.recipe
    check_precision(recipe.precision, pick_accelerator(config.accelerator))
    check_engine(config)
    task = SearchTask(config)
    check_augmentation(recipe, task.channels, config.data.image_size)
    of_space = {key: config.as_dict()[key] for key in ("space", "budget", "fill")}
    request = {**deciding(config, recipe), "classes": list(task.classes), **of_space}
    claimed = ClaimedFolder(folder, TABLE)
    claimed.check(request, overwrite=overwrite)
    task.announce()
    architectures = task.draw(task.searched, n, "table")
    if len(architectures) < n:
        raise InvalidRequest(
            f"n: {n}, but only {len(architectures)} architectures are searched; give at most that many"
        )
    with held(folder):
        claimed.claim({**request, IMAGES: task.data.fingerprint}, overwrite=overwrite)
        record = ScoreTable(folder / SCORES_FILE)
        with progress_bar(n * len(seeds), "tabulate", "training") as bar:
            train_each(architectures, seeds, task, recipe, folder, record, bar)
        shutil.rmtree(folder / TRAINING_FOLDER, ignore_errors=True)
    return record


def summary(table: ScoreTable) -> str:
    """Some lines on the accuracies in a table: their range, and the noise of one training."""
    trained = table.trained()
    sound = [np.array([score.accuracy for score in scores.values()]) for scores in trained.values()]
    sound = [values for values in sound if np.isfinite(values).all()]
    if not sound:
        return "every training diverged; lower retrain.recipe.learning_rate"
    means = 100 * np.array([values.mean() for values in sound])
    lines = [
        f"{len(trained)} architectures, {sum(map(len, trained.values()))} trainings,"
        f" {len(trained) - len(sound)} architectures with one that diverged",
        f"validation accuracy: mean {means.mean():.2f} %, std over architectures {means.std():.2f}, range"
        f" {means.min():.2f} to {means.max():.2f} %",
    ]
    several = [values.var(ddof=1) for values in sound if len(values) > 1]
    if several:
        lines.append(f"std over seeds: {100 * np.sqrt(np.mean(several)):.2f} ({len(several)} architectures)")
    return "\n".join(lines)


def open_table(folder: Path, task: SearchTask) -> tuple[ScoreTable, Recipe]:
    """The table in ``folder`` and the recipe of its trainings.

    InvalidRequest if there is none, or if it is of other images than those of ``task``: what was held out there may
    have been trained on here. Where the images lie does not count, as tables travel.
    """
    claimed = ClaimedFolder(folder, TABLE, field="against")
    if not claimed.is_claimed or not (folder / SCORES_FILE).is_file():
        raise InvalidRequest(f"against: {folder} holds no table; `sepnas tabulate` makes one")
    request = claimed.request()
    mine = {**deciding(task.config, Recipe()), "classes": list(task.classes)}
    kept, asked = (
        {"classes": own.get("classes"), "data": {**data, "name": None} if isinstance(data, dict) else data}
        for own in (request, json.loads(json.dumps(mine)))
        for data in [own.get("data")]
    )
    difference = first_difference(kept, asked)
    if difference is not None:
        raise InvalidRequest(
            f"against: {folder} is a table of other images ({difference}); give one of the same images"
        )
    return ScoreTable(folder / SCORES_FILE), make(Recipe, request.get("recipe", {}), "against.recipe.")


def deciding(config: SearchConfig, recipe: Recipe) -> dict[str, Any]:
    """All that the scores of a training depend on, apart from architecture and seed."""
    return {"recipe": asdict(recipe), "data": {**config.data.deciding(), "seed": config.seed}}


def check_seeds(seeds: Sequence[int]) -> None:
    """InvalidRequest unless these are different seeds, one at least."""
    sound = seeds and len(set(seeds)) == len(seeds) and all(0 <= seed < SEED_LIMIT for seed in seeds)
    require(bool(sound), "seeds", list(seeds), f"must be one or more different whole numbers below {SEED_LIMIT}")


def train_each(
    architectures: Sequence[Architecture],
    seeds: Sequence[int],
    task: SearchTask,
    recipe: Recipe,
    folder: Path,
    record: ScoreTable,
    bar: Any,
) -> None:
    """Train each architecture with each seed unless that is on record, several at once as the config's ``jobs`` say.

    What is half trained lies in `TRAINING_FOLDER`; one that fails is recorded as NaN, and in `TRIALS_FILE` with its
    reason.
    """
    missing = [
        (seed, architecture)
        for seed in seeds
        for architecture in architectures
        if record.get(f"seed{seed}", architecture) is None
    ]
    bar.update(len(seeds) * len(architectures) - len(missing))
    homes = [folder / TRAINING_FOLDER / f"{_digest(architecture)}-seed{seed}" for seed, architecture in missing]
    runs = [
        TrainingRun(
            seed=seed,
            train_on="train",
            measure_on="validation",
            accelerator=task.config.accelerator,
            folder=home,
            title=f"seed {seed}",
        )
        for (seed, _), home in zip(missing, homes, strict=True)
    ]
    for home in homes:
        home.mkdir(parents=True, exist_ok=True)
        sweep(home)
    with closing(Trainings(task, recipe, len(missing), folder / TRIALS_FILE)) as trainings:
        calls = [(architecture, run) for (_, architecture), run in zip(missing, runs, strict=True)]
        for (seed, architecture), home, score in zip(missing, homes, trainings.each(calls), strict=True):
            record.add(f"seed{seed}", architecture, score)
            shutil.rmtree(home, ignore_errors=True)
            bar.update(1)


def _digest(architecture: Architecture) -> str:
    return hashlib.sha256(str(architecture).encode()).hexdigest()[:16]
