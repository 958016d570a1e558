"""Training of one network, by the same recipe for winners and baselines."""

from __future__ import annotations

import gc
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from evaluators.data.images import ImageData
from evaluators.training.callbacks import AveragedWeights, BestWeights, SeededEpochs
from evaluators.training.devices import check_precision, check_processes, pick_accelerator
from evaluators.training.loaders import check_augmentation, check_fit, measuring_loader, training_loader
from evaluators.training.module import ClassificationModule
from evaluators.training.pools import run_each
from evaluators.training.processes import decided, is_launched, run_together
from evaluators.training.recipes import Recipe
from evaluators.training.run import TrainingRun
from evaluators.training.trainer import fit, make_trainer, resume_point
from search_space.base.checks import check_int
from search_space.blueprint import AnyNetwork
from search_space.network import build
from search_space.weights import CLASSIFIER, load_weights

OnEpoch = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Best:
    """The weights of the best epoch.

    Attributes:
        path: where they are (safetensors).
        epoch: the first epoch, from 0, of the highest validation accuracy.
        accuracy: on the split that the training is measured on; likewise ``loss``.
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
        split: what it was measured on; accuracy and loss are of it.
        seconds: that this process took; a resumed training took longer.
        best: the best epoch by validation accuracy, if that was asked for.
    """

    network: nn.Module
    split: str
    accuracy: float
    loss: float
    seconds: float
    best: Best | None = None


def retrain(
    architecture: AnyNetwork,
    data: ImageData,
    recipe: Recipe,
    run: TrainingRun = TrainingRun(),
    *,
    on_epoch: OnEpoch | None = None,
    **changes: Any,
) -> Trained:
    """Train ``architecture`` and measure the weights of the last epoch.

    With several ``run.devices`` a process for each is started on this machine; with several nodes torchrun or SLURM
    must have started the processes, each of which calls this (``run.folder`` must be the same to all). They share out
    each batch and learn what one process would, apart from dropout, and from batch statistics on CPUs, where each batch
    norm sees its share alone.

    Args:
        architecture: what to train.
        data: images that fit it.
        recipe: how it is trained.
        run: everything else.
        on_epoch: called with the metrics of each epoch.
        changes: fields of ``run`` to replace, as in ``retrain(architecture, data, recipe, seed=1)``.

    Raises:
        InvalidRequest: architecture and data do not fit, or this machine cannot do what ``run`` asks for.
        TrainingDiverged: the loss stopped being finite; the resume point in ``run.folder`` is then the last good one.
    """
    run = replace(run, **changes)
    check_fit(architecture, data)
    check_processes(run.devices, run.num_nodes, run.accelerator)
    device = pick_accelerator(run.accelerator)
    check_precision(recipe.precision, device)
    check_augmentation(recipe, data.channels, data.image_size)
    if run.measure_on == "test":
        _ = data.test  # decoded on first use: a damaged image must not show up only when the training is over
    if run.devices > 1 and not is_launched():
        start = time.perf_counter()
        packed = run_together(_packed, (architecture, data, recipe, run), run.devices, on_epoch)
        return replace(pickle.loads(packed), seconds=time.perf_counter() - start)
    _free(device)
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
        trained = _train(architecture, data, recipe, run, on_epoch)
    _free(device)
    return trained


def _free(device: str) -> None:
    """Free what trainings that are over, or have failed, hold of a GPU's memory.

    Trainer and module refer to each other, and would keep their memory while the next training asks for as much.
    """
    if device == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def retrain_seeds(
    architecture: AnyNetwork,
    data: ImageData,
    recipe: Recipe,
    seeds: Sequence[int],
    run: TrainingRun = TrainingRun(),
    *,
    parallel_seeds: int = 1,
    **changes: Any,
) -> list[Trained]:
    """`retrain` once for each of ``seeds``, ``parallel_seeds`` at a time, each in a process of its own on one device.

    A small network leaves most of a GPU idle, so several trainings take little longer than one; results are those of
    one after the other. All seeds are trained, then the first error is raised. ``changes`` are fields of ``run`` to
    replace; in its folder, if any, each seed gets one of its own.
    """
    check_int("parallel_seeds", parallel_seeds, 1)
    run = replace(run, **changes)
    check_processes(run.devices, run.num_nodes, run.accelerator, parallel_seeds)
    runs = [replace(run, seed=seed, folder=run.folder and run.folder / f"seed{seed}") for seed in seeds]
    for one in runs:
        if one.folder is not None:
            one.folder.mkdir(parents=True, exist_ok=True)
    calls = [(architecture, data, recipe, one) for one in runs]
    return [pickle.loads(packed) for packed in run_each(_packed, calls, parallel_seeds)]


def _train(
    architecture: AnyNetwork, data: ImageData, recipe: Recipe, run: TrainingRun, on_epoch: OnEpoch | None
) -> Trained:
    start = time.perf_counter()
    torch.manual_seed(run.seed)
    network = build(architecture)
    if run.start is not None:
        load_weights(network, run.start, optional=CLASSIFIER)
    best = BestWeights(run.folder) if run.keep_best and run.folder is not None else None
    average = AveragedWeights(recipe.ema_decay) if recipe.ema_decay is not None else None
    # what looks at the averaged weights comes before the one that takes them back
    callbacks: list[pl.Callback] = [callback for callback in (best, average) if callback is not None]
    if recipe.dropout:
        callbacks.append(SeededEpochs(run.seed))
    trainer = make_trainer(
        recipe.epochs if run.until is None else min(run.until, recipe.epochs),
        title=run.title,
        accelerator=run.accelerator,
        folder=run.folder,
        gradient_clip=recipe.gradient_clip,
        on_epoch=on_epoch,
        extra_callbacks=callbacks,
        precision=recipe.precision,
        validates=best is not None,
        devices=run.devices,
        num_nodes=run.num_nodes,
    )
    wrap = partial(ClassificationModule, recipe, fused=True, cycles=run.cycles)
    module = wrap(network)
    device = str(trainer.strategy.root_device)
    place: dict[str, Any] = {"device": device, "rank": trainer.global_rank, "world_size": trainer.world_size}
    images = data.train if run.train_on == "train" else data.train.join(data.validation)
    fit(
        trainer,
        module,
        training_loader(images, data, recipe, seed=run.seed, **place),
        measuring_loader(data.validation, data, recipe, **place) if best is not None else None,
        checkpoint=decided(lambda: resume_point(run.folder)),
    )
    module.release()
    if average is not None:
        average.copy_to(network)
    held_out = measuring_loader(data.test if run.measure_on == "test" else data.validation, data, recipe, **place)
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
        split=run.measure_on,
        accuracy=figures["test_accuracy"],
        loss=figures["test_loss"],
        seconds=time.perf_counter() - start,
        best=of_best,
    )


def _packed(
    architecture: AnyNetwork, data: ImageData, recipe: Recipe, run: TrainingRun, report: OnEpoch | None = None
) -> bytes:
    """What `retrain` returns, as bytes that outlive this process: torch would send weights by shared memory."""
    return pickle.dumps(retrain(architecture, data, recipe, run, on_epoch=report))
