"""``sepnas export``: one folder with a network in every form that is asked for, and a card that says what it is."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evaluators.data.images import ImageData
from evaluators.latency.backends import make_backend
from evaluators.latency.names import ONNX_CPU, PYTORCH_CPU
from experiments.bundle.card import Card
from experiments.bundle.check import Agreement, Checker, find_sample, load_images
from experiments.bundle.files import BUNDLE, CARD_FILE, FILES, FORMAT_FILES, INT8_FILE
from experiments.bundle.forms import DEFAULT_FORMATS, FORMATS, Format
from experiments.bundle.layers import fold_batch_norms
from experiments.bundle.programs import (
    OnnxNetwork,
    check_packages,
    read_program,
    to_program,
    write_onnx,
    write_program,
)
from experiments.bundle.source import source
from experiments.bundle.subject import Subject, find_subject
from experiments.latency import network_latency
from experiments.runs.claimed_folder import ClaimedFolder
from experiments.runs.files import copy_file, write_json, write_text
from experiments.runs.held import held
from experiments.training.trained import PREPROCESSING_FILE, TRAINING_FILE
from search_space.base.atomic import scratch_folder
from search_space.base.checks import check_choice, refusal, require
from search_space.base.errors import InvalidRequest
from search_space.layered_network import LayeredNetwork, network_name
from search_space.serialization import save_architecture
from search_space.weights import ARCHITECTURE_FILE, WEIGHTS_FILE


@dataclass(frozen=True)
class Extras:
    """What a bundle has beside its formats.

    Attributes:
        fold: batch norms are merged into convolutions in the programs (``pt2``, ``onnx``); ``model.py`` does so when
            asked.
        int8: an ONNX model in 8-bit integers; needs the images of the training.
        latency: the network's time on one CPU thread, in the card.
        licence: of the weights, in the card.
    """

    fold: bool = False
    int8: bool = False
    latency: bool = False
    licence: str = "unknown"


@dataclass(frozen=True)
class Exported:
    """What `export` wrote: the folder, its files, how far each form is from the trained network, and on what inputs."""

    folder: Path
    files: tuple[str, ...]
    agreements: tuple[Agreement, ...]
    compared_on: str

    def __str__(self) -> str:
        largest = max(one.difference for one in self.agreements)
        return (
            f"exported to {self.folder}: {', '.join(self.files)}\n"
            f"every form agrees with the trained network on {self.compared_on} (largest difference {largest:.2g})"
        )


def parse_formats(text: str) -> tuple[Format, ...]:
    """The formats in a comma list, or ``all`` of them; InvalidRequest for an unknown or a repeated one."""
    names = [name.strip() for name in text.split(",")]
    if names == ["all"]:
        return FORMATS
    for name in names:
        check_choice("formats", name, FORMATS if len(names) > 1 else [*FORMATS, "all"])
    require(len(set(names)) == len(names), "formats", text, "names one twice")
    return tuple(form for form in FORMATS if form in names)


def export(
    target: Path,
    to: Path,
    formats: Sequence[Format] | None = None,
    extras: Extras = Extras(),
    *,
    seed: int | None = None,
    untrained: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Write the network that ``target`` names to the folder ``to``, whole or not at all.

    Args:
        target: a run, whose winner is taken, a folder of `sepnas retrain --out`, a bundle or an architecture file.
        to: the folder. Files in it are replaced, and older ones of a bundle deleted, only with ``overwrite``.
        formats: forms beside architecture and weights, at least one; None for those of `DEFAULT_FORMATS` that there
            are of the network.
        extras: what else there is to be.
        seed: of the training that is taken; the first by default (not the best: picking by test accuracy would bias
            it). Of an untrained network, of its weights.
        untrained: of an architecture file, take initial weights.
        overwrite: replace the bundle in ``to``.

    Raises:
        InvalidRequest: there is no such network, or something of this cannot be done.
        RuntimeError: a form does not compute what the network computes.
    """
    folder = ClaimedFolder(to, BUNDLE, field="to")
    folder.check(overwrite=overwrite)
    if "onnx" in (formats or ()):
        check_packages("formats: onnx")
    elif extras.int8:
        raise InvalidRequest("int8: is made from model.onnx, which is not asked for; give --formats onnx or all")
    with scratch_folder() as scratch, find_subject(target, seed, untrained=untrained) as subject:
        made = _make(scratch, subject, _defaults(subject) if formats is None else formats, extras)
        with held(to, "to"):
            folder.claim(overwrite=overwrite)
            for name in reversed(FILES):  # without the last one it is no bundle
                (to / name).unlink(missing_ok=True)
            for name in made.files:
                copy_file(made.folder / name, to / name)
    return replace(made, folder=to)


