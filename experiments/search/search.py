"""One search, from config to winner."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nni
import torch
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from nni.nas.strategy.base import Strategy

from evaluators.base.progress import progress_bar
from evaluators.measuring.inherited import InheritedAccuracy
from evaluators.training.callbacks import CHECKPOINT_FILE
from evaluators.training.devices import pick_accelerator
from evaluators.training.retrain import retrain
from evaluators.training.run import TrainingDiverged, TrainingRun
from evaluators.training.supernet import supernet_evaluator
from experiments.options.config import SearchConfig
from experiments.runs.files import copy_file
from experiments.runs.folder import RunFolder, check_out, open_run
from experiments.runs.provenance import provenance
from experiments.runs.records import ScoreRecord, metrics_writer
from experiments.runs.reuse import reused_supernet
from experiments.runs.seeds import stream_seed
from experiments.runs.task import SearchTask
from experiments.search.pareto import pareto_front, write_pareto
from search_space.architecture import Architecture
from search_space.network import Network
from search_space.network_cost import cost
from search_space.serialization import save_architecture
from search_space.space import SepConvSpace
from search_space.weights import load_weights, save_weights
from strategies.budget.budget import format_count
from strategies.one_shot.supernet import RandomOneShot
from strategies.options import MultiTrialOptions, StrategyOptions
from strategies.registry import make


def search(config: SearchConfig, out: Path, *, resume: bool = False, overwrite: bool = False) -> RunFolder:
    """Search as ``config`` says and leave the winner in ``out``; the test split is not looked at.

    Everything that can be wrong with the request is found before ``out`` is touched. A killed search goes on with
    ``resume``; one that is finished is left as it is.
    """
    check_out(out, config.as_dict(), resume=resume, overwrite=overwrite)
    task = SearchTask(config)
    task.check()
    if config.supernet is not None:
        reused_supernet(config)
    task.announce()
    device = pick_accelerator(config.accelerator)
    run = open_run(out, config.as_dict(), provenance(config.seed, device), overwrite=overwrite)
    if run.winner.exists():
        (run.search / CHECKPOINT_FILE).unlink(missing_ok=True)
        print(f"{out}: the search is finished; nothing to do")
        return run
    logging.getLogger("nni").setLevel(logging.CRITICAL)  # it announces exceptions, which we report ourselves
    options = config.strategy.typed_options()
    if isinstance(options, MultiTrialOptions):
        winner = _score_one_by_one(config, options, task, run, device)
    else:
        winner = _search_in_training(config, options, task, run)
    if not task.feasible.admits(task.space.sample(winner)):
        raise RuntimeError(f"the winner {winner} is outside the budget {config.budget}; please report this")
    save_architecture(winner, run.winner)
    (run.search / CHECKPOINT_FILE).unlink(missing_ok=True)
    costs = cost(winner)
    print(f"winner: {format_count(costs.macs)} MACs, {format_count(costs.params)} params")
    print(f"  {winner}")
    return run


def supernet(config: SearchConfig, task: SearchTask) -> SepConvSpace:
    """A fresh supernet for the images of ``task``, its weights drawn by the config's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(config.seed, "weights"))
        return SepConvSpace(task.space)


def _train_supernet(
    config: SearchConfig, task: SearchTask, run: RunFolder, strategy: Strategy, *, clips_gradients: bool
) -> SepConvSpace:
    """Run a one-shot ``strategy`` on a fresh supernet, from its resume point if there is one."""
    space = supernet(config, task)
    evaluator = supernet_evaluator(
        task.data,
        config.search,
        seed=stream_seed(config.seed, "batches"),
        accelerator=config.accelerator,
        folder=run.search,
        title=f"search ({config.strategy.name})",
        on_epoch=metrics_writer(run.metrics, "search"),
        clips_gradients=clips_gradients,
    )
    strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
    return space


def _search_in_training(
    config: SearchConfig, options: StrategyOptions, task: SearchTask, run: RunFolder
) -> Architecture:
    """Search while a supernet is trained: one-shot."""
    strategy = make(
        config.strategy.name,
        options,
        feasible=task.feasible,
        gradient_clip_val=config.search.gradient_clip,
        seed=stream_seed(config.seed, "strategy"),
    )
    _train_supernet(config, task, run, strategy, clips_gradients=True)
    scores = strategy.log_probabilities()
    sample = strategy.export_sample()
    winner = task.space.architecture(sample)
    chosen = task.feasible.table.indices(sample)
    record = ScoreRecord(run.architectures, "log_probability")
    if not record.scored:  # a run killed right behind this has its row already
        record.add(winner, float(sum(scores[label][i] for label, i in zip(task.space.labels, chosen, strict=True))))
    return winner


