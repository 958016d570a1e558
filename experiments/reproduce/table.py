"""A paper's table as a value: its networks, what it prints of them, its data and recipe. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from evaluators.training.recipes import Recipe

#: What is compared with the published figures: test accuracy, or the distance of a row's test error from the first's.
Measure = Literal["accuracy", "distance"]
#: What the plot of a table shows the accuracy over.
Axis = Literal["rows", "macs", "params", "epochs"]


@dataclass(frozen=True)
class Setting:
    """Data that a table has figures of, and how the paper trained on it.

    Attributes:
        data: what people call the data.
        classes, train_images, test_images: their number.
        image_size: side in pixels of what the networks see.
        stored_size: side of the images that windows are cut from; None for that of the windows.
        recipe: the paper's.
        trainings: whose mean each figure is; None where the paper does not say.
        open: what the paper leaves open or does otherwise than the recipe says.
    """

    data: str
    classes: int
    train_images: int
    test_images: int
    image_size: int
    recipe: Recipe
    stored_size: int | None = None
    trainings: int | None = None
    open: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """What a paper prints of a row: in per cent, with the standard deviation where it gives one."""

    value: float
    std: float | None = None

    def __str__(self) -> str:
        return f"{self.value:g}" if self.std is None else f"{self.value:g} ± {self.std:g}"


@dataclass(frozen=True)
class Row:
    """A network of a table.

    Attributes:
        label: what the table calls it; no two rows share one.
        network: the name of one of our baselines; None for one that we do not have, which is quoted alone.
        published: what the paper prints, by the name of the setting; a figure without numbers has nothing.
        width: of its channels, as `search_space.baseline` takes it.
        operator: in place of each of its blocks; None to leave them.
        series: the curve of the plot that it is a point of.
    """

    label: str
    network: str | None
    published: Mapping[str, Published]
    width: float = 1.0
    operator: str | None = None
    series: str = ""

    @property
    def home(self) -> str:
        """The name of the folder of its trainings: the same for the same network in any table."""
        width = "" if self.width == 1 else f"-w{self.width:g}"
        return f"{self.network}{width}{'' if self.operator is None else f'-{self.operator}'}"


@dataclass(frozen=True)
class PaperTable:
    """A table or a figure of a paper.

    Attributes:
        name: what the command calls it.
        source: paper and number.
        summary: one line on what it compares.
        rows: its networks.
        settings: by name; the first is what is trained unless another is named.
        claims: pairs of labels of rows (better, worse): what the paper concludes.
        measure: what the published figures are of; accuracies where the paper gives errors, as 100 minus the error.
        axis: of the plot.
        notes: what we chose where the paper leaves the networks open.
    """

    name: str
    source: str
    summary: str
    rows: tuple[Row, ...]
    settings: Mapping[str, Setting]
    claims: tuple[tuple[str, str], ...] = ()
    measure: Measure = "accuracy"
    axis: Axis = "rows"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        labels = [row.label for row in self.rows]
        if len(set(labels)) != len(labels):
            raise ValueError(f"table {self.name}: two rows have one label")
        if unknown := {label for pair in self.claims for label in pair} - set(labels):
            raise ValueError(f"table {self.name}: no row is called {', '.join(sorted(unknown))}")
        if unknown := {name for row in self.rows for name in row.published} - set(self.settings):
            raise ValueError(f"table {self.name}: no setting is called {', '.join(sorted(unknown))}")


def figures(settings: Sequence[str], *values: float | tuple[float, float]) -> dict[str, Published]:
    """``values`` as published figures, one for each of ``settings``; a pair is a mean and its standard deviation."""
    each = [Published(*value) if isinstance(value, tuple) else Published(value) for value in values]
    return dict(zip(settings, each, strict=True))


def shortened(recipe: Recipe, epochs: int) -> Recipe:
    """``recipe`` with its whole schedule drawn out or pressed together to ``epochs``.

    Warm-up and decays keep their share of the training; milestones become shares.
    """
    share = epochs / recipe.epochs
    own: dict[str, Any] = {"epochs": epochs, "warmup_epochs": recipe.warmup_epochs * share}
    if recipe.schedule == "step":
        own["milestones"] = [milestone / recipe.epochs for milestone in recipe.milestone_epochs]
    if recipe.schedule == "exponential":
        own["decay_epochs"] = recipe.decay_epochs * share
    return replace(recipe, **own)
