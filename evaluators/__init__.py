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
    from evaluators.images import ImageData, ImageSet
    from evaluators.inherited import InheritedAccuracy, accuracy, reestimate_batch_norm
    from evaluators.loaders import make_loader
    from evaluators.module import ClassificationModule
    from evaluators.recipes import Recipe
    from evaluators.retraining import Trained, retrain
    from evaluators.supernet import supernet_evaluator

_EXPORTS = {
    "Augmentation": "evaluators.augment",
    "ClassificationModule": "evaluators.module",
    "DATASETS": "evaluators.dataset_names",
    "ImageData": "evaluators.images",
    "ImageSet": "evaluators.images",
    "InheritedAccuracy": "evaluators.inherited",
    "Recipe": "evaluators.recipes",
    "Trained": "evaluators.retraining",
    "accuracy": "evaluators.inherited",
    "load_data": "evaluators.data",
    "make_loader": "evaluators.loaders",
    "reestimate_batch_norm": "evaluators.inherited",
    "retrain": "evaluators.retraining",
    "supernet_evaluator": "evaluators.supernet",
}

__all__ = [
    "DATASETS",
    "Augmentation",
    "ClassificationModule",
    "ImageData",
    "ImageSet",
    "InheritedAccuracy",
    "Recipe",
    "Trained",
    "accuracy",
    "load_data",
    "make_loader",
    "reestimate_batch_norm",
    "retrain",
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