def _trained_supernet(
    config: SearchConfig, options: MultiTrialOptions, task: SearchTask, run: RunFolder
) -> SepConvSpace:
    """The supernet whose weights candidates inherit: trained here, or by the run that the config names."""
    if not run.supernet.exists():
        if config.supernet is not None:
            copy_file(reused_supernet(config), run.supernet)
        else:
            inside = {"costs": task.table} if options.supernet_for == "space" else {"feasible": task.feasible}
            seed = stream_seed(config.seed, "paths")
            strategy = RandomOneShot(**inside, sampling=options.sampling or "uniform", seed=seed)
            space = _train_supernet(config, task, run, strategy, clips_gradients=False)
            save_weights(space.cpu(), run.supernet)
    space = supernet(config, task)
    load_weights(space, run.supernet)
    return space


def _score_one_by_one(
    config: SearchConfig, options: MultiTrialOptions, task: SearchTask, run: RunFolder, device: str
) -> Architecture:
    """Score one architecture after the other: multi-trial."""
    accuracy: Callable[[Network, int], float]
    if options.inherits_weights:
        space = _trained_supernet(config, options, task, run)
        inherited = InheritedAccuracy(
            task.data,
            calibration_images=options.images_to_calibrate,
            seed=stream_seed(config.seed, "calibration"),
            device=device,
        )

        def accuracy(network: Network, trial: int) -> float:
            return inherited(network)

    else:
        space = supernet(config, task)

        def accuracy(network: Network, trial: int) -> float:
            return _trained_accuracy(network.architecture, trial, config, task)

    name = config.strategy.name
    strategy = make(name, options.for_trials(), feasible=task.feasible, seed=stream_seed(config.seed, "strategy"))
    with progress_bar(options.trials, name, "architecture") as bar:
        score = _RecordedScores(run.architectures, accuracy, bar)
        strategy(
            RawFormatModelSpace(space, FunctionalEvaluator(score)),
            SequentialExecutionEngine(max_model_count=options.trials),
        )
    if score.trials < options.trials:
        print(f"{name}: no new architecture inside the budget after {score.trials} of {options.trials} trials")
    if objectives := options.objectives_beside_accuracy:
        front = pareto_front(score.record.scored, task.space, task.table, config.budget, objectives)
        write_pareto(front, config.budget, run.path)
    return score.record.best()


def _trained_accuracy(architecture: Architecture, trial: int, config: SearchConfig, task: SearchTask) -> float:
    """The validation accuracy of candidate number ``trial`` after a training of its own; nan if that diverges."""
    training = TrainingRun(
        seed=stream_seed(config.seed, f"trial {trial}"),
        train_on="train",
        measure_on="validation",
        accelerator=config.accelerator,
        title=f"candidate {trial}",
    )
    try:
        return retrain(architecture, task.data, config.search, training).accuracy
    except TrainingDiverged:
        return math.nan  # a bad candidate, not a failed search; it never becomes a parent


class _RecordedScores:
    """NNI's evaluation function: reports accuracies and records them, those that a killed search recorded first.

    The strategy is deterministic: given the recorded scores, it proposes the same architectures as before the kill.
    """

    def __init__(self, path: Path, accuracy: Callable[[Network, int], float], bar: Any) -> None:
        self.path = path
        self.record = ScoreRecord(path, "validation_accuracy")
        self.accuracy = accuracy
        self.bar = bar
        self.trials = 0

    def __call__(self, network: Network) -> None:
        scored = self.record.scored
        if self.trials == len(scored):
            self.record.add(network.architecture, self.accuracy(network, self.trials))
        elif scored[self.trials].architecture != network.architecture:
            raise RuntimeError(f"{self.path}: row {self.trials} is not what this search proposes; start anew")
        score = scored[self.trials].score
        self.trials += 1
        self.bar.update(1)
        finite = [one.score for one in scored[: self.trials] if math.isfinite(one.score)]
        self.bar.set_postfix(best=f"{max(finite, default=math.nan):.3f}")
        nni.report_final_result(score)
