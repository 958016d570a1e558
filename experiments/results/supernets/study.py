"""What a supernet must be like for its inherited losses to rank architectures, judged by a table of whole trainings.

    python study.py train CONFIG TABLE SCORES VARIANT [SEEDS]     # adds to the CSV file SCORES
    python study.py summary TABLE SCORES [RANKED]

RANKED is the `rank.csv` of a search by real trainings, whose model is joined with what else is known.
CONFIG and TABLE are those of `sepnas tabulate`: the search's images and the networks that were trained on them.
"""

from __future__ import annotations

import csv
import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import LayerChoice
from nni.nas.space import RawFormatModelSpace
from numpy.typing import NDArray
from scipy.stats import kendalltau
from torch import Tensor, nn

from evaluators.data.images import ImageData
from evaluators.measuring.inherited import InheritedQuality, quality
from evaluators.training.recipes import Recipe
from evaluators.training.retrain import retrain
from evaluators.training.run import TrainingRun
from evaluators.training.supernet import supernet_evaluator
from experiments.options.files import read_config
from experiments.rank.table import open_table
from experiments.runs.scores import ScoreTable
from experiments.runs.task import SearchTask, stream_seed
from search_space.architecture import Architecture
from search_space.hand_designed import baseline
from search_space.network import Network
from search_space.sliced import wide_layer
from search_space.space import SepConvSpace
from search_space.supernet import pad_as_in_supernet
from search_space.weights import save_tensors
from strategies.budget.feasible import FeasibleSet
from strategies.one_shot.supernet import PathSource, RandomOneShot

#: ``seconds`` of the supernet, ``network`` is the place in the table, from 0, ``judging`` the seconds for this network.
COLUMNS = ("variant", "seed", "seconds", "network", "loss", "training_loss", "judging")


@dataclass(frozen=True)
class Variant:
    """How networks are judged: by the weights of a supernet, or by a short training.

    Attributes:
        epochs: of the supernet's training; a cosine ends with them. 0 is for no supernet.
        sampling: paths of a step, `strategies.options.MultiTrialOptions`.
        calibration: training images for the batch-norm statistics of each network; 0 keeps those of all paths.
        warm_up: epochs, the first of ``epochs``, in which one path alone is trained: mobilenetv3-small.
        shares_kernels: small kernels of a family are the middle of the largest one (OFA, Cai et al. 2020, section 3.3;
            without its transformations).
        rate: peak learning rate of the supernet.
        whole: train the supernet on all 45,000 images, and judge it on the other 5,000 (the table's: 6,000 and 4,000).
        trained: epochs that each network is trained for, by the table's recipe, before it is judged: from the weights
            it inherits or, without a supernet, from fresh ones.
    """

    epochs: int
    sampling: Literal["uniform", "fair", "sandwich"] = "uniform"
    calibration: int = 1024
    warm_up: int = 0
    shares_kernels: bool = False
    rate: float = 0.1
    whole: bool = False
    trained: int = 0


VARIANTS = {
    **{f"uniform, {epochs} epochs": Variant(epochs) for epochs in (3, 6, 12, 24)},
    "uniform, 3 epochs, a third of the rate": Variant(3, rate=0.033),
    "uniform, 3 epochs, batch norms of all paths": Variant(3, calibration=0),
    "uniform, 3 epochs, batch norms by 256 images": Variant(3, calibration=256),
    "uniform, 3 epochs, batch norms by 6,000 images": Variant(3, calibration=6000),
    "uniform, 3 epochs, the first of mobilenetv3-small": Variant(3, warm_up=1),
    "uniform, 6 epochs, the first 3 of mobilenetv3-small": Variant(6, warm_up=3),
    **{f"uniform, {epochs} epochs, shared kernels": Variant(epochs, shares_kernels=True) for epochs in (3, 12)},
    "uniform, 1 epoch of 45,000 images": Variant(1, whole=True),
    "uniform, 3 epochs of 45,000 images": Variant(3, whole=True),
    **{f"fair, {epochs} epochs": Variant(epochs, "fair") for epochs in (3, 6)},
    # of four paths in each step, so each epoch takes the time of four
    "sandwich, 3 epochs": Variant(3, "sandwich"),
    "uniform, 3 epochs, then a training of 1 epoch": Variant(3, trained=1),
    "a training of 1 epoch": Variant(0, trained=1),
}


def is_quick(variant: Variant) -> bool:
    """Whether this is a supernet of 3 epochs whose networks are judged alike; those of `summary`'s models."""
    return (variant.epochs, variant.calibration, variant.whole, variant.trained) == (3, 1024, False, 0)


#: What is known of each network by itself in the models of `summary`.
OWN = "a training of 1 epoch"


