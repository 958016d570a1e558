"""The learning rate over the steps of a training, as a factor of the recipe's."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

from evaluators.training.recipes import Recipe


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
        # a step at which an epoch begins must not count to the epoch before it by rounding
        return recipe.decay_factor ** math.floor(step / steps_per_epoch / recipe.decay_epochs + 1e-9)

    return scale
