"""A report card: does a supernet, or a model of scores, rank architectures as their own trainings do?"""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.base.progress import progress_bar
from evaluators.measuring.inherited import InheritedQuality
from evaluators.measuring.ranking import LEAST, Ranking, rank_agreement
from evaluators.training.devices import check_precision, pick_accelerator
from evaluators.training.loaders import check_augmentation
from evaluators.training.recipes import Recipe
from experiments.options.config import SearchConfig
from experiments.rank.report import Measured, RankReport, write_report
from experiments.rank.table import (
    ABOUT_FILE,
    TRAINING_FOLDER,
    TRIALS_FILE,
    check_seeds,
    deciding,
    open_table,
    train_each,
)
from experiments.rank.verdict import MODEL, Source, supernet_source, verdict
from experiments.runs.claimed_folder import IMAGES, ClaimedFolder, FolderKind
from experiments.runs.engine import check_engine
from experiments.runs.folder import RANK_FILE, RunFolder
from experiments.runs.held import held
from experiments.runs.records import ScoreRecord
from experiments.runs.scores import SCORES_FILE, Score, ScoreTable
from experiments.runs.task import SearchTask, stream_seed
from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest
from search_space.network_cost import cost
from search_space.weights import load_weights
from strategies.budget.feasible import FeasibleSet
from strategies.options import MultiTrialOptions

RANKING = FolderKind(
    name="a ranking",
    files=(SCORES_FILE, TRIALS_FILE, TRAINING_FOLDER, "rank.csv", RANK_FILE, "rank.md", "rank.png"),
    marker=ABOUT_FILE,
)


