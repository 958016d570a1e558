"""Figures of "A hybrid hypothesis of separable convolutions" (Ghosh). Errors stand as accuracies."""

from __future__ import annotations

from evaluators.training.presets import recipe
from experiments.reproduce.settings import CIFAR10
from experiments.reproduce.table import PaperTable, Row, figures

_OPEN = ("the recipe but for its 190 epochs: that of Wide ResNets",)
_SIX_THOUSAND = "figures are of 6,000 images, drawn at random"
_CIFAR10 = CIFAR10(recipe("hybrid-cifar"), trainings=10, open=(*_OPEN, _SIX_THOUSAND))
_ONCE = CIFAR10(recipe("hybrid-cifar"), trainings=1, open=_OPEN)
_STACK = "mobilenetv1"
#: rows of figure 4: (label, operator of every block, absolute difference of the error)
_FORMS = (
    ("Separable convolutions", "sep_k3", 0.0),
    ("Inception modules", "inception_k3", 0.83),
    ("ResNeXt modules", "resnext_k3", 0.62),
    ("Re-formulated Inception modules", "inception_re_k3", 0.71),
    ("Strict equivalent", None, 0.08),
    ("Hybrid hypothesis", "hybrid_k3", 0.12),
)


def _with_and_without(name: str, number: int, network: str, title: str, yes: float, no: float) -> PaperTable:
    return PaperTable(
        name,
        f"Hybrid hypothesis figure {number}",
        f"{title} with and without separable convolutions",
        (
            Row(title, network, figures(("cifar10",), round(100 - no, 2))),
            Row(f"{title}, separable", f"{network}-sep", figures(("cifar10",), round(100 - yes, 2))),
        ),
        {"cifar10": _ONCE},
        claims=((f"{title}, separable", title),),
    )


TABLES = (
    PaperTable(
        "hybrid-figure-4",
        "Hybrid hypothesis figure 4",
        "how far networks of other modules are from one of separable convolutions",
        tuple(
            Row(label, None if operator is None else _STACK, figures(("cifar10",), value), operator=operator)
            for label, operator, value in _FORMS
        ),
        {"cifar10": _CIFAR10},
        claims=(("Hybrid hypothesis", "ResNeXt modules"), ("Hybrid hypothesis", "Inception modules")),
        measure="distance",
        notes=(
            "the networks: MobileNetV1's stages with one module for each block",
            "the paper's strict equivalent of separable convolutions computes what they compute, and is quoted alone",
        ),
    ),
    _with_and_without("hybrid-figure-5", 5, "fractalnet-20", "FractalNet", 6.15, 7.61),
    _with_and_without("hybrid-figure-6", 6, "darknet-19", "DarkNet", 6.03, 11.9),
)
