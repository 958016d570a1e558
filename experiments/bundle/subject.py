"""What is exported: a network with weights, and what is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluators.data.options import DataOptions
from experiments.runs.task import DataTask
from experiments.training.preprocessing import Preprocessing
from experiments.training.retrain import ABOUT_FILE
from experiments.training.trained import PREPROCESSING_FILE, TRAINING_FILE, find_trained, read_preprocessing
from search_space.base.atomic import scratch_folder
from search_space.base.checks import plain
from search_space.base.errors import InvalidRequest
from search_space.layered_network import PlainNetwork, network_name
from search_space.network import build
from search_space.serialization import load_plain_network
from search_space.weights import ARCHITECTURE_FILE, WEIGHTS_FILE, load_weights, save_weights


@dataclass(frozen=True)
class Subject:
    """A network to export.

    Attributes:
        architecture: what it is.
        weights: its weights (safetensors).
        preprocessing: what happens to a picture in front of it.
        training: how it was trained and how well it does, as ``training.json`` keeps it; None if nobody knows.
        data: what its images were loaded with; None likewise.
        split_seed: of their splits.
        untrained: whether the weights are those of a network that was never trained.
    """

    architecture: PlainNetwork
    weights: Path
    preprocessing: Preprocessing
    training: dict[str, Any] | None = None
    data: DataOptions | None = None
    split_seed: int = 0
    untrained: bool = False

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the network sees."""
        size = self.architecture.image_size
        return self.architecture.in_channels, size, size

    @property
    def task(self) -> DataTask | None:
        """The images of its training, as far as options go; whether they are at hand shows when they are listed."""
        return None if self.data is None else DataTask(self.data, self.split_seed)

    def network(self) -> nn.Module:
        """The network in evaluation mode; InvalidRequest if the weights are of another one."""
        network = build(self.architecture)
        load_weights(network, self.weights)
        return network.eval()


@contextmanager
def find_subject(target: Path, seed: int | None = None, *, untrained: bool = False) -> Iterator[Subject]:
    """The network that ``target`` names: a run, a folder of `sepnas retrain --out`, a bundle or an architecture file.

    ``seed`` picks one of several trainings, the first by default; of an ``untrained`` network it decides the weights.
    InvalidRequest if there is none, if it has no weights, or if ``untrained`` is asked of one that has.
    """
    if not target.exists():
        remedy = "give the folder of a run, of `sepnas retrain --out` or of `sepnas export`, or an architecture file"
        raise InvalidRequest(f"target: {plain(target)} does not exist; {remedy}")
    if not target.is_file():
        if untrained:
            raise InvalidRequest(f"--untrained: {plain(target)} is not an architecture file; leave it out, or give one")
        yield _trained(target, seed)
        return
    architecture = load_plain_network(target)
    if untrained:
        with scratch_folder() as folder:
            weights = folder / WEIGHTS_FILE
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0 if seed is None else seed)
                save_weights(build(architecture), weights)
            yield Subject(architecture, weights, _unknown(architecture), untrained=True)
        return
    home = target.parent
    if target.name == ARCHITECTURE_FILE and any((home / name).is_file() for name in (TRAINING_FILE, ABOUT_FILE)):
        yield _trained(home, seed)
        return
    weights = home / WEIGHTS_FILE
    if not weights.is_file():
        raise InvalidRequest(
            f"target: {plain(target)} has no {WEIGHTS_FILE} beside it; train it with `sepnas retrain ARCH.json --out"
            " FOLDER` and export FOLDER, or export it with --untrained"
        )
    if seed is not None:
        raise InvalidRequest(f"seed: {seed}, but {plain(weights)} comes from one training; leave it out")
    beside = home / PREPROCESSING_FILE
    known = read_preprocessing(beside) if beside.is_file() else _unknown(architecture)
    yield Subject(architecture, weights, known)


def _trained(target: Path, seed: int | None) -> Subject:
    found = find_trained(target, seed)
    architecture = load_plain_network(found.architecture)
    given = Path(found.preprocessing.name)
    name = found.data.title or (given.name if given.is_absolute() else found.preprocessing.name)
    preprocessing = replace(found.preprocessing, name=name)
    return Subject(architecture, found.weights, preprocessing, found.training, found.data, found.split_seed)


def _unknown(architecture: PlainNetwork) -> Preprocessing:
    """That of weights of which no more than the architecture is known."""
    size, names = architecture.image_size, tuple(map(str, range(architecture.classes)))
    return Preprocessing(network_name(architecture), names, size, size, architecture.in_channels, None, None)
