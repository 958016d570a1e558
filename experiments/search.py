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
from tqdm.auto import tqdm

from evaluators.inherited import InheritedAccuracy
from evaluators.retraining import retrain
from evaluators.supernet import supernet_evaluator
from evaluators.trainer import CHECKPOINT_FILE, TrainingDiverged, pick_accelerator
from experiments.config import SearchConfig
from experiments.provenance import provenance
from experiments.records import ScoreRecord, metrics_writer
from experiments.run_folder import RunFolder, check_out, open_run
from experiments.seeds import stream_seed
from experiments.task import Task, check_request, load_task
from search_space.architecture import Architecture
from search_space.network import Network
from search_space.network_cost import cost
from search_space.serialization import load_architecture, save_architecture
from search_space.space import SepConvSpace
from search_space.weights import load_weights, save_weights
from strategies.budget import format_count
from strategies.differentiable import DARTS, GDAS
from strategies.multi_trial import RegularizedEvolution
from strategies.options import DifferentiableOptions, EvolutionOptions, SinglePathOptions
from strategies.weight_sharing import RandomOneShot


def search(config: SearchConfig, out: Path, *, resume: bool = False, overwrite: bool = False) -> RunFolder:
    """Search as ``config`` says and leave the winner in ``out``; the test split is not looked at.

    Everything that can be wrong with the request is found before ``out`` is touched. A killed search goes on with
    ``resume``; one that is finished is left as it is.
    """
    check_out(out, config.as_dict(), resume=resume, overwrite=overwrite)
    check_request(config)
    task = load_task(config)
    device = pick_accelerator(config.accelerator)
    run = open_run(out, config.as_dict(), provenance(config.seed, device), overwrite=overwrite)
    if run.winner.exists():
        (run.search / CHECKPOINT_FILE).unlink(missing_ok=True)
        print(f"{out}: the search is finished; nothing to do")
        return run
    logging.getLogger("nni").setLevel(logging.CRITICAL)  # it announces exceptions, which we report ourselves
    options = config.strategy.typed_options()
    if isinstance(options, EvolutionOptions):
        winner = _evolve(config, options, task, run, device)
    else:
        winner = _differentiate(config, options, task, run)
    own = cost(winner)
    if not config.budget.admits({"macs": own.macs, "params": own.params}):
        raise RuntimeError(f"the winner costs {own}, outside the budget {config.budget}; please report this")
    save_architecture(winner, run.winner)
    (run.search / CHECKPOINT_FILE).unlink(missing_ok=True)
    print(f"winner: {format_count(own.macs)} MACs, {format_count(own.params)} params")
    print(f"  {winner}")
    return run


def found(run: RunFolder) -> Architecture:
    """The winner of a finished search."""
    return load_architecture(run.winner)


def _supernet(config: SearchConfig, task: Task) -> SepConvSpace:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(config.seed, "weights"))
        return SepConvSpace(
            config.space.macro,
            image_size=task.data.image_size,
            in_channels=task.data.channels,
            classes=len(task.data.classes),
            width=config.space.width,
            operators=config.space.operators,
        )


def _train_supernet(
    config: SearchConfig, task: Task, run: RunFolder, strategy: Strategy, *, clips_gradients: bool
) -> SepConvSpace:
    """Run a one-shot ``strategy`` on a fresh supernet, from its resume point if there is one."""
    space = _supernet(config, task)
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


def _differentiate(config: SearchConfig, options: DifferentiableOptions, task: Task, run: RunFolder) -> Architecture:
    common: dict[str, Any] = {
        "budget": config.budget,
        "arc_learning_rate": options.arc_learning_rate,
        "arc_weight_decay": options.arc_weight_decay,
        "warmup_epochs": options.warmup_epochs,
        "multiplier_rate": options.multiplier_rate,
        "gradient_clip_val": config.search.gradient_clip,
        "seed": stream_seed(config.seed, "strategy"),
    }
    strategy: DARTS
    if isinstance(options, SinglePathOptions):
        strategy = GDAS(temperature=(options.temperature_first, options.temperature_last), **common)
    else:
        strategy = DARTS(**common)
    _train_supernet(config, task, run, strategy, clips_gradients=True)
    scores = strategy.log_probabilities()
    sample = task.feasible.best(scores)
    winner = task.space.architecture(sample)
    chosen = task.feasible.table.indices(sample)
    record = ScoreRecord(run.architectures, "log_probability")
    if not record.scored:  # a run killed right behind this has its row already
        record.add(winner, float(sum(scores[label][i] for label, i in zip(task.space.labels, chosen, strict=True))))
    return winner


def _evolve(config: SearchConfig, options: EvolutionOptions, task: Task, run: RunFolder, device: str) -> Architecture:
    space = _supernet(config, task)
    judge: Callable[[Network, int], float]
    if options.scoring == "supernet":
        if not run.supernet.exists():
            one_shot = RandomOneShot(budget=config.budget, seed=stream_seed(config.seed, "paths"))
            save_weights(_train_supernet(config, task, run, one_shot, clips_gradients=False).cpu(), run.supernet)
        load_weights(space, run.supernet)
        inherited = InheritedAccuracy(
            task.data,
            calibration_images=options.calibration_images,
            seed=stream_seed(config.seed, "calibration"),
            device=device,
        )

        def judge(network: Network, trial: int) -> float:
            return inherited(network)

    else:

        def judge(network: Network, trial: int) -> float:
            try:
                trained = retrain(
                    network.architecture,
                    task.data,
                    config.search,
                    seed=stream_seed(config.seed, f"trial {trial}"),
                    train_on="train",
                    measure_on="validation",
                    accelerator=config.accelerator,
                    title=f"candidate {trial}",
                )
            except TrainingDiverged:
                return math.nan  # a bad candidate, not a failed search; it never becomes a parent
            return trained.accuracy

    record = ScoreRecord(run.architectures, "validation_accuracy")
    # The strategy is deterministic: fed the recorded scores, it asks for the same architectures as before the kill.
    replay = list(record.scored)
    bar = tqdm(total=options.trials, desc="evolution", unit="architecture", leave=False)
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

    strategy = RegularizedEvolution(
        budget=config.budget,
        population_size=min(options.population_size, options.trials),
        sample_size=min(options.sample_size, options.trials),
        mutation_prob=options.mutation_prob,
        crossover=options.crossover,
        seed=stream_seed(config.seed, "strategy"),
    )
    with bar:
        strategy(
            RawFormatModelSpace(space, FunctionalEvaluator(score)),
            SequentialExecutionEngine(max_model_count=options.trials),
        )
    if trial < options.trials:
        print(f"evolution: no new architecture inside the budget after {trial} of {options.trials} trials")
    return record.best()
