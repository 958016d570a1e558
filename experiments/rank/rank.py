"""A report card of a supernet: does it rank architectures as their own trainings do?"""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.base.progress import progress_bar
from evaluators.measuring.inherited import InheritedAccuracy
from evaluators.measuring.ranking import LEAST, Ranking, rank_agreement
from evaluators.training.devices import check_precision, pick_accelerator
from evaluators.training.recipes import Recipe
from evaluators.training.retrain import retrain
from evaluators.training.run import Accelerator, TrainingDiverged, TrainingRun
from experiments.options.config import SearchConfig
from experiments.rank.report import Measured, RankReport, write_report
from experiments.rank.verdict import verdict
from experiments.runs.claimed_folder import ClaimedFolder, FolderKind
from experiments.runs.files import Table, sweep
from experiments.runs.folder import RunFolder
from experiments.runs.records import metrics_rows, metrics_writer
from experiments.runs.task import SearchTask, stream_seed
from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest
from search_space.network_cost import cost
from search_space.weights import load_weights
from strategies.budget.feasible import FeasibleSet
from strategies.options import MultiTrialOptions

ABOUT_FILE = "about.json"
SCORES_FILE = "scores.csv"
TRAINING_FOLDER = "training"
RANKING = FolderKind(
    name="a ranking",
    files=(SCORES_FILE, TRAINING_FOLDER, "rank.csv", "rank.json", "rank.md", "rank.png"),
    marker=ABOUT_FILE,
)


def rank(
    run: RunFolder,
    config: SearchConfig,
    *,
    n: int = 30,
    seeds: Sequence[int] = (0, 1),
    recipe: Recipe | None = None,
    folder: Path | None = None,
    overwrite: bool = False,
) -> RankReport:
    """Judge the supernet of ``run`` and write the report into ``folder`` (default: ``rank`` in the run).

    ``n`` architectures spread over the MACs inside the budget are measured with the weights they inherit, and trained
    on their own once for each seed by ``recipe`` (default: that of the config's retraining). All are trained on the
    training images and measured on the validation images; the test images are not looked at. ``config`` is the run's.

    Every result is put on record as it comes: a killed call goes on from its last whole epoch, and another ``n`` or
    more seeds use what is there. InvalidRequest, before anything is written, if the run has no supernet, or if the
    folder holds results of another supernet, recipe or data (unless ``overwrite``, which deletes them).
    """
    folder = run.path / "rank" if folder is None else folder
    recipe = config.retrain.recipe if recipe is None else recipe
    _check_request(run, n, seeds)
    device = pick_accelerator(config.accelerator)
    check_precision(recipe.precision, device)
    request = _request(run, config, recipe)
    claimed = ClaimedFolder(folder, RANKING)
    claimed.check(request, overwrite=overwrite)
    task = SearchTask(config)
    task.announce()
    samples = draw_spread(task.feasible, n, stream_seed(config.seed, "rank"))
    claimed.claim(request, overwrite=overwrite)
    record = ScoreTable(folder / SCORES_FILE)
    architectures = [task.space.architecture(sample) for sample in samples]
    trainings = [(architecture, seed) for seed in seeds for architecture in architectures]
    with progress_bar(n + len(trainings), "rank", "result") as bar:
        _score_inherited(run, config, task, samples, record, device, bar)
        for architecture, seed in trainings:
            _train(architecture, seed, task, recipe, config.accelerator, folder, record, bar)
    shutil.rmtree(folder / TRAINING_FOLDER, ignore_errors=True)
    measured = [_measured(architecture, seeds, record) for architecture in architectures]
    agreement = _agreement(measured, config.seed)
    report = RankReport(
        measured=measured,
        seeds=list(seeds),
        agreement=agreement,
        verdict=verdict(agreement, _supernet_options(config).sampling),
        recipe=recipe,
        validation_images=len(task.data.validation),
    )
    write_report(report, config, device, folder)
    return report


def draw_spread(feasible: FeasibleSet, n: int, seed: int) -> list[dict[str, str]]:
    """``n`` different samples inside the budget, spread evenly over its MACs, cheapest first.

    Where bins of MACs are empty, uniform draws make up the number. InvalidRequest if there are not so many.
    """
    rng = np.random.RandomState(seed)
    rows = dict.fromkeys(map(tuple, feasible.spread(rng, n, metric="macs").tolist()))
    for _ in range(20):
        if len(rows) >= n:
            break
        rows.update(dict.fromkeys(map(tuple, feasible.sample_many(rng, n).tolist())))
    if len(rows) < n:
        raise InvalidRequest(
            f"n: {n}, but the budget holds {len(rows)} different architectures; give at most that many"
        )
    drawn = np.array(list(rows)[:n])
    order = np.argsort(feasible.table.evaluate(drawn, ("macs",))["macs"], kind="stable")
    return [feasible.table.sample(drawn[i]) for i in order]


@dataclass(frozen=True)
class Score:
    """An accuracy (NaN for a training that diverged) and the seconds it took."""

    accuracy: float
    seconds: float


