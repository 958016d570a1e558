"""One search, from config to winner."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path

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
from strategies.options import MultiTrialOptions, OneShotOptions
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
        assert isinstance(options, OneShotOptions)
        winner = _one_shot(config, options, task, run)
    if not task.feasible.admits(task.space.sample(winner)):
        raise RuntimeError(f"the winner {winner} is outside the budget {config.budget}; please report this")
    save_architecture(winner, run.winner)
    (run.search / CHECKPOINT_FILE).unlink(missing_ok=True)
    own = cost(winner)
    print(f"winner: {format_count(own.macs)} MACs, {format_count(own.params)} params")
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


def _one_shot(config: SearchConfig, options: OneShotOptions, task: SearchTask, run: RunFolder) -> Architecture:
    """A strategy that searches while it trains the supernet."""
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
    """A strategy that asks for one architecture after the other and is told how good each is."""
    judge: Callable[[Network, int], float]
    if options.scoring == "supernet":
        space = _trained_supernet(config, options, task, run)
        inherited = InheritedAccuracy(
            task.data,
            calibration_images=options.images_to_calibrate,
            seed=stream_seed(config.seed, "calibration"),
            device=device,
        )

        def judge(network: Network, trial: int) -> float:
            return inherited(network)

    else:
        space = supernet(config, task)

        def judge(network: Network, trial: int) -> float:
            try:
                run = TrainingRun(
                    seed=stream_seed(config.seed, f"trial {trial}"),
                    train_on="train",
                    measure_on="validation",
                    accelerator=config.accelerator,
                    title=f"candidate {trial}",
                )
                trained = retrain(network.architecture, task.data, config.search, run)
            except TrainingDiverged:
                return math.nan  # a bad candidate, not a failed search; it never becomes a parent
            return trained.accuracy

    record = ScoreRecord(run.architectures, "validation_accuracy")
    # The strategy is deterministic: fed the recorded scores, it asks for the same architectures as before the kill.
    replay = list(record.scored)
    bar = progress_bar(options.trials, config.strategy.name, "architecture")
    trial = 0

    def score(network: Network) -> None:
        nonlocal trial
        if trial < len(replay):
            if replay[trial].architecture != network.architecture:
                raise RuntimeError(f"{run.architectures}: row {trial} is not what this search asked for; start anew")
            accuracy = replay[trial].score
        else:
            accuracy = judge(network, trial)
            record.add(network.architecture, accuracy)
        trial += 1
        bar.update(1)
        finite = [scored.score for scored in record.scored[:trial] if math.isfinite(scored.score)]
        bar.set_postfix(best=f"{max(finite, default=math.nan):.3f}")
        nni.report_final_result(accuracy)

    name = config.strategy.name
    strategy = make(name, options.for_trials(), feasible=task.feasible, seed=stream_seed(config.seed, "strategy"))
    with bar:
        strategy(
            RawFormatModelSpace(space, FunctionalEvaluator(score)),
            SequentialExecutionEngine(max_model_count=options.trials),
        )
    if trial < options.trials:
        print(f"{name}: no new architecture inside the budget after {trial} of {options.trials} trials")
    winner = record.best()
    if objectives := options.objectives_beside_accuracy:
        front = pareto_front(record.scored, task.space, task.feasible.table, config.budget, objectives)
        write_pareto(front, config.budget, run.path)
    return winner
