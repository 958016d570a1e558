"""Averaged weights: they are the weighted sum they should be, are measured and kept, and disturb nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from helpers.spaces import small_images, small_network
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from evaluators import Recipe, quality, retrain
from evaluators.training.callbacks import BEST_FILE, AveragedWeights
from evaluators.training.loaders import measuring_loader, training_loader
from evaluators.training.module import ClassificationModule
from evaluators.training.trainer import fit, make_trainer
from search_space import InvalidRequest, build
from search_space.weights import load_weights

RECIPE = Recipe(epochs=3, batch_size=16, warmup_epochs=0, learning_rate=0.05, ema_decay=0.7)


def states(network: Any) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in network.state_dict().values()]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class Recorder(pl.Callback):
    """The weights after every step."""

    def __init__(self) -> None:
        self.seen: list[list[torch.Tensor]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        self.seen.append(states(pl_module.model))


def test_the_average_is_the_weighted_sum_of_all_steps() -> None:
    data = small_images(48)
    torch.manual_seed(0)
    network, recorder, average = build(small_network()), Recorder(), AveragedWeights(0.7)
    trainer = make_trainer(3, title="t", accelerator="cpu", extra_callbacks=[recorder, average])
    loader = training_loader(data.train, data, RECIPE, seed=0, device="cpu")
    trainer.fit(ClassificationModule(RECIPE, network), loader, val_dataloaders=loader)
    assert len(recorder.seen) == 9
    averaged = build(small_network())
    average.copy_to(averaged)
    # the first step's weights begin the average; step t has 1 - d_t, d_t = min(0.7, (1 + t) / (10 + t)), t = 1, 2, ...
    decays = [0.0] + [min(0.7, (1 + t) / (10 + t)) for t in range(1, 9)]
    shares = [1 - decay for decay in decays]
    for later in range(1, 9):
        shares[:later] = [share * decays[later] for share in shares[:later]]
    assert sum(shares) == pytest.approx(1)
    for index, (name, tensor) in enumerate(averaged.state_dict().items()):
        history = torch.stack([seen[index].double() for seen in recorder.seen])
        if name.endswith("num_batches_tracked"):
            assert tensor == 9
        else:  # running means and variances are averaged like weights
            expected = torch.einsum("t,t...->...", torch.tensor(shares, dtype=torch.double), history)
            assert torch.allclose(tensor.double(), expected, rtol=1e-4, atol=1e-6), name


def test_the_average_is_torchs() -> None:
    data = small_images(48)
    torch.manual_seed(0)
    # so high a decay that the ramp is below it in all steps
    network, average = build(small_network()), AveragedWeights(0.9999)

    class Torch(pl.Callback):
        def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
            self.model = AveragedModel(pl_module.model, use_buffers=True)

        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
            step = int(self.model.n_averaged)
            self.model.multi_avg_fn = get_ema_multi_avg_fn((1 + step) / (10 + step))
            self.model.update_parameters(pl_module.model)

    torchs = Torch()
    trainer = make_trainer(3, title="t", accelerator="cpu", extra_callbacks=[torchs, average])
    fit(trainer, ClassificationModule(RECIPE, network), training_loader(data.train, data, RECIPE, seed=0, device="cpu"))
    own, theirs = build(small_network()), torchs.model.module.state_dict()
    average.copy_to(own)
    floating = {name: tensor for name, tensor in own.state_dict().items() if tensor.is_floating_point()}
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in floating.items())
    assert average.updates == torchs.model.n_averaged == 9


def test_the_averaged_network_is_the_one_that_is_measured_and_returned() -> None:
    data = small_images(48)
    plain = replace(RECIPE, ema_decay=None)
    averaged, last = (retrain(small_network(), data, recipe, accelerator="cpu") for recipe in (RECIPE, plain))
    assert not same(states(averaged.network), states(last.network))
    batches = measuring_loader(data.test, data, RECIPE, device="cpu")
    assert averaged.accuracy == pytest.approx(quality(averaged.network, batches).accuracy)


def test_validating_by_the_average_leaves_the_training_as_it_was(tmp_path: Path) -> None:
    data = small_images(48)
    quiet = retrain(small_network(), data, RECIPE, train_on="train", accelerator="cpu")
    watched = retrain(
        small_network(), data, RECIPE, train_on="train", accelerator="cpu", folder=tmp_path, keep_best=True
    )
    assert same(states(quiet.network), states(watched.network))


def test_the_best_epoch_is_kept_and_measured(tmp_path: Path) -> None:
    data = small_images(64)
    recipe = Recipe(epochs=6, batch_size=8, warmup_epochs=0, learning_rate=0.05, ema_decay=0.3)
    seen: list[float] = []
    trained = retrain(
        small_network(),
        data,
        recipe,
        train_on="train",
        accelerator="cpu",
        folder=tmp_path,
        keep_best=True,
        on_epoch=lambda figures: seen.append(figures["val_accuracy"]),
    )
    best = trained.best
    assert best is not None
    assert len(seen) == 6
    assert len(set(seen)) > 1, "the case did not arise"
    assert (best.epoch, best.validation_accuracy) == (seen.index(max(seen)), max(seen))
    network = build(small_network()).eval()
    load_weights(network, tmp_path / BEST_FILE)
    # validation and test images are the same here: the averaged weights of that epoch, as they were validated
    batches = measuring_loader(data.test, data, recipe, device="cpu")
    assert quality(network, batches).accuracy == pytest.approx(max(seen))
    assert best.accuracy == pytest.approx(max(seen))
    assert best.path == tmp_path / BEST_FILE


def test_a_training_killed_before_its_figures_were_written_gives_them_again(tmp_path: Path) -> None:
    """Lightning then has no epoch left to run, and would return the weights of the last step."""
    data = small_images(48)
    whole = retrain(small_network(), data, RECIPE, accelerator="cpu", folder=tmp_path)
    again = retrain(small_network(), data, RECIPE, accelerator="cpu", folder=tmp_path)
    assert same(states(whole.network), states(again.network))
    assert whole.loss == again.loss


def test_the_best_epoch_needs_validation_images_and_a_folder(tmp_path: Path) -> None:
    data = small_images()
    with pytest.raises(InvalidRequest, match=r"keep_best: True chooses the best epoch by validation images"):
        retrain(small_network(), data, RECIPE, accelerator="cpu", folder=tmp_path, keep_best=True)
    with pytest.raises(InvalidRequest, match=r"keep_best: True needs a folder"):
        retrain(small_network(), data, RECIPE, accelerator="cpu", train_on="train", keep_best=True)
