"""Finding the weights that a training shall start from: those of a trained network, or of a run's supernet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from experiments.options.files import read_config
from experiments.runs.folder import RunFolder, find_run
from experiments.training.retrain import ABOUT_FILE, DATA_FILE
from experiments.training.start import Start
from experiments.training.trained import PREPROCESSING_FILE, find_training, read_preprocessing
from search_space.architecture import Architecture
from search_space.base.checks import known_names, refusal
from search_space.base.errors import InvalidRequest
from search_space.candidates import SearchSpace
from search_space.layered_network import PlainNetwork
from search_space.network import build
from search_space.serialization import load_plain_network
from search_space.space import SepConvSpace
from search_space.weights import ARCHITECTURE_FILE, CLASSIFIER, WEIGHTS_FILE, fitted, load_weights, read_weights

_REMEDY = "give the folder of an export, of `sepnas retrain --out` or of a run with a supernet, or a weights file"


def find_start(source: Path, architecture: PlainNetwork, classes: Sequence[str]) -> Start:
    """The weights that ``source`` names, for ``architecture``, which is to tell ``classes`` apart.

    ``source`` is the folder of an export, of one or several trainings of a network, or of a run, whose supernet the
    network inherits from; or a weights file beside its architecture. InvalidRequest if there are none, if a file is
    damaged, or if a tensor other than the classifier's does not fit.
    """
    file = _weights_file(source)
    if file is None:
        if not isinstance(architecture, Architecture):
            why = "is a run, whose supernet holds no network of a family"
            raise refusal("from", str(source), why, "give a folder with weights of the same network")
        own, tensors = _inherited(find_run(source), architecture)
        names = None
    else:
        homes = [home for home in (file.parent, file.parent.parent) if (home / ARCHITECTURE_FILE).is_file()]
        if not homes:
            raise refusal("from", str(source), f"has no {ARCHITECTURE_FILE} beside its weights", _REMEDY)
        own, tensors = load_plain_network(homes[0] / ARCHITECTURE_FILE).classes, read_weights(file)
        names = _class_names(file.parent)
    replaced = own != architecture.classes or (names is not None and names != tuple(classes))
    if replaced:
        tensors = {name: tensor for name, tensor in tensors.items() if name not in CLASSIFIER}
    with torch.device("meta"):
        fitted(build(architecture), tensors, source, CLASSIFIER if replaced else ())
    said = f"starts from {source}"
    if replaced:
        before = f"{own} classes" if names is None else known_names(names)
        said += f" with a new classifier, as the old one tells {before} apart and not {known_names(classes)}"
    return Start(tensors, said)


def _weights_file(source: Path) -> Path | None:
    """The file of weights that ``source`` names; None for a run, whose supernet is meant."""
    if source.is_file():
        return source
    if not source.is_dir():
        raise refusal("from", str(source), "does not exist", _REMEDY)
    if (source / WEIGHTS_FILE).is_file():
        return source / WEIGHTS_FILE
    return find_training(source)[1] / WEIGHTS_FILE if (source / ABOUT_FILE).is_file() else None


def _inherited(run: RunFolder, architecture: Architecture) -> tuple[int, dict[str, Tensor]]:
    """How many classes the supernet of ``run`` tells apart, and the weights that ``architecture`` has in it."""
    if not run.supernet.is_file():
        remedy = f"give {run.retrain / 'winner'} for its retrained winner, or a run of a strategy such as evolution"
        raise refusal("from", str(run.path), "has no trained supernet", remedy)
    # what the images were, without a look at them
    sizes = {name: getattr(run.read_winner(), name) for name in ("image_size", "in_channels", "classes")}
    space = SearchSpace.create(read_config(run.config).space, **sizes)
    try:
        sample = space.sample(replace(architecture, classes=sizes["classes"]))
    except InvalidRequest as error:
        raise InvalidRequest(f"from: the supernet of {run.path} does not hold this network ({error})") from None
    with torch.random.fork_rng(devices=[]):
        supernet = SepConvSpace(space)
    load_weights(supernet, run.supernet)
    return sizes["classes"], dict(supernet.freeze(sample).state_dict())


def _class_names(folder: Path) -> tuple[str, ...] | None:
    """What the weights in ``folder``, a bundle or that of a training, tell apart; None if nothing says it."""
    files = [folder / name for name in (DATA_FILE, PREPROCESSING_FILE) if (folder / name).is_file()]
    return read_preprocessing(files[0]).classes if files else None
