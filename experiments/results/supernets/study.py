"""What a supernet must be like for its inherited losses to rank architectures, judged by a table of whole trainings.

    python study.py train CONFIG TABLE SCORES VARIANT [SEEDS]     # adds to the CSV file SCORES
    python study.py summary TABLE SCORES [RANKED]

RANKED is the `rank.csv` of a search by real trainings, whose model is joined with the supernets' losses.
CONFIG and TABLE are those of `sepnas tabulate`: the search's images and the networks that were trained on them.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from numpy.typing import NDArray
from scipy.stats import kendalltau

from evaluators.measuring.inherited import InheritedQuality, quality
from evaluators.training.supernet import supernet_evaluator
from experiments.options.files import read_config
from experiments.rank.table import open_table
from experiments.runs.scores import ScoreTable
from experiments.runs.task import SearchTask, stream_seed
from search_space.architecture import Architecture
from search_space.network import Network
from search_space.space import SepConvSpace
from search_space.supernet import pad_as_in_supernet
from strategies.one_shot.supernet import RandomOneShot

#: the last one is the place of the network in the table, from 0
COLUMNS = ("variant", "seed", "seconds", "loss", "network")


@dataclass(frozen=True)
class Variant:
    """A supernet and how its networks are judged.

    Attributes:
        epochs: of the supernet's training; a cosine ends with them.
        sampling: paths of a step, `strategies.options.MultiTrialOptions`.
        calibration: training images for the batch-norm statistics of each network; 0 keeps those of all paths.
    """

    epochs: int
    sampling: Literal["uniform", "fair", "sandwich"] = "uniform"
    calibration: int = 1024


VARIANTS = {
    **{f"uniform, {epochs} epochs": Variant(epochs) for epochs in (3, 6, 12)},
    **{f"fair, {epochs} epochs": Variant(epochs, "fair") for epochs in (3, 6, 12)},
    # of four paths in each step, so each epoch takes the time of four
    "sandwich, 3 epochs": Variant(3, "sandwich"),
    "uniform, 3 epochs, norms of all paths": Variant(3, calibration=0),
}


def train(task: SearchTask, variant: Variant, seed: int) -> SepConvSpace:
    """The supernet of a variant."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "weights"))
        space = SepConvSpace(task.space)
    recipe = replace(task.config.search, epochs=variant.epochs)
    paths = RandomOneShot(feasible=task.feasible, sampling=variant.sampling, seed=stream_seed(seed, "paths"))
    evaluator = supernet_evaluator(task.data, recipe, seed=stream_seed(seed, "batches"), accelerator="cpu")
    paths(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
    return space


def judge(task: SearchTask, variant: Variant, space: SepConvSpace) -> Callable[[Architecture], float]:
    """What gives the validation loss of an architecture with the weights of ``space``."""
    measure = InheritedQuality(task.data, calibration_images=variant.calibration or 2, seed=0)

    def loss(architecture: Architecture) -> float:
        network: Network = space.freeze(task.space.sample(architecture))
        if variant.calibration:
            return measure(network).loss
        pad_as_in_supernet(network)
        network.eval()
        return quality(network, measure.validation).loss

    return loss


def add(config: Path, table: Path, scores: Path, name: str, seeds: Sequence[int]) -> None:
    """Measure a variant with each of ``seeds`` unless that is there."""
    task, variant = SearchTask(read_config(config)), VARIANTS[name]
    architectures = list(open_table(table, task)[0].trained())
    done = {(row["variant"], int(row["seed"])) for row in rows(scores)}
    for seed in seeds:
        if (name, seed) in done:
            continue
        start = time.perf_counter()
        loss = judge(task, variant, train(task, variant, seed))
        seconds = time.perf_counter() - start
        losses = [round(loss(own), 5) for own in architectures]
        found = [(name, seed, round(seconds, 1), one, number) for number, one in enumerate(losses)]
        new = not scores.exists()
        with scores.open("a", newline="") as stream:
            writer = csv.writer(stream)
            if new:
                writer.writerow(COLUMNS)
            writer.writerows(found)
        print(name, seed, f"{seconds:.0f} s, judged in {time.perf_counter() - start - seconds:.0f} s", flush=True)


def rows(scores: Path) -> list[dict[str, str]]:
    """What was measured."""
    if not scores.exists():
        return []
    with scores.open(newline="") as stream:
        return list(csv.DictReader(stream))


def summary(table: Path, scores: Path, ranked: Path | None = None) -> None:
    """Kendall's tau of each variant with the accuracies of the table: of single supernets, and of their mean loss; and
    what these add to models of trainings."""
    trained = ScoreTable(table / "scores.csv").trained()
    truth = {str(own): float(np.mean([one.accuracy for one in seeds.values()])) for own, seeds in trained.items()}
    networks, found = list(truth), dict[str, dict[str, dict[str, float]]]()
    for row in rows(scores):
        by_seed = found.setdefault(row["variant"], {})
        by_seed.setdefault(row["seed"], {})[networks[int(row["network"])]] = float(row["loss"])
    for name, by_seed in found.items():
        taus = [tau(losses, truth) for losses in by_seed.values()]
        mean = {own: float(np.mean([losses[own] for losses in by_seed.values()])) for own in truth}
        print(f"| {name} | {', '.join(f'{one:+.2f}' for one in taus)} | {tau(mean, truth):+.2f} |")
    names = [name for name in found if VARIANTS[name].epochs == 3]
    losses = np.array([[own[network] for network in truth] for name in names for own in found[name].values()])
    supernets, accuracies = standard(-losses.mean(axis=0)), np.array(list(truth.values()))
    print(f"| all {len(losses)} of 3 epochs | | {kendalltau(supernets, accuracies).statistic:+.2f} |")
    models = {"families in the others": left_out(list(trained), accuracies)}
    if ranked is not None:
        with ranked.open(newline="") as stream:
            predicted = {row["architecture"]: float(row["predicted"]) for row in csv.DictReader(stream)}
        models["the search's model"] = np.array([predicted[network] for network in truth])
    for name, model in models.items():
        joined = [kendalltau(standard(model) + weight * supernets, accuracies).statistic for weight in (0, 0.3, 0.6, 1)]
        print(f"| {name}, with 0, 0.3, 0.6, 1 of the supernets' | {', '.join(f'{one:+.2f}' for one in joined)} |")


def left_out(networks: Sequence[Architecture], accuracies: NDArray[np.float64]) -> NDArray[np.float64]:
    """What ridge regression on counts of families, in all blocks and in those that downsample, says of each network
    when it is fitted to all others."""
    kinds = [[(block.family, block.stride > 1) for block in network.blocks] for network in networks]
    families = sorted({family for own in kinds for family, _ in own})
    alone = [[sum(own == family for own, _ in row) for family in families] for row in kinds]
    down = [[row.count((family, True)) for family in families] for row in kinds]
    features = np.concatenate([alone, down], axis=1).astype(float)
    features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-9) / np.sqrt(features.shape[1])
    guesses = []
    for index in range(len(networks)):
        rows, targets = np.delete(features, index, axis=0), np.delete(accuracies, index)
        targets = (targets - targets.mean()) / targets.std()
        guesses.append(features[index] @ rows.T @ np.linalg.solve(rows @ rows.T + np.eye(len(rows)), targets))
    return np.array(guesses)


def standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """With mean 0 and variance 1, unless all are alike."""
    return (values - values.mean()) / (values.std() or 1.0)


def tau(losses: dict[str, float], truth: dict[str, float]) -> float:
    """Kendall's tau of low losses with high accuracies."""
    return float(kendalltau([-losses[own] for own in truth], list(truth.values())).statistic)


if __name__ == "__main__":
    torch.set_num_threads(1)
    command, *given = sys.argv[1:]
    if command == "train":
        config, table, scores, variant, *seeds = given
        add(Path(config), Path(table), Path(scores), variant, [int(seed) for seed in (seeds or ["0"])[0].split(",")])
    else:
        summary(*map(Path, given))
