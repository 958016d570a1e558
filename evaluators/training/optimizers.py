"""The optimizer of a recipe: which parameters it decays, and its learning rate over the steps."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from evaluators.training.recipes import Recipe
from search_space.base.errors import InvalidRequest

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def make_optimizer(network: nn.Module, recipe: Recipe, *, fused: bool = False) -> torch.optim.Optimizer:
    """The recipe's optimizer over all parameters of ``network``, in groups with and without weight decay.

    ``fused`` takes torch's one-kernel form where there is one. It fails where some parameters get their first gradient
    later than others, and must be off where gradients are unscaled before the step.
    """
    groups = _parameter_groups(network, recipe)
    rate, momentum, epsilon = recipe.learning_rate, recipe.momentum, recipe.epsilon
    square_decay = recipe.square_decay
    if square_decay is None:
        square_decay = 0.99 if recipe.optimizer == "rmsprop" else 0.999
    if recipe.optimizer == "sgd":
        nesterov = recipe.nesterov and momentum > 0
        return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=nesterov, fused=fused or None)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=rate, momentum=momentum, alpha=square_decay, eps=epsilon)
    return torch.optim.AdamW(groups, lr=rate, betas=(momentum, square_decay), eps=epsilon, fused=fused or None)


def _parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters with their weight decay: one group, or a second one without decay for what the recipe exempts.

    A parameter that several modules share counts once; it is exempt if it is so in any of them.
    """
    exempt: set[nn.Parameter] = set()
    for module in network.modules():
        depthwise = isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels
        for name, parameter in module.named_parameters(recurse=False):
            spared = depthwise and name == "weight" and not recipe.decay_depthwise
            if spared or ((isinstance(module, _NORMS) or name == "bias") and not recipe.decay_norm_and_bias):
                exempt.add(parameter)
    decayed = [parameter for parameter in network.parameters() if parameter not in exempt]
    rest = [parameter for parameter in network.parameters() if parameter in exempt]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def last_linear(network: nn.Module) -> nn.Linear:
    """The classifier: the last linear layer; InvalidRequest if there is none."""
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InvalidRequest(
            f"recipe.dropout: {type(network).__name__} has no linear layer to drop inputs of; set it to 0"
        )
    return linear[-1]


def cycled_learning_rate_scale(recipe: Recipe, ends: Sequence[int]) -> Callable[[int], float]:
    """The factor at each step of a training that goes through the recipe's schedule once up to each of ``ends``.

    Each cycle is the whole schedule in its own number of steps (warm restarts, Loshchilov & Hutter 2017).
    """
    starts = [0, *ends[:-1]]
    scales = [learning_rate_scale(recipe, end - start) for start, end in zip(starts, ends, strict=True)]

    def scale(step: int) -> float:
        cycle = min(bisect_right(ends, step), len(ends) - 1)
        return scales[cycle](step - starts[cycle])

    return scale


def learning_rate_scale(recipe: Recipe, total_steps: int) -> Callable[[int], float]:
    """The factor of ``recipe.learning_rate`` at each step, from 0 to ``total_steps`` - 1.

    The warm-up rises linearly and ends on 1. Then cosine and linear fall to 0 over the steps that are left, while step
    and exponential stay constant between their decays, which count epochs from the start of the training.
    """
    warmup = round(total_steps * recipe.warmup_epochs / recipe.epochs)
    steps_per_epoch = total_steps / recipe.epochs
    milestones = [round(epoch * steps_per_epoch) for epoch in recipe.milestone_epochs]

    def scale(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, total_steps - warmup))
        if recipe.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        if recipe.schedule == "linear":
            return 1 - progress
        if recipe.schedule == "step":
            return recipe.decay_factor ** bisect_right(milestones, step)
        # rounding must not count the first step of an epoch to the epoch before it
        return recipe.decay_factor ** math.floor(step / steps_per_epoch / recipe.decay_epochs + 1e-9)

    return scale