class OnePathFirst:
    """One path for so many steps, then those of another source."""

    def __init__(self, path: dict[str, str], steps: int, then: FeasibleSet) -> None:
        self.path, self.left, self.then = path, steps, then

    def random(self, rng: np.random.RandomState) -> dict[str, str]:
        """The next sample."""
        self.left -= 1
        return self.path if self.left >= 0 else self.then.random(rng)


class MiddleOfKernel(nn.Conv2d):
    """A depthwise convolution whose kernel is the middle of another one's."""

    @classmethod
    def convert(cls, conv: nn.Conv2d, largest: nn.Conv2d) -> None:
        """Make ``conv`` one, in place."""
        del conv._parameters["weight"]
        conv.__class__ = cls
        conv.__dict__["largest"] = largest  # where torch does not look for sub-modules

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """A view into the largest kernel."""
        largest: Tensor = self.__dict__["largest"].weight
        parts = []
        for own, size in zip(self.kernel_size, largest.shape[2:], strict=True):
            first = (size - own) // 2
            parts.append(slice(first, first + own))
        return largest[:, :, parts[0], parts[1]]

    def _save_to_state_dict(self, destination: dict[str, Tensor], prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.weight if keep_vars else self.weight.detach()


def share_kernels(space: SepConvSpace) -> None:
    """Let small kernels be the middle of the largest one of their family, in each block: dw, xsep, c2sp and c4sp."""
    for choices in space.blocks.children():
        assert isinstance(choices, LayerChoice)
        families: dict[str, dict[int, nn.Module]] = {}
        for name in choices.names:
            kind = re.fullmatch(r"(dw_k|xsep_k|c)(\d)(?:sp)?(?:-e\d+)?", name)
            if kind:
                families.setdefault(kind[1], {})[int(kind[2])] = wide_layer(choices[name].spatial)
        for by_size in families.values():
            largest = dict(by_size[max(by_size)].named_modules())
            for size in sorted(by_size)[:-1]:
                for path, module in list(by_size[size].named_modules()):
                    own = largest.get(path)
                    if isinstance(module, nn.Conv2d) and isinstance(own, nn.Conv2d) and module.groups > 1:
                        MiddleOfKernel.convert(module, own)


def recipe_of(task: SearchTask, epochs: int) -> Recipe:
    """The search's, cut to ``epochs``."""
    recipe = task.config.search
    return replace(recipe, epochs=epochs, warmup_epochs=min(recipe.warmup_epochs, epochs / 2))


def train(task: SearchTask, data: ImageData, variant: Variant, seed: int) -> SepConvSpace:
    """The supernet of a variant."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "weights"))
        space = SepConvSpace(task.space)
    if variant.shares_kernels:
        share_kernels(space)
    recipe = replace(recipe_of(task, variant.epochs), learning_rate=variant.rate)
    paths: PathSource | None = None
    if variant.warm_up:
        hand_designed = baseline("mobilenetv3-small", image_size=data.image_size, width=0.5)
        assert isinstance(hand_designed, Architecture)
        steps = variant.warm_up * math.ceil(len(data.train) / recipe.batch_size)
        paths = OnePathFirst(task.space.sample(hand_designed), steps, task.feasible)
    strategy = RandomOneShot(
        feasible=task.feasible, sampling=variant.sampling, paths=paths, seed=stream_seed(seed, "paths")
    )
    evaluator = supernet_evaluator(data, recipe, seed=stream_seed(seed, "batches"), accelerator="cpu")
    strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
    return space


class Judged(NamedTuple):
    """Loss on the validation images and, of a training, in its last epoch."""

    loss: float
    training_loss: float = math.nan


def inheriting(
    task: SearchTask, data: ImageData, variant: Variant, space: SepConvSpace
) -> Callable[[Architecture], Judged]:
    """What judges an architecture by the weights of ``space``."""
    measure = InheritedQuality(data, calibration_images=variant.calibration or 2, seed=0)

    def judge(architecture: Architecture) -> Judged:
        network: Network = space.freeze(task.space.sample(architecture))
        if variant.calibration:
            return Judged(measure(network).loss)
        pad_as_in_supernet(network)
        network.eval()
        return Judged(quality(network, measure.validation).loss)

    return judge


def training(
    task: SearchTask, data: ImageData, variant: Variant, space: SepConvSpace | None, seed: int
) -> Callable[[Architecture], Judged]:
    """What judges an architecture by a training of its own, from the weights of ``space`` if that is given."""
    recipe = recipe_of(task, variant.trained)

    def judge(architecture: Architecture) -> Judged:
        losses: list[float] = []
        with TemporaryDirectory() as folder:
            start = None
            if space is not None:
                start = Path(folder) / "start.safetensors"
                save_tensors(space.freeze(task.space.sample(architecture)).state_dict(), start)
            run = TrainingRun(seed=seed, train_on="train", measure_on="validation", accelerator="cpu", start=start)
            found = retrain(architecture, data, recipe, run, on_epoch=lambda row: losses.append(row["train_loss"]))
        return Judged(found.loss, losses[-1])

    return judge


def judge_of(task: SearchTask, data: ImageData, variant: Variant, seed: int) -> Callable[[Architecture], Judged]:
    """What judges architectures as ``variant`` says, once its supernet is trained."""
    space = train(task, data, variant, seed) if variant.epochs else None
    if variant.trained:
        return training(task, data, variant, space, seed)
    assert space is not None, "a variant has a supernet or a training"
    return inheriting(task, data, variant, space)


def add(config: Path, table: Path, scores: Path, name: str, seeds: Sequence[int]) -> None:
    """Measure a variant with each of ``seeds`` unless that is there."""
    variant, read = VARIANTS[name], read_config(config)
    task = SearchTask(read)
    data = task.data
    if variant.whole:
        data = SearchTask(replace(read, data=replace(read.data, max_train_images=None, validation=0.1))).data
    architectures = list(open_table(table, task)[0].trained())
    columns = ["variant", "seed"]
    done = set(pd.read_csv(scores)[columns].itertuples(index=False, name=None)) if scores.exists() else set()
    for seed in seeds:
        if (name, seed) in done:
            continue
        start = time.perf_counter()
        judge = judge_of(task, data, variant, seed)
        seconds = time.perf_counter() - start
        found = []
        for number, architecture in enumerate(architectures):
            begin = time.perf_counter()
            loss, training_loss = judge(architecture)
            last = "" if math.isnan(training_loss) else round(training_loss, 5)
            spent = time.perf_counter() - begin
            found.append((name, seed, round(seconds, 1), number, round(loss, 5), last, round(spent, 2)))
        new = not scores.exists()
        with scores.open("a", newline="") as stream:
            writer = csv.writer(stream)
            if new:
                writer.writerow(COLUMNS)
            writer.writerows(found)
        print(name, seed, f"{seconds:.0f} s, judged in {sum(row[-1] for row in found):.0f} s", flush=True)


def summary(table: Path, scores: Path, ranked: Path | None = None) -> None:
    """Kendall's tau of each variant with the accuracies of the table: of single supernets or trainings, by validation
    and by training loss, and of their mean loss; with ``ranked`` also of models: alone, with supernets of 3 epochs,
    with each network's own epoch, and with both (sums of standardised values)."""
    trained = ScoreTable(table / "scores.csv").trained()
    networks = [str(own) for own in trained]
    accuracies = np.array([np.mean([one.accuracy for one in seeds.values()]) for seeds in trained.values()])

    def tau(scores: NDArray[np.float64]) -> str:
        return f"{kendalltau(scores, accuracies).statistic:+.2f}"

    found = pd.read_csv(scores).sort_values("network", kind="stable")
    supernets = []
    for name, own in found.groupby("variant", sort=False):
        runs = [run for _, run in own.groupby("seed")]
        losses = [
            [-run[loss].to_numpy() for run in runs] for loss in ("loss", "training_loss") if own[loss].notna().all()
        ]
        taus = [", ".join(map(tau, by_seed)) for by_seed in losses]
        print(f"| {name} | {own.loss.mean():.2f} | {' / '.join(taus)} | {tau(np.mean(losses[0], axis=0))} |")
        if is_quick(VARIANTS[str(name)]):
            supernets += losses[0]
    if ranked is None:
        return
    joined, own_epoch = standard(np.mean(supernets, axis=0)), standard(-found[found.variant == OWN].loss.to_numpy())
    print(f"| mean loss in {len(supernets)} supernets of 3 epochs | {tau(joined)} | | {tau(joined + own_epoch)} | |")
    models = {
        "the search's model": pd.read_csv(ranked, index_col="architecture").predicted[networks].to_numpy(),
        f"families in the others, by {OWN}": left_out(list(trained), own_epoch),
        "families in the others, by their whole trainings": left_out(list(trained), accuracies),
    }
    for name, model in models.items():
        more = (np.zeros(len(model)), joined, own_epoch, joined + own_epoch)
        print(f"| {name} | {' | '.join(tau(standard(model) + one) for one in more)} |")


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


if __name__ == "__main__":
    torch.set_num_threads(1)
    command, *given = sys.argv[1:]
    if command == "train":
        config, table, scores, variant, *seeds = given
        add(Path(config), Path(table), Path(scores), variant, [int(seed) for seed in (seeds or ["0"])[0].split(",")])
    else:
        summary(*map(Path, given))