class ScoreTable:
    """``scores.csv``: each accuracy as it was measured, by architecture and what measured it."""

    def __init__(self, path: Path) -> None:
        self._table = Table(path, ("measure", "accuracy", "seconds", "architecture"))
        self._known = {
            (row["measure"], row["architecture"]): Score(float(row["accuracy"]), float(row["seconds"]))
            for row in self._table.rows
        }

    def get(self, measure: str, architecture: Architecture) -> Score | None:
        """The score on record, if there is one."""
        return self._known.get((measure, str(architecture)))

    def add(self, measure: str, architecture: Architecture, score: Score) -> None:
        """Record one more."""
        row = {"measure": measure, "accuracy": repr(score.accuracy), "seconds": f"{score.seconds:.2f}"}
        self._table.append({**row, "architecture": str(architecture)})
        self._known[measure, str(architecture)] = score


def _check_request(run: RunFolder, n: int, seeds: Sequence[int]) -> None:
    if not run.supernet.is_file():
        raise InvalidRequest(
            f"run: {run.path} has no trained supernet to rank by; take a run of evolution (or random, ...) with scoring"
            ' "supernet", once its supernet is trained'
        )
    if n < LEAST:
        raise InvalidRequest(f"n: {n} architectures have no meaningful rank correlation; give {LEAST} or more, 30 say")
    if not seeds or len(set(seeds)) != len(seeds) or not all(0 <= seed < 2**32 for seed in seeds):
        raise InvalidRequest(f"seeds: {list(seeds)} must be one or more different whole numbers from 0 to {2**32 - 1}")


def _request(run: RunFolder, config: SearchConfig, recipe: Recipe) -> dict[str, Any]:
    """All that the scores depend on, apart from architecture and seed."""
    with run.supernet.open("rb") as stream:
        weights = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "supernet": weights,
        "calibration_images": _supernet_options(config).images_to_calibrate,
        "recipe": asdict(recipe),
        "data": {**config.data.deciding(), "seed": config.seed},
    }


def _supernet_options(config: SearchConfig) -> MultiTrialOptions:
    """The options of the strategy whose supernet ranks; of another kind of strategy, which has none, the defaults."""
    options = config.strategy.typed_options()
    return options if isinstance(options, MultiTrialOptions) else MultiTrialOptions()


def _score_inherited(
    run: RunFolder,
    config: SearchConfig,
    task: SearchTask,
    samples: list[dict[str, str]],
    record: ScoreTable,
    device: str,
    bar: Any,
) -> None:
    """Accuracy of every sample by the supernet's weights, measured as the search does it."""
    missing = [s for s in samples if record.get("supernet", task.space.architecture(s)) is None]
    bar.update(len(samples) - len(missing))
    if not missing:
        return
    from experiments.search.search import supernet  # brings NNI

    space = supernet(config, task)
    load_weights(space, run.supernet)
    inherited = InheritedAccuracy(
        task.data,
        calibration_images=_supernet_options(config).images_to_calibrate,
        seed=stream_seed(config.seed, "calibration"),
        device=device,
    )
    for sample in missing:
        start = time.perf_counter()
        network = space.freeze(sample)
        accuracy = inherited(network)
        record.add("supernet", network.architecture, Score(accuracy, time.perf_counter() - start))
        bar.update(1)


def _train(
    architecture: Architecture,
    seed: int,
    task: SearchTask,
    recipe: Recipe,
    accelerator: Accelerator,
    folder: Path,
    record: ScoreTable,
    bar: Any,
) -> None:
    """Train ``architecture`` on its own, unless that is on record; a training that diverges is recorded as NaN."""
    measure = f"seed{seed}"
    # a name of its own: another --n trains other architectures
    home = folder / TRAINING_FOLDER / f"{hashlib.sha256(str(architecture).encode()).hexdigest()[:16]}-{measure}"
    if record.get(measure, architecture) is None:
        home.mkdir(parents=True, exist_ok=True)
        sweep(home)
        try:
            run = TrainingRun(
                seed=seed,
                train_on="train",
                measure_on="validation",
                accelerator=accelerator,
                folder=home,
                title=f"seed {seed}",
            )
            report = metrics_writer(home / "metrics.csv", "rank")
            accuracy = retrain(architecture, task.data, recipe, run, on_epoch=report).accuracy
        except TrainingDiverged:
            accuracy = math.nan
        # of all epochs: a resumed training has run for longer than this process
        seconds = sum(float(row["seconds"]) for row in metrics_rows(home / "metrics.csv"))
        record.add(measure, architecture, Score(accuracy, seconds))
    shutil.rmtree(home, ignore_errors=True)
    bar.update(1)


def _measured(architecture: Architecture, seeds: Sequence[int], record: ScoreTable) -> Measured:
    scores = [record.get(measure, architecture) for measure in ("supernet", *(f"seed{seed}" for seed in seeds))]
    inherited, *trained = [score for score in scores if score is not None]
    costs = cost(architecture)
    return Measured(
        architecture=architecture,
        macs=costs.macs,
        params=costs.params,
        supernet=inherited.accuracy,
        standalone=[score.accuracy for score in trained],
        seconds=sum(score.seconds for score in trained),
    )


def _agreement(measured: list[Measured], seed: int) -> Ranking:
    sound = [one for one in measured if not one.failed]
    if not sound:
        raise RuntimeError("training diverged for every architecture; lower --recipe.learning_rate")
    return rank_agreement(
        [one.supernet for one in sound],
        [one.standalone for one in sound],
        {"macs": [one.macs for one in sound], "params": [one.params for one in sound]},
        seed=stream_seed(seed, "bootstrap"),
    )
