"""Training of one architecture from scratch, by the same recipe for winners and baselines."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import safetensors.torch
import torch
from torch.utils.data import DataLoader

from evaluators.augment.augmentation import Augmentation
from evaluators.data.images import ImageData, Images, joined
from evaluators.data.loaders import make_loader
from evaluators.training.averaging import AveragedWeights
from evaluators.training.best_weights import BestWeights
from evaluators.training.module import ClassificationModule
from evaluators.training.processes import decided, is_launched, run_each, run_together, world_size
from evaluators.training.recipes import Recipe
from evaluators.training.trainer import (
    Accelerator,
    SeededEpochs,
    check_precision,
    fit,
    make_trainer,
    pick_accelerator,
    resume_point,
)
from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest
from search_space.network import Network, build
from search_space.weights import load_weights

__all__ = [
    "Best",
    "Trained",
    "check_fit",
    "check_input",
    "check_processes",
    "joined",
    "measuring_loader",
    "retrain",
    "retrain_seeds",
    "training_loader",
]

TrainOn = Literal["train", "train+validation"]
MeasureOn = Literal["test", "validation"]
OnEpoch = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Best:
    """The weights of the best epoch.

    Attributes:
        path: where they are (safetensors).
        epoch: the first epoch, from 0, of the highest validation accuracy.
        validation_accuracy: that accuracy.
        accuracy: on the split that the training is measured on.
        loss: likewise.
    """

    path: Path
    epoch: int
    validation_accuracy: float
    accuracy: float
    loss: float


@dataclass(frozen=True)
class Trained:
    """A trained network and how well it does.

    Attributes:
        network: with the weights of the last epoch (their running average if the recipe asks for one), on the CPU.
        split: what it was measured on.
        accuracy: on that split.
        loss: likewise.
        seconds: that this process took; a resumed training took longer.
        best: the best epoch by validation accuracy, if that was asked for.
    """

    network: Network
    split: str
    accuracy: float
    loss: float
    seconds: float
    best: Best | None = None


def retrain(
    architecture: Architecture,
    data: ImageData,
    recipe: Recipe,
    *,
    seed: int = 0,
    train_on: TrainOn = "train+validation",
    measure_on: MeasureOn = "test",
    accelerator: Accelerator = "auto",
    folder: Path | None = None,
    title: str = "retrain",
    on_epoch: OnEpoch | None = None,
    keep_best: bool = False,
    devices: int = 1,
    num_nodes: int = 1,
) -> Trained:
    """Train ``architecture`` from scratch and measure the weights of the last epoch.

    ``seed`` sets initialisation, order of images, augmentation and dropout: the same seed on the same machine gives the
    same weights. With ``folder`` a killed run goes on from its last whole epoch. ``measure_on="validation"`` (for
    scoring candidates in a search) leaves the test split alone. ``keep_best`` measures every epoch on the validation
    images and keeps the best one's weights in ``folder``.

    With several ``devices`` a process for each is started on this machine; with several nodes torchrun or SLURM must
    have started the processes, each of which calls this (``folder`` must be the same to all). They share out each batch
    and learn what one process would, apart from batch statistics on CPUs, where each batch norm sees its share alone
    (on GPUs they are synchronised), and from dropout.

    InvalidRequest if architecture and data do not fit or the options contradict each other; TrainingDiverged, with the
    step, if the loss stops being finite: the resume point in ``folder`` is then the last good one.
    """
    check_fit(architecture, data)
    _check_options(train_on, measure_on, folder, keep_best)
    check_processes(devices, num_nodes, accelerator)
    check_precision(recipe.precision, pick_accelerator(accelerator))
    if measure_on == "test":
        _ = data.test  # decoded on first use: a damaged image must not show up only when the training is over
    options: dict[str, Any] = {
        "seed": seed,
        "train_on": train_on,
        "measure_on": measure_on,
        "accelerator": accelerator,
        "folder": folder,
        "title": title,
        "keep_best": keep_best,
        "devices": devices,
        "num_nodes": num_nodes,
    }
    if devices > 1 and not is_launched():
        start = time.perf_counter()
        packed = run_together(_packed, (architecture, data, recipe, options), devices, on_epoch)
        return _unpacked(packed, seconds=time.perf_counter() - start)
    with torch.random.fork_rng(devices=_cuda_devices(accelerator)):
        trained = _train(architecture, data, recipe, on_epoch=on_epoch, **options)
    if pick_accelerator(accelerator) == "cuda":
        # trainer and module refer to each other, and would keep their memory while the next seed asks for as much
        gc.collect()
        torch.cuda.empty_cache()
    return trained


def retrain_seeds(
    architecture: Architecture,
    data: ImageData,
    recipe: Recipe,
    seeds: Sequence[int],
    *,
    parallel_seeds: int = 1,
    folders: Sequence[Path | None] | None = None,
    **options: Any,
) -> list[Trained]:
    """`retrain` once for each seed, ``parallel_seeds`` at a time, each in a process of its own on the same device.

    ``folders`` gives each seed its folder; other options are those of `retrain`. A small network leaves most of a GPU
    idle, so several trainings take little longer than one; results are those of one after the other. All seeds are
    trained, then the first error is raised.
    """
    if parallel_seeds < 1:
        raise InvalidRequest(f"parallel_seeds: {parallel_seeds} is no number of processes; give 1 or more")
    if parallel_seeds > 1 and options.get("on_epoch") is not None:
        raise InvalidRequest("on_epoch: cannot be called from other processes; leave it out or set parallel_seeds to 1")
    processes = (options.get("devices", 1), options.get("num_nodes", 1), options.get("accelerator", "auto"))
    check_processes(*processes, parallel_seeds)
    homes = [None] * len(seeds) if folders is None else list(folders)
    calls = [
        (architecture, data, recipe, {**options, "seed": seed, "folder": folder})
        for seed, folder in zip(seeds, homes, strict=True)
    ]
    if parallel_seeds == 1:
        return run_each(_retrained, calls, 1)
    return [_unpacked(packed) for packed in run_each(_packed, calls, parallel_seeds)]


def _retrained(architecture: Architecture, data: ImageData, recipe: Recipe, options: dict[str, Any]) -> Trained:
    return retrain(architecture, data, recipe, **options)


def _check_options(train_on: TrainOn, measure_on: MeasureOn, folder: Path | None, keep_best: bool) -> None:
    if measure_on == "validation" and train_on != "train":
        raise InvalidRequest("train_on: train+validation cannot be measured on validation images; train on 'train'")
    if keep_best and train_on != "train":
        raise InvalidRequest(
            "keep_best: the best epoch is chosen by validation images, which train_on train+validation trains on;"
            " train on 'train'"
        )
    if keep_best and folder is None:
        raise InvalidRequest("keep_best: needs a folder for the weights; give one")


def check_processes(devices: int, num_nodes: int, accelerator: Accelerator, parallel_seeds: int = 1) -> None:
    """InvalidRequest if trainings cannot be shared out to so many processes here, or not to those that were started."""
    for name, value in (("devices", devices), ("num_nodes", num_nodes)):
        if value < 1:
            raise InvalidRequest(f"{name}: {value} must be at least 1")
    if num_nodes > 1 and not is_launched():
        raise InvalidRequest(
            f"num_nodes: {num_nodes}, but neither torchrun nor SLURM started this process; start it by one of them"
        )
    world = world_size()
    if parallel_seeds > 1 and world > 1:
        raise InvalidRequest(
            f"parallel_seeds: {parallel_seeds}, but torchrun or SLURM started {world} processes that train each seed"
            " together; set it to 1, or start one process"
        )
    if is_launched() and world != devices * num_nodes:
        raise InvalidRequest(
            f"devices: {devices} on {num_nodes} node(s) are {devices * num_nodes} process(es), but torchrun or SLURM"
            f" started {world}, which would train apart; set devices and num_nodes to what was started"
        )
    if pick_accelerator(accelerator) == "cuda" and devices > (there := torch.cuda.device_count()):
        raise InvalidRequest(f"devices: {devices}, but torch sees {there} GPU(s) here; give at most {there}")


def _train(
    architecture: Architecture,
    data: ImageData,
    recipe: Recipe,
    *,
    seed: int,
    train_on: TrainOn,
    measure_on: MeasureOn,
    accelerator: Accelerator,
    folder: Path | None,
    title: str,
    on_epoch: OnEpoch | None,
    keep_best: bool,
    devices: int,
    num_nodes: int,
) -> Trained:
    start = time.perf_counter()
    torch.manual_seed(seed)
    network = build(architecture)
    best = BestWeights(folder) if keep_best and folder is not None else None
    average = AveragedWeights(recipe.ema_decay) if recipe.ema_decay is not None else None
    # what looks at the averaged weights comes before the one that takes them back
    callbacks: list[pl.Callback] = [callback for callback in (best, average) if callback is not None]
    if recipe.dropout:
        callbacks.append(SeededEpochs(seed))
    trainer = make_trainer(
        recipe.epochs,
        title=title,
        accelerator=accelerator,
        folder=folder,
        gradient_clip=recipe.gradient_clip,
        on_epoch=on_epoch,
        extra_callbacks=callbacks,
        precision=recipe.precision,
        validates=best is not None,
        devices=devices,
        num_nodes=num_nodes,
    )
    wrap = partial(ClassificationModule, recipe, fused=True)
    module = wrap(network)
    place: dict[str, Any] = {
        "device": str(trainer.strategy.root_device),
        "rank": trainer.global_rank,
        "world_size": trainer.world_size,
    }
    images = data.train if train_on == "train" else joined(data.train, data.validation)
    fit(
        trainer,
        module,
        training_loader(images, data, recipe, seed=seed, **place),
        measuring_loader(data.validation, data, recipe, **place) if best is not None else None,
        checkpoint=decided(lambda: resume_point(folder)) if folder is not None else None,
    )
    module.release()
    if average is not None:
        average.copy_to(network)
    held_out = measuring_loader(data.test if measure_on == "test" else data.validation, data, recipe, **place)
    figures = trainer.test(module, held_out, verbose=False)[0]
    of_best = None
    if best is not None:
        its_network = build(architecture)
        load_weights(its_network, best.path)
        its_figures = trainer.test(wrap(its_network), held_out, verbose=False)[0]
        of_best = Best(best.path, best.epoch, best.accuracy, its_figures["test_accuracy"], its_figures["test_loss"])
    if trainer.world_size > 1:
        # synchronised batch norms, and what Lightning turns them back to, are not the layers of the architecture
        weights, network = network.state_dict(), build(architecture)
        network.load_state_dict(weights)
    return Trained(
        network=network.cpu().eval(),
        split=measure_on,
        accuracy=figures["test_accuracy"],
        loss=figures["test_loss"],
        seconds=time.perf_counter() - start,
        best=of_best,
    )


@dataclass(frozen=True)
class _Packed:
    """A `Trained` that outlives the process that made it: its weights are bytes, not shared memory."""

    architecture: Architecture
    weights: bytes
    figures: dict[str, Any]


def _packed(
    architecture: Architecture,
    data: ImageData,
    recipe: Recipe,
    options: dict[str, Any],
    report: OnEpoch | None = None,
) -> _Packed:
    trained = retrain(architecture, data, recipe, on_epoch=report, **options)
    weights = safetensors.torch.save({k: v.contiguous() for k, v in trained.network.state_dict().items()})
    figures = {name: getattr(trained, name) for name in ("split", "accuracy", "loss", "seconds", "best")}
    return _Packed(architecture, weights, figures)


def _unpacked(packed: _Packed, **changes: Any) -> Trained:
    with torch.random.fork_rng(devices=[]):
        network = build(packed.architecture)
    network.load_state_dict(safetensors.torch.load(packed.weights))
    return Trained(network=network.eval(), **{**packed.figures, **changes})


def _cuda_devices(accelerator: Accelerator) -> list[int]:
    """The device whose random state a training changes."""
    return [torch.cuda.current_device()] if pick_accelerator(accelerator) == "cuda" else []


def training_loader(
    images: Images,
    data: ImageData,
    recipe: Recipe,
    *,
    seed: int,
    device: str,
    loader_class: type[DataLoader] = DataLoader,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader:
    """Shuffled, augmented batches of ``images`` as the recipe wants them; of several processes, each has its part."""
    augmentation = Augmentation(
        crop_padding=recipe.crop_padding,
        flip=recipe.flip,
        resized_crop_area=recipe.resized_crop_area,
        aspect=recipe.aspect,
        color_jitter=recipe.color_jitter,
        cutout=recipe.cutout,
        mixup=recipe.mixup,
    )
    return make_loader(
        images,
        data,
        recipe.batch_size,
        shuffle=True,
        augmentation=augmentation if augmentation != Augmentation(aspect=recipe.aspect) else None,
        seed=seed,
        device=device,
        loader_class=loader_class,
        rank=rank,
        world_size=world_size,
    )


def measuring_loader(
    images: Images, data: ImageData, recipe: Recipe, *, device: str, rank: int = 0, world_size: int = 1
) -> DataLoader:
    """Batches of ``images`` in order, unchanged; of several processes, of the own part of the images."""
    size = max(256, recipe.batch_size)
    return make_loader(images, data, size, shuffle=False, device=device, rank=rank, world_size=world_size)


def check_fit(architecture: Architecture, data: ImageData) -> None:
    """InvalidRequest if the network's input or classes are not those of the data."""
    check_input(architecture, data.name, data.image_size, (data.channels,), len(data.classes))


def check_input(
    architecture: Architecture, name: str, image_size: int, channels: tuple[int, ...], classes: int
) -> None:
    """`check_fit` before the images of the data ``name`` are decoded, with the channels that they may have."""
    wanted = {"image_size": (image_size,), "in_channels": channels, "classes": (classes,)}
    for field, values in wanted.items():
        if getattr(architecture, field) not in values:
            raise InvalidRequest(
                f"architecture.{field}: {getattr(architecture, field)}, but the data {name!r} has"
                f" {' or '.join(map(str, values))}; make the architecture for these data, or load the data to fit it"
            )
