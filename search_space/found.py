"""Networks that searches found, by name: the zoo. Beside each lie the commands and the table that it came from."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search_space.architecture import Architecture
from search_space.base.checks import unknown
from search_space.base.errors import InvalidRequest
from search_space.base.sizes import check_size
from search_space.macro_definition import SMALLEST_IMAGE
from search_space.serialization import load_architecture

#: What names of found networks begin with.
PREFIX = "zoo/"
#: Their folders. They are data of `experiments`, which is installed beside this package, and nothing of it is imported.
FOLDER = Path(__file__).resolve().parents[1] / "experiments" / "zoo"


@dataclass(frozen=True)
class Found:
    """A network that a search found.

    Attributes:
        summary: one line on it.
        commands: that made it and compared it.
        table: file of the comparison.
        architecture: for the images that it was found for.
    """

    summary: str
    commands: tuple[str, ...]
    table: Path
    architecture: Architecture


def zoo() -> dict[str, str]:
    """Names of all found networks, each beginning with ``zoo/``, with one line on each."""
    return {name: str(_about(name)["summary"]) for name in _names()}


def found(name: str) -> Found:
    """The network ``name``; InvalidRequest for an unknown one."""
    if name not in _names():
        raise unknown("baseline", name, _names(), "sepnas list zoo")
    about = _about(name)
    folder = _folder(name)
    architecture = load_architecture(folder / "architecture.json")
    return Found(about["summary"], tuple(about["commands"]), folder / "comparison.md", architecture)


def found_for(
    name: str, *, image_size: int | None = None, in_channels: int | None = None, classes: int | None = None
) -> Architecture:
    """The network ``name`` for other images than it was found for; None leaves a size as it was.

    InvalidRequest for an unknown name, or if the network cannot be made for such images.
    """
    given = {"image_size": image_size, "in_channels": in_channels, "classes": classes}
    sizes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    architecture = found(name).architecture
    try:
        if image_size is not None:
            check_size("image_size", image_size, SMALLEST_IMAGE)
        return replace(architecture, **sizes)
    except InvalidRequest as error:
        raise InvalidRequest(f"baseline: {name} cannot be made for these images ({error})") from None


def _names() -> list[str]:
    return [f"{PREFIX}{path.parent.name}" for path in sorted(FOLDER.glob("*/about.json"))]


def _folder(name: str) -> Path:
    return FOLDER / name.removeprefix(PREFIX)


def _about(name: str) -> Any:
    return json.loads((_folder(name) / "about.json").read_text(encoding="utf-8"))
