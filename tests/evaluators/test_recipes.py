"""Recipes: the papers' presets, schedules, optimizers, weight decay, dropout, mixed labels, several seeds' figures."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.spaces import small_images
from torch import nn
from torch.nn import functional as F

from evaluators.measuring.statistics import summarise
from evaluators.training.module import ClassificationModule
from evaluators.training.optimizers import learning_rate_scale, make_optimizer
from evaluators.training.presets import RECIPES, recipe
from evaluators.training.recipes import Recipe
from evaluators.training.supernet import supernet_evaluator
from experiments.options.values import make
from search_space import InvalidRequest, baseline, build

STEPS = 10  # an epoch


def rate(preset: Recipe, epoch: float) -> float:
    """The learning rate after ``epoch`` epochs."""
    scale = learning_rate_scale(preset, preset.epochs * STEPS)
    return preset.learning_rate * scale(round(epoch * STEPS))


@pytest.mark.parametrize(
    ("name", "epochs", "batch", "decay", "rates"),
    [
        # XSepConv section 4.1: half of a cosine lies halfway between warm-up and end
        ("xsepconv-cifar", 400, 128, 6e-5, {0: 0.35 / 50, 5: 0.35, 202.5: 0.175, 399.9: 0.0}),
        ("xsepconv-svhn", 20, 128, 6e-5, {5: 0.35, 12.5: 0.175}),
        ("xsepconv-tiny-imagenet", 200, 128, 6e-5, {5: 0.15, 102.5: 0.075}),
        # BSConv sections 5.1 and 5.2
        ("bsconv-cifar", 200, None, 1e-4, {0: 0.1, 99.9: 0.1, 100: 0.01, 150: 1e-3, 179.9: 1e-3, 180: 1e-4}),
        ("bsconv-imagenet", 100, None, 1e-4, {29.9: 0.1, 30: 0.01, 60: 1e-3, 90: 1e-4}),
        # Convolution with even-sized kernels, section 4.5
        ("even-kernel-cifar", 300, 64, 1e-4, {0: 0.1, 150: 0.05}),
        # Xception section 4.2
        ("xception-imagenet", None, None, 1e-5, {0: 0.045, 1.9: 0.045, 2: 0.0423, 4: 0.039762}),
        ("bsconv-fine-grained", 100, None, 1e-4, {0: 0.1, 50: 0.05, 99.999: 0}),
        ("even-kernel-cifar-long", 600, 64, 1e-4, {0: 0.1, 300: 0.05, 599.99: 0}),
        ("even-kernel-densenet", 300, 64, 1e-4, {0: 0.1, 149: 0.1, 151: 0.01, 299: 0.001}),
        ("even-kernel-imagenet", 100, 256, 1e-4, {0: 0.1, 50: 0.05, 99.999: 0}),
        ("hybrid-cifar", 190, None, 5e-4, {0: 0.1, 189: 0.0008}),
    ],
)
def test_presets_follow_the_published_schedules(
    name: str, epochs: int | None, batch: int | None, decay: float, rates: dict[float, float]
) -> None:
    preset = RECIPES[name]
    assert (preset.optimizer, preset.momentum, preset.weight_decay) == ("sgd", 0.9, decay)
    assert epochs in (None, preset.epochs)
    assert batch in (None, preset.batch_size)
    for epoch, expected in rates.items():
        assert rate(preset, epoch) == pytest.approx(expected, rel=1e-6, abs=1e-5), epoch


def test_presets_carry_the_published_regularisation() -> None:
    assert RECIPES["bsconv-cifar"].orthonormal_weight == 0.01
    assert RECIPES["bsconv-imagenet"].orthonormal_weight == 0.1
    assert (RECIPES["even-kernel-cifar"].decay_depthwise, RECIPES["even-kernel-cifar"].mixup) == (False, 1.0)
    assert RECIPES["xception-imagenet"].dropout == 0.5
    assert RECIPES["xception-imagenet"].ema_decay is not None
    assert (RECIPES["xsepconv-cifar"].crop_padding, RECIPES["xsepconv-cifar"].flip) == (4, True)
    assert (RECIPES["xsepconv-svhn"].crop_padding, RECIPES["xsepconv-svhn"].flip) == (0, False)
    assert RECIPES["xsepconv-tiny-imagenet"].resized_crop_area == [0.08, 1.0]
    assert {"quick", "cpu"} <= set(RECIPES)


def test_presets_give_way_field_by_field() -> None:
    shorter = recipe("bsconv-cifar", epochs=60)
    assert shorter == replace(RECIPES["bsconv-cifar"], epochs=60)
    assert [rate(shorter, epoch) for epoch in (29.9, 30, 45, 54)] == pytest.approx([0.1, 0.01, 1e-3, 1e-4])
    assert make(Recipe, {"preset": "bsconv-cifar", "epochs": 60}) == shorter
    assert make(Recipe, {"epochs": 60}) == Recipe(epochs=60)


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        (
            "xsepconv",
            {},
            r"^recipe\.preset: 'xsepconv' is unknown; known are xsepconv-cifar, .*; did you mean xsepconv-svhn\?$",
        ),
        ("quick", {"epoch": 3}, r"^recipe: 'epoch' is unknown; known are .*; did you mean epochs\?$"),
        ("quick", {"epochs": 0}, r"^recipe\.epochs: 0 must be a whole number of at least 1$"),
    ],
)
def test_unknown_presets_and_fields_are_refused(name: str, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        recipe(name, **overrides)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"optimizer": "adam"}, "optimizer: 'adam' is unknown; known are sgd, rmsprop, adamw; did you mean adamw?"),
        ({"schedule": "poly"}, "schedule: 'poly' is unknown; known are cosine, linear, step, exponential"),
        ({"precision": "tf32"}, "precision: 'tf32' is unknown; known are fp32, bf16, fp16"),
        ({"schedule": "step"}, "milestones: [] names no step; give some"),
        ({"milestones": [0.5, 0.25]}, "milestones: [0.5, 0.25] must rise"),
        ({"milestones": [0.5, 20]}, "milestones: [0.5, 20] mixes shares (below 1) and epochs (from 1)"),
        ({"schedule": "step", "milestones": [30]}, "milestones: [30] never come in 30 epochs"),
        ({"decay_factor": 0.0}, "decay_factor: 0.0 must be a number above 0"),
        ({"ema_decay": 1.0}, "ema_decay: 1.0 must be a number above 0 and below 1"),
        ({"dropout": 1.0}, "dropout: 1.0 must be a number of at least 0 and below 1"),
        ({"cutout": 2.5}, "cutout: 2.5 must be a whole number of at least 0"),
        ({"mixup": -1.0}, "mixup: -1.0 must be a number of at least 0"),
        ({"compile": "yes"}, "compile: 'yes' must be true or false"),
        ({"resized_crop_area": [0.5, 1.5]}, "resized_crop_area[1]: 1.5 must be a number above 0 and at most 1"),
        ({"resized_crop_area": [0.5, 1], "crop_padding": 4}, "crop_padding: 4 beside resized_crop_area"),
        ({"aspect": [2, 1]}, "aspect: [2, 1] must be [least, most]"),
    ],
)
def test_impossible_options_name_field_value_and_reason(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"^recipe\.{re.escape(why)}"):
        Recipe(**fields)


def test_reading_presets_needs_no_torch() -> None:
    code = "import sys, evaluators.training.presets; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2])


def test_linear_and_step_schedules_begin_after_the_warm_up() -> None:
    linear = Recipe(epochs=10, schedule="linear", warmup_epochs=2, learning_rate=1.0)
    assert [rate(linear, epoch) for epoch in (0, 0.5, 2, 6, 8)] == pytest.approx([0.05, 0.3, 1.0, 0.5, 0.25])
    steps = Recipe(
        epochs=10, schedule="step", milestones=[4, 7.5], decay_factor=0.2, warmup_epochs=2, learning_rate=1.0
    )
    assert [rate(steps, epoch) for epoch in (2, 3.9, 4, 7.4, 7.5, 9.9)] == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04])


@pytest.mark.parametrize("steps", [1, 3, 7, 49, 391])
def test_exponential_decay_falls_at_the_first_step_of_an_epoch_whatever_its_length(steps: int) -> None:
    preset = Recipe(epochs=30, schedule="exponential", decay_factor=0.5, decay_epochs=1, warmup_epochs=0)
    scale = learning_rate_scale(preset, 30 * steps)
    assert [scale(epoch * steps) for epoch in range(30)] == [0.5**epoch for epoch in range(30)]
    assert [scale((epoch + 1) * steps - 1) for epoch in range(30)] == [0.5**epoch for epoch in range(30)]


# --- optimizers ---


@pytest.mark.parametrize(
    ("options", "first_step"),
    [
        # what each does to a weight with gradient g on its first step, at learning rate 1 and momentum 0.5
        ({"optimizer": "sgd", "nesterov": False}, lambda g: g),
        ({"optimizer": "sgd", "nesterov": True}, lambda g: 1.5 * g),
        ({"optimizer": "rmsprop", "square_decay": 0.75}, lambda g: g / (0.5 * abs(g))),
        ({"optimizer": "adamw"}, lambda g: math.copysign(1, g)),
    ],
)
def test_optimizers_take_the_first_step_they_should(options: dict[str, Any], first_step: Any) -> None:
    layer = nn.Linear(1, 1, bias=False)
    before = layer.weight.item()
    given = Recipe(learning_rate=1.0, momentum=0.5, weight_decay=0.0, **options)
    optimizer = make_optimizer(layer, given)
    layer.weight.grad = torch.tensor([[0.3]])
    optimizer.step()
    assert before - layer.weight.item() == pytest.approx(first_step(0.3), rel=1e-5)


@pytest.mark.parametrize("norm_and_bias", [True, False])
@pytest.mark.parametrize("depthwise", [True, False])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weight_decay_shrinks_what_it_should(optimizer: str, norm_and_bias: bool, depthwise: bool) -> None:
    """By names and shapes of the built network: a depthwise weight is (c, 1, k, k)."""
    network = build(baseline("mobilenetv3-small-xsep", image_size=8, in_channels=1, classes=4, width=0.25))
    given = Recipe(
        optimizer=optimizer,  # type: ignore[arg-type]
        learning_rate=0.1,
        weight_decay=0.5,
        decay_norm_and_bias=norm_and_bias,
        decay_depthwise=depthwise,
    )
    for parameter in network.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    make_optimizer(network, given).step()
    kinds = {"norm or bias": 0, "depthwise": 0, "other": 0}
    for name, parameter in network.named_parameters():
        kind = "norm or bias" if ".norm." in name or name.endswith("bias") else "other"
        if parameter.ndim == 4 and parameter.shape[1] == 1 and not name.startswith("stem"):
            kind = "depthwise"
        kinds[kind] += 1
        shrinks = {"norm or bias": norm_and_bias, "depthwise": depthwise, "other": True}[kind]
        assert bool((parameter < 1).all()) is shrinks, name
    assert min(kinds.values()) > 10


# --- what happens in a step ---


def training_loss(module: ClassificationModule, batch: Any) -> torch.Tensor:
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    return module.training_step(batch, 0)


def test_the_loss_of_mixed_labels_is_the_mixture_of_losses() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    images, first, second = torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([1, 1, 3, 0, 2, 2])
    mixed = 0.7 * F.one_hot(first, 4) + 0.3 * F.one_hot(second, 4)
    for smoothing in (0.0, 0.2):
        module = ClassificationModule(Recipe(label_smoothing=smoothing), network)
        one, other, both = (training_loss(module, (images, labels)).item() for labels in (first, second, mixed))
        assert both == pytest.approx(0.7 * one + 0.3 * other, rel=1e-5)


def test_dropout_acts_on_the_classifier_in_training_alone() -> None:
    network = build(baseline("mobilenetv3-small", image_size=8, in_channels=1, classes=4, width=0.25))
    module = ClassificationModule(Recipe(dropout=0.25), network)
    seen: list[torch.Tensor] = []
    classifier = network.head.classifier
    spy = classifier.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    nn.init.ones_(network.head.features[0].weight)
    features = torch.ones(64, classifier.in_features)
    module.train()
    classifier(features)
    dropped = (seen[-1] == 0).float().mean().item()
    assert dropped == pytest.approx(0.25, abs=0.02)
    assert seen[-1].max().item() == pytest.approx(1 / 0.75)
    module.eval()
    classifier(features)
    assert torch.equal(seen[-1], features)
    module.train()
    module.release()
    classifier(features)
    assert torch.equal(seen[-1], features)
    spy.remove()


def test_dropout_needs_a_linear_layer() -> None:
    with pytest.raises(InvalidRequest, match=r"recipe\.dropout: Conv2d has no linear layer"):
        ClassificationModule(Recipe(dropout=0.5), nn.Conv2d(1, 4, 8))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"ema_decay": 0.9},
            r"recipe\.ema_decay: 0.9 cannot be used in a search: a supernet's weights are not averaged",
        ),
        ({"compile": True}, r"recipe\.compile: True cannot be used in a search: every path"),
        ({"precision": "fp16"}, r"recipe\.precision: 'fp16' cannot be used in a search: .*; use bf16"),
    ],
)
def test_searches_refuse_what_supernets_cannot_do(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        supernet_evaluator(small_images(), Recipe(**fields), accelerator="cpu")


# --- figures of several seeds ---


def test_the_interval_is_students() -> None:
    # t(0.975; 4) = 2.776 in any table; the deviation of 1..5 is the root of 2.5
    figures = summarise([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (figures.n, figures.mean) == (5, 3.0)
    assert figures.std == pytest.approx(math.sqrt(2.5))
    assert figures.interval == pytest.approx((3 - 2.776 * math.sqrt(0.5), 3 + 2.776 * math.sqrt(0.5)), abs=1e-3)


def test_no_interval_reaches_beyond_what_a_value_can_be() -> None:
    # as of the digits data set: Student's interval of these would end at 106.74 %
    wide = summarise([0.92, 0.99, 0.98], least=0, most=1)
    assert wide.interval is not None
    assert wide.interval[1] == 1.0 < summarise([0.92, 0.99, 0.98]).interval[1]  # type: ignore[index]
    assert wide.interval[0] == summarise([0.92, 0.99, 0.98]).interval[0]  # type: ignore[index]


def test_one_training_has_no_spread() -> None:
    figures = summarise([0.5])
    assert (figures.n, figures.mean, figures.std, figures.interval) == (1, 0.5, None, None)
    with pytest.raises(InvalidRequest, match="values: empty; summarise at least one"):
        summarise([])


@pytest.mark.parametrize("name", ["learning_rate", "epsilon", "decay_factor", "momentum", "dropout", "weight_decay"])
@pytest.mark.parametrize("value", [None, "0.1", True])
def test_what_is_no_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=rf"recipe\.{name}: {value!r} must be a number"):
        Recipe(**{name: value})
