"""Recipes, the Lightning module, retraining, inherited weights."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.spaces import small_images, small_network
from torch import nn

from evaluators import ClassificationModule, InheritedQuality, Recipe, quality, reestimate_batch_norm, retrain
from evaluators.training.callbacks import CHECKPOINT_FILE
from evaluators.training.devices import pick_accelerator
from evaluators.training.loaders import training_loader
from evaluators.training.run import TrainingDiverged
from evaluators.training.trainer import make_trainer
from search_space import InvalidRequest, SearchSpace, baseline, build
from search_space.network import orthonormal_bases, orthonormal_loss
from search_space.space import SepConvSpace

RECIPE = Recipe(epochs=2, batch_size=16, warmup_epochs=0, learning_rate=0.05)


def equal_weights(first: nn.Module, second: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("epochs", 0, "whole number of at least 1"),
        ("batch_size", 1, "whole number of at least 2"),
        ("crop_padding", -1, "whole number of at least 0"),
        ("learning_rate", 0.0, "must be a number above 0"),
        ("learning_rate", math.inf, "must be a number above 0"),
        ("gradient_clip", -1.0, "must be a number above 0"),
        ("momentum", 1.0, "at least 0 and below 1"),
        ("label_smoothing", 1.0, "at least 0 and below 1"),
        ("weight_decay", -1e-4, "must be a number of at least 0"),
        ("orthonormal_weight", math.nan, "must be a number of at least 0"),
        ("warmup_epochs", 30.0, "leaves nothing of 30 epochs"),
    ],
)
def test_impossible_recipes_name_field_value_and_reason(field: str, value: float, why: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"^recipe\.{field}: .*{re.escape(why)}"):
        Recipe(**{field: value})  # type: ignore[arg-type]


def test_the_learning_rate_rises_linearly_then_follows_a_cosine_to_zero() -> None:
    seen: list[float] = []

    class Spy(ClassificationModule):
        def on_train_batch_start(self, *args: Any) -> None:
            seen.append(self.trainer.optimizers[0].param_groups[0]["lr"])

    data = small_images()
    recipe = Recipe(epochs=10, batch_size=16, warmup_epochs=2, learning_rate=0.4)  # two steps an epoch
    loader = training_loader(data.train, data, recipe, seed=0, device="cpu")
    trainer = make_trainer(10, title="t", accelerator="cpu")
    trainer.fit(Spy(recipe, build(small_network())), loader, val_dataloaders=loader)
    assert seen[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert seen[4:] == pytest.approx([0.2 * (1 + math.cos(math.pi * step / 16)) for step in range(16)])


def test_retraining_learns_and_repeats_for_a_seed() -> None:
    data = small_images(64)
    recipe = Recipe(epochs=8, batch_size=16, warmup_epochs=1, learning_rate=0.05)
    first, again, other = (retrain(small_network(), data, recipe, seed=seed, accelerator="cpu") for seed in (0, 0, 1))
    assert first.accuracy > 0.9
    assert equal_weights(first.network, again.network)
    assert first.loss == again.loss
    assert not equal_weights(first.network, other.network)


def test_the_reported_accuracy_is_that_of_the_returned_network() -> None:
    data = small_images(36)
    trained = retrain(small_network(), data, RECIPE, accelerator="cpu")
    images = (data.test.images.float() / 255 - torch.tensor(data.mean)) / torch.tensor(data.std)
    assert not trained.network.training
    assert trained.accuracy == pytest.approx(quality(trained.network, [(images, data.test.labels)]).accuracy)


def test_a_killed_training_resumes_to_the_same_weights(tmp_path: Path) -> None:
    data = small_images(48)
    recipe = Recipe(epochs=4, batch_size=16, warmup_epochs=1, crop_padding=1, flip=True)
    whole = retrain(small_network(), data, recipe, accelerator="cpu")

    class Killed(Exception):
        pass

    def kill(figures: dict[str, float]) -> None:
        if figures["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        retrain(small_network(), data, recipe, accelerator="cpu", folder=tmp_path, on_epoch=kill)
    assert (tmp_path / CHECKPOINT_FILE).exists()
    epochs: list[float] = []
    resumed = retrain(
        small_network(),
        data,
        recipe,
        accelerator="cpu",
        folder=tmp_path,
        on_epoch=lambda figures: epochs.append(figures["epoch"]),
    )
    assert epochs == [2, 3], "epochs that were done are done again, or missing"
    assert equal_weights(whole.network, resumed.network)


def test_scoring_on_validation_images_leaves_test_images_alone() -> None:
    data = small_images()
    poisoned = small_images()
    poisoned._test = data.test.join(data.test).subset(torch.arange(3))
    scores = [
        retrain(small_network(), images, RECIPE, train_on="train", measure_on="validation", accelerator="cpu").loss
        for images in (data, poisoned)
    ]
    assert scores[0] == scores[1]
    with pytest.raises(InvalidRequest, match=r"train_on: 'train\+validation' cannot be measured on validation"):
        retrain(small_network(), data, RECIPE, measure_on="validation", accelerator="cpu")


def test_a_network_that_does_not_fit_the_data_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"architecture\.classes: 10, but the data 'quarters' has 4"):
        retrain(baseline("mobilenetv3-small", image_size=8, in_channels=1), small_images(), RECIPE)


def test_a_diverging_training_stops_as_failed(tmp_path: Path) -> None:
    recipe = Recipe(epochs=6, batch_size=16, warmup_epochs=0, learning_rate=1e18)
    with pytest.raises(
        TrainingDiverged, match=r"the loss is (nan|inf) at step \d+ \(epoch \d\); lower the learning rate"
    ):
        retrain(small_network(), small_images(), recipe, accelerator="cpu", folder=tmp_path)


def test_an_accelerator_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InvalidRequest, match=r"accelerator: cuda, but torch sees no GPU here; use auto or cpu"):
        pick_accelerator("cuda")
    with pytest.raises(InvalidRequest, match=r"accelerator: 'tpu' is unknown; known are auto, cpu, cuda"):
        pick_accelerator("tpu")
    assert pick_accelerator("auto") == "cpu"


def test_the_orthonormal_loss_pulls_the_projections_of_bsconv_s_to_orthonormal_rows() -> None:
    data = small_images()
    distances = []
    for weight in (0.0, 1.0):
        recipe = Recipe(epochs=12, batch_size=16, learning_rate=0.05, orthonormal_weight=weight)
        network = retrain(small_network("mobilenetv3-small-bsconv-s"), data, recipe, accelerator="cpu").network
        distances.append(orthonormal_loss(orthonormal_bases(network)).item())
    assert distances[1] < 0.5 * distances[0]
    assert orthonormal_bases(build(small_network())) == []


def test_only_bases_on_the_sampled_path_are_regularised() -> None:
    space = SepConvSpace(
        SearchSpace.create(image_size=8, in_channels=1, classes=4, width=0.25, operators=["dw_k3", "bsconv_s_k3"])
    )
    module = ClassificationModule(Recipe(orthonormal_weight=1.0), space)
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    batch = (torch.randn(4, 1, 8, 8), torch.arange(4))
    module.training_step(batch, 0).backward()  # before a strategy mutates it, the first candidate of each block runs
    bases = orthonormal_bases(space)
    assert len(bases) == 11
    assert all(basis.weight.grad is None for basis in bases)


def test_batch_norm_is_reestimated_to_the_statistics_of_the_batches() -> None:
    network = build(small_network())
    network.stem.norm.running_mean.fill_(100.0)
    momentum = network.stem.norm.momentum
    batches = [torch.randn(8, 1, 8, 8) for _ in range(4)]
    reestimate_batch_norm(network, batches)
    with torch.no_grad():
        outputs = [network.stem.conv(batch) for batch in batches]
    mean = torch.stack([output.mean((0, 2, 3)) for output in outputs]).mean(0)
    variance = torch.stack([output.var((0, 2, 3)) for output in outputs]).mean(0)
    assert torch.allclose(network.stem.norm.running_mean, mean, atol=1e-5)
    assert torch.allclose(network.stem.norm.running_var, variance, rtol=1e-4)
    assert network.stem.norm.momentum == momentum
    assert not network.training


def test_inherited_accuracy_heals_mixed_statistics_and_repeats() -> None:
    data = small_images(64)
    trained = retrain(
        small_network(), data, Recipe(epochs=12, batch_size=16, learning_rate=0.05), accelerator="cpu"
    ).network
    inherited = InheritedQuality(data, calibration_images=64, batch_size=32)
    for module in trained.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.uniform_(-3, 3)  # as after training on other paths
    broken = quality(trained, inherited.validation)
    healed = inherited(trained)
    assert healed.accuracy > 0.9 > broken.accuracy
    assert healed.loss < broken.loss
    assert inherited(trained) == healed


def test_calibration_batches_are_of_one_size_whatever_the_number_of_images() -> None:
    inherited = InheritedQuality(small_images(33), calibration_images=33, batch_size=32)
    assert sorted(len(images) for images, _ in inherited.calibration) == [16, 17]
    assert 0 <= inherited(build(small_network())).accuracy <= 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_retraining_runs_on_a_gpu() -> None:
    trained = retrain(
        small_network(), small_images(64), Recipe(epochs=12, batch_size=16, learning_rate=0.05), accelerator="cuda"
    )
    assert trained.accuracy > 0.9
    assert next(trained.network.parameters()).device.type == "cpu"
