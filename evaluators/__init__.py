"""Image data and, on top of it, what measures one architecture.

The names below are imported on first use (PEP 562), so that ``import evaluators`` loads neither torch nor Pillow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evaluators.augment import Augmentation
    from evaluators.data import load_data
    from evaluators.dataset_names import DATASETS
    from evaluators.failures import TrainingDiverged
    from evaluators.images import ImageData, ImageSet
    from evaluators.inherited import InheritedAccuracy, accuracy, reestimate_batch_norm
    from evaluators.loaders import make_loader
    from evaluators.module import ClassificationModule
    from evaluators.recipe_presets import RECIPES, recipe
    from evaluators.recipes import Recipe
    from evaluators.retraining import Trained, retrain, retrain_seeds
    from evaluators.statistics import Summary, summarise
    from evaluators.supernet import supernet_evaluator

_EXPORTS = {
    "Augmentation": "evaluators.augment",
    "ClassificationModule": "evaluators.module",
    "DATASETS": "evaluators.dataset_names",
    "ImageData": "evaluators.images",
    "ImageSet": "evaluators.images",
    "InheritedAccuracy": "evaluators.inherited",
    "RECIPES": "evaluators.recipe_presets",
    "Recipe": "evaluators.recipes",
    "Summary": "evaluators.statistics",
    "Trained": "evaluators.retraining",
    "TrainingDiverged": "evaluators.failures",
    "accuracy": "evaluators.inherited",
    "load_data": "evaluators.data",
    "make_loader": "evaluators.loaders",
    "recipe": "evaluators.recipe_presets",
    "reestimate_batch_norm": "evaluators.inherited",
    "retrain": "evaluators.retraining",
    "retrain_seeds": "evaluators.retraining",
    "summarise": "evaluators.statistics",
    "supernet_evaluator": "evaluators.supernet",
}

__all__ = [
    "DATASETS",
    "RECIPES",
    "Augmentation",
    "ClassificationModule",
    "ImageData",
    "ImageSet",
    "InheritedAccuracy",
    "Recipe",
    "Summary",
    "Trained",
    "TrainingDiverged",
    "accuracy",
    "load_data",
    "make_loader",
    "recipe",
    "reestimate_batch_norm",
    "retrain",
    "retrain_seeds",
    "summarise",
    "supernet_evaluator",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