def _defaults(subject: Subject) -> tuple[Format, ...]:
    has_source = not isinstance(subject.architecture, LayeredNetwork)
    return tuple(form for form in DEFAULT_FORMATS if form != "source" or has_source)


def _make(home: Path, subject: Subject, formats: Sequence[Format], extras: Extras) -> Exported:
    """The bundle in the folder ``home``."""
    text = None
    if "source" in formats:
        if isinstance(subject.architecture, LayeredNetwork):
            why = "is for architectures of the search space, not for networks of a family"
            raise refusal("formats", "source", why, "give --formats pt2,onnx, or one of them")
        text = source(subject.architecture)
    network = subject.network()
    with contextlib.redirect_stdout(sys.stderr):
        data, missing = load_images(subject)
    if extras.int8 and data is None:
        raise InvalidRequest(f"int8: needs the images of the training; {missing}")
    save_architecture(subject.architecture, home / ARCHITECTURE_FILE)
    copy_file(subject.weights, home / WEIGHTS_FILE)
    write_json(home / PREPROCESSING_FILE, subject.preprocessing.as_dict())
    if subject.training is not None:
        write_json(home / TRAINING_FILE, subject.training)
    paths = {form: home / FORMAT_FILES[form] for form in FORMATS}
    checker = Checker(network, find_sample(subject, data))
    agreements: list[Agreement] = []
    if text is not None:
        write_text(paths["source"], text)
        agreements += checker.compare_source(paths["source"], home / WEIGHTS_FILE)
    if {"pt2", "onnx"} & set(formats):
        program = to_program(fold_batch_norms(network) if extras.fold else network, subject.image_shape)
    if "pt2" in formats:
        write_program(program, paths["pt2"])
        agreements.append(checker.compare(paths["pt2"].name, read_program(paths["pt2"])))
    if "onnx" in formats:
        write_onnx(program, subject.image_shape, paths["onnx"])
        agreements.append(checker.compare(paths["onnx"].name, _in_onnx_runtime(paths["onnx"], subject)))
    card = Card(
        subject,
        tuple(agreements),
        checker.sample.said,
        _int8(home, subject, data) if extras.int8 and data is not None else None,
        _times(subject, formats) if extras.latency else [],
        extras.licence,
        extras.fold,
    )
    sizes = {name: (home / name).stat().st_size for name in FILES if (home / name).exists()}
    write_text(home / CARD_FILE, card.text(sizes))
    files = tuple(name for name in FILES if name in sizes or name == CARD_FILE)
    return Exported(home, files, tuple(agreements), checker.sample.said)


def _in_onnx_runtime(path: Path, subject: Subject) -> OnnxNetwork:
    return OnnxNetwork(path, subject.image_shape, subject.architecture.classes)


def _int8(home: Path, subject: Subject, data: ImageData) -> Any:
    from experiments.bundle.int8 import measure_int8, write_int8

    model, path = home / FORMAT_FILES["onnx"], home / INT8_FILE
    calibrated_on = write_int8(model, subject, data, path)
    return measure_int8(_in_onnx_runtime(model, subject), _in_onnx_runtime(path, subject), subject, data, calibrated_on)


def _times(subject: Subject, formats: Sequence[Format]) -> list[dict[str, Any]]:
    names = [PYTORCH_CPU, *([ONNX_CPU] if "onnx" in formats else [])]
    return [
        network_latency(subject.architecture, network_name(subject.architecture), make_backend(name)) for name in names
    ]
