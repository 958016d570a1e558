"""One search, from config to winner."""

from __future__ import annotations

import logging
import shutil
from contextlib import closing
from pathlib import Path

from evaluators.training.callbacks import CHECKPOINT_FILE
from evaluators.training.devices import check_processes, pick_accelerator
from experiments.options.config import AUTO, SearchConfig
from experiments.options.files import read_config
from experiments.runs.claimed_folder import IMAGES, first_difference
from experiments.runs.files import copy_file
from experiments.runs.folder import RunFolder, check_out, find_run, open_run
from experiments.runs.held import held
from experiments.runs.provenance import provenance
from experiments.runs.records import ScoreRecord
from experiments.runs.task import SearchTask
from experiments.search.choice import as_begun, chosen
from experiments.search.confirm import confirm
from experiments.search.plan import FINALISTS, SUPERNET, Plan, plan_of
from experiments.search.supernets import Logs, least_difference, supernet, train_supernet
from experiments.search.trials import InheritedWeights, Judge, ShortTrainings, score_proposals
from experiments.tracking.trackers import Tracking, check_trackers
from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest
from search_space.network_cost import cost
from search_space.serialization import save_architecture
from search_space.space import SepConvSpace
from search_space.weights import load_weights
from strategies.budget.budget import format_count
from strategies.options import MultiTrialOptions, StrategyOptions


def search(config: SearchConfig, out: Path, *, resume: bool = False, overwrite: bool = False) -> RunFolder:
    """Search as ``config`` says and leave the winner in ``out``; the test split is not looked at.

    Everything that can be wrong with the request is found before ``out`` is touched. A killed search goes on with
    ``resume``; one that is finished is left as it is.
    """
    task = prepared(config, out, resume=resume, overwrite=overwrite)
    config = task.config
    device = pick_accelerator(config.accelerator)
    made = provenance(config.seed, device) | {IMAGES: task.data.fingerprint}
    with held(out):
        run = open_run(out, config.as_dict(), made, overwrite=overwrite)
        if run.winner.exists():
            print(f"{out}: the search is finished; nothing to do")
        else:
            _search(task, run, device)
        shutil.rmtree(run.candidates, ignore_errors=True)
        (run.search / CHECKPOINT_FILE).unlink(missing_ok=True)
    return run


def _search(task: SearchTask, run: RunFolder, device: str) -> None:
    """Leave the winner in ``run``."""
    config = task.config
    if config.strategy.typed_options().trains_supernet:
        _warn_of_supernet(config, run)
    logging.getLogger("nni").setLevel(logging.CRITICAL)  # it announces exceptions, which we report ourselves
    with Tracking(config.trackers, run.path, run.path.resolve().name, config.as_dict()) as tracking:
        winner = _find_winner(task, run, device, tracking)
    save_architecture(winner, run.winner)
    costs = cost(winner)
    print(f"winner: {format_count(costs.macs)} MACs, {format_count(costs.params)} params")
    print(f"  {winner}")


def prepared(config: SearchConfig, out: Path | None, *, resume: bool, overwrite: bool) -> SearchTask:
    """What is to be searched, with its images, when all that can be wrong is found to be right and `AUTO` is decided.

    Changes nothing. ``out`` is None where nothing will be written.
    """
    if out is not None:
        if resume:
            config = as_begun(config, out)
        check_out(out, config.as_dict(), resume=resume, overwrite=overwrite)
    task = SearchTask(config)
    task.check()
    check_processes(config.devices, 1, config.accelerator)
    check_trackers(config.trackers)
    if config.supernet is not None:
        _reused_supernet(config)
    task.announce()
    if config.strategy.name == AUTO:
        task.config = chosen(config, task)
        task.check()
    return task


def _find_winner(task: SearchTask, run: RunFolder, device: str, tracking: Tracking) -> Architecture:
    config = task.config
    options, plan = config.strategy.typed_options(), plan_of(task)
    if isinstance(options, MultiTrialOptions):
        ranked = _score_one_by_one(options, task, run, device, tracking, plan)
    else:
        ranked = _search_in_training(options, task, run, tracking, plan)
    best = ranked[: max(1, config.finalists)]
    for network in best:
        if not task.feasible.admits(task.space.sample(network)):
            raise RuntimeError(f"{network} was found outside the budget {config.budget}; please report this")
    if config.finalists == 0:
        return best[0]
    return confirm(task, run, best, title=plan.title(FINALISTS, "finalists"), work=plan.work)