def rank(
    run: RunFolder,
    config: SearchConfig,
    *,
    n: int = 30,
    seeds: Sequence[int] = (0, 1),
    recipe: Recipe | None = None,
    against: Path | None = None,
    folder: Path | None = None,
    overwrite: bool = False,
) -> RankReport:
    """Judge what ``run`` has learnt of its space and write the report into ``folder`` (default: ``rank`` in the run).

    A run with a supernet is judged by the losses that architectures have with inherited weights; another one by a
    model (`strategies.multi_trial.predictor`) of the scores that its trainings gave, which predicts the others.

    ``n`` architectures spread over the MACs inside the budget are trained on their own once for each seed by ``recipe``
    (default: that of the config's retraining), or those of the table ``against`` are taken as they are and nothing is
    trained. All were trained on the training images and measured on the validation images; the test images are not
    looked at. ``config`` is the run's.

    Every result is put on record as it comes: a killed call goes on from its last whole epoch, and another ``n`` or
    more seeds use what is there.

    Raises:
        InvalidRequest: before anything is written, if the run has learnt nothing, if the folder holds results of
            another supernet, recipe or data (unless ``overwrite``, which deletes them), or the table is of other data.
    """
    folder = run.path / "rank" if folder is None else folder
    recipe = config.retrain.recipe if recipe is None else recipe
    if n < LEAST:
        raise InvalidRequest(f"n: {n} architectures have no meaningful rank correlation; give {LEAST} or more, 30 say")
    check_seeds(seeds)
    source = _source(run, config)
    device = pick_accelerator(config.accelerator)
    check_precision(recipe.precision, device)
    check_engine(config)
    task = SearchTask(config)
    check_augmentation(recipe, task.channels, config.data.image_size)
    request: dict[str, Any] = {
        "judged": _fingerprint(run, source),
        "calibration_images": _options(config).images_to_calibrate,
        "score": _options(config).scores[0],
    }
    if against is None:
        request |= deciding(config, recipe)
        table = None
    else:
        table, recipe = open_table(against, task)
        request |= {"against": str(against.resolve()), **deciding(config, recipe)}
    claimed = ClaimedFolder(folder, RANKING)
    claimed.check(request, overwrite=overwrite)
    task.announce()
    if table is None:
        samples = draw_spread(task.feasible, n, stream_seed(config.seed, "rank"))
    else:
        samples = _samples(table, task)
    architectures = [task.space.architecture(sample) for sample in samples]
    bar = progress_bar(len(samples) * (1 if table else 1 + len(seeds)), "rank", "result")
    with held(folder), bar:
        claimed.claim({**request, IMAGES: task.data.fingerprint}, overwrite=overwrite)
        record = ScoreTable(folder / SCORES_FILE)
        predicted = _predict(source, run, task, samples, record, bar)
        if table is None:
            train_each(architectures, seeds, task, recipe, folder, record, bar)
        shutil.rmtree(folder / TRAINING_FOLDER, ignore_errors=True)
    trained = (record if table is None else table).trained()
    wanted = sorted({seed for scores in trained.values() for seed in scores}) if table else list(seeds)
    measured = [
        _measured(
            architecture, guess, {seed: trained[architecture][seed] for seed in wanted if seed in trained[architecture]}
        )
        for architecture, guess in zip(architectures, predicted, strict=True)
    ]
    agreement = _agreement(measured, wanted, config.seed)
    report = RankReport(
        source=source,
        measured=measured,
        seeds=wanted,
        agreement=agreement,
        verdict=verdict(agreement, source),
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


def _samples(table: ScoreTable, task: SearchTask) -> list[dict[str, str]]:
    """The architectures of a table as samples of the run's space, cheapest first; those outside it are left out."""
    samples = []
    for architecture in sorted(table.trained(), key=lambda own: cost(own).macs):
        with suppress(InvalidRequest):
            samples.append(task.space.sample(architecture))
    if len(samples) < LEAST:
        raise InvalidRequest(
            f"against: {len(samples)} of the table's architectures are in the run's space, and {LEAST} are the least;"
            " give a table of the same space"
        )
    return samples


def _source(run: RunFolder, config: SearchConfig) -> Source:
    """What the run has learnt; InvalidRequest if that is nothing."""
    options = config.strategy.typed_options()
    if run.supernet.is_file():
        return supernet_source(_options(config))
    if isinstance(options, MultiTrialOptions) and not options.inherits_weights and run.architectures.is_file():
        return MODEL
    raise InvalidRequest(
        f"run: {run.path} has neither a trained supernet nor scores of trainings to rank by; give a run of evolution"
        ' (or random, ...) with scoring "supernet", once its supernet is trained, or a run of halving'
    )


def _fingerprint(run: RunFolder, source: Source) -> str:
    """Of what is judged."""
    with (run.architectures if source is MODEL else run.supernet).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _options(config: SearchConfig) -> MultiTrialOptions:
    """The options of the strategy whose supernet ranks; of another kind of strategy, which has none, the defaults."""
    options = config.strategy.typed_options()
    return options if isinstance(options, MultiTrialOptions) else MultiTrialOptions()


def _predict(
    source: Source, run: RunFolder, task: SearchTask, samples: list[dict[str, str]], record: ScoreTable, bar: Any
) -> list[float]:
    """What ``source`` says of every sample, more being better."""
    if source is MODEL:
        from strategies.multi_trial.predictor import predict_scores

        first: dict[Architecture, float] = {}  # later scores of halving are of longer trainings
        for scored in ScoreRecord(run.architectures, _options(task.config).scores).scored:
            if math.isfinite(scored.score):
                first.setdefault(scored.architecture, scored.score)
        known = [task.space.sample(architecture) for architecture in first]
        bar.update(len(samples))
        return predict_scores(task.table, known, list(first.values()), samples)
    _score_inherited(run, task, samples, record, bar)
    scores = [record.get("supernet", task.space.architecture(sample)) for sample in samples]
    name = _options(task.config).scores[0]
    return [score.score(name) for score in scores if score is not None]


def _score_inherited(
    run: RunFolder, task: SearchTask, samples: list[dict[str, str]], record: ScoreTable, bar: Any
) -> None:
    """Accuracy and loss of every sample by the supernet's weights, measured as the search does it."""
    missing = [s for s in samples if record.get("supernet", task.space.architecture(s)) is None]
    bar.update(len(samples) - len(missing))
    if not missing:
        return
    from experiments.search.supernets import supernet  # brings NNI

    space = supernet(task.config, task)
    load_weights(space, run.supernet)
    inherited = InheritedQuality(
        task.data,
        calibration_images=_options(task.config).images_to_calibrate,
        seed=stream_seed(task.seed, "calibration"),
        device=pick_accelerator(task.config.accelerator),
    )
    for sample in missing:
        start = time.perf_counter()
        network = space.freeze(sample)
        accuracy, loss = inherited(network)
        record.add("supernet", network.architecture, Score(accuracy, loss, time.perf_counter() - start))
        bar.update(1)


def _measured(architecture: Architecture, predicted: float, scores: dict[int, Score]) -> Measured:
    costs = cost(architecture)
    return Measured(
        architecture=architecture,
        macs=costs.macs,
        params=costs.params,
        predicted=predicted,
        standalone={seed: score.accuracy for seed, score in scores.items()},
        seconds=sum(score.seconds for score in scores.values()),
    )


def _agreement(measured: list[Measured], seeds: Sequence[int], seed: int) -> Ranking:
    sound = [one for one in measured if not one.failed]
    if not sound:
        raise RuntimeError("training diverged for every architecture; lower --recipe.learning_rate")
    return rank_agreement(
        [one.predicted for one in sound],
        [[one.standalone.get(own, math.nan) for own in seeds] for one in sound],
        {"macs": [one.macs for one in sound], "params": [one.params for one in sound]},
        seed=stream_seed(seed, "bootstrap"),
    )
