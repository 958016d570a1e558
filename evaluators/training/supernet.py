"""The evaluator that NNI's one-shot strategies train a supernet with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from nni.nas.evaluator.pytorch import DataLoader as TracedDataLoader
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.evaluator.pytorch import Trainer as TracedTrainer

from evaluators.data.images import ImageData
from evaluators.training.callbacks import SeededEpochs
from evaluators.training.devices import pick_accelerator
from evaluators.training.loaders import training_loader
from evaluators.training.module import ClassificationModule
from evaluators.training.recipes import Recipe
from evaluators.training.run import Accelerator
from evaluators.training.trainer import make_trainer, resume_point
from search_space.base.checks import require


def supernet_evaluator(
    data: ImageData,
    recipe: Recipe,
    *,
    seed: int = 0,
    accelerator: Accelerator = "auto",
    folder: Path | None = None,
    title: str = "search",
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    clips_gradients: bool = False,
    extra_callbacks: Sequence[pl.Callback] = (),
    devices: int = 1,
) -> Lightning:
    """The evaluator with which NNI's one-shot strategies train a supernet on ``data`` by ``recipe``.

    Weights learn from ``data.train``, architecture parameters from ``data.validation``; the test split is not used.
    With ``folder`` the search continues from the last whole epoch of a killed run. ``clips_gradients`` says that the
    strategy clips by itself, as the differentiable ones must: Lightning refuses it in manual optimisation.
    With several ``devices`` this is called in each of as many processes (`evaluators.training.processes.run_together`).
    Strategies of `strategies.one_shot` learn together what one process would, except for dropout, and for batch norms,
    which see only the process's share of each batch. InvalidRequest as from `check_supernet_recipe`.
    """
    check_supernet_recipe(recipe)
    device = pick_accelerator(accelerator)
    trainer = make_trainer(
        recipe.epochs,
        title=title,
        accelerator=accelerator,
        folder=folder,
        gradient_clip=None if clips_gradients else recipe.gradient_clip,
        on_epoch=on_epoch,
        extra_callbacks=[*extra_callbacks, SeededEpochs(seed)] if recipe.dropout else extra_callbacks,
        precision=recipe.precision,
        trainer_class=TracedTrainer,
        devices=devices,
        reduces_itself=True,
    )
    place: dict[str, Any] = {"device": device}
    if devices > 1:
        own_device = str(trainer.strategy.root_device)
        place = {"device": own_device, "rank": trainer.global_rank, "world_size": trainer.world_size}
    learning, choosing = (
        training_loader(part, data, recipe, seed=own, loader_class=TracedDataLoader, **place)
        for own, part in ((seed, data.train), (seed + 1, data.validation))
    )
    return Lightning(
        ClassificationModule(recipe),
        trainer,
        train_dataloaders=learning,
        val_dataloaders=choosing,
        fit_kwargs={"ckpt_path": resume_point(folder), "weights_only": True},
    )


def check_supernet_recipe(recipe: Recipe) -> None:
    """InvalidRequest for what only stand-alone trainings can do: averaged weights, compilation, fp16."""
    refused = {
        "ema_decay": (recipe.ema_decay is not None, "a supernet's weights are not averaged", "set it to null"),
        "compile": (recipe.compile, "every path of a supernet would be compiled anew", "set it to false"),
        "precision": (recipe.precision == "fp16", "strategies step without loss scaling", "use bf16"),
    }
    for field, (wrong, why, remedy) in refused.items():
        require(not wrong, f"recipe.{field}", getattr(recipe, field), f"cannot be used in a search: {why}", remedy)