def _warn_of_supernet(config: SearchConfig, run: RunFolder) -> None:
    """Say that inherited weights may not rank, unless `rank` has found that those of this search do."""
    judged = [run] if config.supernet is None else [run, find_run(Path(config.supernet))]
    if not any(own.is_trusted_to_rank() for own in judged):
        print(
            "warning: supernets ranked small networks poorly in our measurements, so what this search prefers may be no"
            " better than a random network. Train more finalists (--finalists), ask `sepnas rank` how far its"
            " supernet can be trusted, or search by real trainings (--strategy.name halving)"
        )


def _train_supernet(options: StrategyOptions, task: SearchTask, run: RunFolder, tracking: Tracking, plan: Plan) -> Logs:
    title = plan.title(SUPERNET, f"search ({task.config.strategy.name})")
    return train_supernet(options, task, run, title, tracking.beside(lambda figures: None)).log_probabilities


def _search_in_training(
    options: StrategyOptions, task: SearchTask, run: RunFolder, tracking: Tracking, plan: Plan
) -> list[Architecture]:
    """Search while a supernet is trained: one-shot."""
    scores = _train_supernet(options, task, run, tracking, plan)
    samples = task.searched.best_k(scores, max(1, task.config.finalists), apart=least_difference(task))
    record = ScoreRecord(run.architectures, ["log_probability"])
    for sample in samples[len(record.scored) :]:  # a run killed right behind this has its rows already
        chosen = zip(task.table.labels, task.table.indices(sample), strict=True)
        score = float(sum(scores[label][index] for label, index in chosen))
        record.add(task.space.architecture(sample), score)
    return [task.space.architecture(sample) for sample in samples]


def _trained_supernet(
    options: MultiTrialOptions, task: SearchTask, run: RunFolder, tracking: Tracking, plan: Plan
) -> SepConvSpace:
    """The supernet whose weights candidates inherit: trained here, or by the run that the config names."""
    config = task.config
    if config.supernet is not None and not run.supernet.exists():
        copy_file(_reused_supernet(config), run.supernet)
    if not run.supernet.exists():
        _train_supernet(options, task, run, tracking, plan)
    space = supernet(config, task)
    load_weights(space, run.supernet)
    return space


def _reused_supernet(config: SearchConfig) -> Path:
    """The supernet's weights in the run that ``config.supernet`` names.

    InvalidRequest if there are none, or if that run has another space, data or seed: the weights would not fit, or
    would have seen the validation images.
    """
    assert config.supernet is not None
    run = find_run(Path(config.supernet))
    if not run.supernet.is_file():
        remedy = 'it comes from strategies with scoring "supernet", such as evolution'
        raise InvalidRequest(f"supernet: {run.path} has no trained supernet; {remedy}")
    other = read_config(run.config)
    mine, theirs = ({"data": c.data.deciding(), "space": c.as_dict()["space"], "seed": c.seed} for c in (config, other))
    if difference := first_difference(mine, theirs):
        why = f"was trained for something else ({difference})"
        raise InvalidRequest(f"supernet: {run.path} {why}; data, space and seed must be the same")
    options = other.strategy.typed_options()
    everywhere = isinstance(options, MultiTrialOptions) and options.supernet_for == "space"
    if not everywhere and config.budget != other.budget:
        print(
            f"supernet: {run.path} trained its supernet inside {other.budget} only; architectures outside that are"
            " scored by weights that were never trained (supernet_for space trains all of them)"
        )
    return run.supernet


def _score_one_by_one(
    options: MultiTrialOptions, task: SearchTask, run: RunFolder, device: str, tracking: Tracking, plan: Plan
) -> list[Architecture]:
    """A strategy that asks for one architecture after another and is told how good each is."""
    judge: Judge
    if options.inherits_weights:
        space = _trained_supernet(options, task, run, tracking, plan)
        judge = InheritedWeights(options, task, device)
    else:
        space = supernet(task.config, task)
        judge = ShortTrainings(options, task, run)
    with closing(judge):
        return score_proposals(options, task, run, space, judge, tracking, plan)
