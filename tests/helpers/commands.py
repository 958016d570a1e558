"""Files and folders that tests of commands begin with, in the working directory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from experiments.options.config import SearchConfig
from experiments.options.files import read_config
from experiments.runs.folder import RunFolder, open_run
from helpers.runs import tiny_values
from search_space.architecture import Architecture
from search_space.hand_designed import baseline
from search_space.serialization import save_architecture, to_json

#: the fixture `refused`
Refused = Callable[..., str]


def write(text: str, path: str = "config.yaml") -> str:
    """A text in a file; returns the name."""
    Path(path).write_text(text)
    return path


def tiny(**more: Any) -> str:
    """The file of a config, `tiny_values` with ``more``."""
    return write(yaml.safe_dump(tiny_values(**more)), "tiny.yaml")


def network(**more: Any) -> Architecture:
    """A small hand-designed network."""
    return baseline("mobilenetv3-small", **{"image_size": 8, "in_channels": 1, "width": 0.25, **more})


def old_run(folder: Path, config: SearchConfig | None = None, *, winner: bool = True) -> RunFolder:
    """A run as a finished search leaves it, without the searching."""
    run = open_run(folder, (config or read_config(Path(tiny()))).as_dict(), {"versions": {}}, overwrite=False)
    if winner:
        save_architecture(network(), run.winner)
    return run


def pictures(folder: str, classes: int = 2, n: int = 10) -> Path:
    """A folder of class folders with ``n`` grey images each."""
    for label in range(classes):
        (Path(folder) / f"class{label}").mkdir(parents=True)
        for index in range(n):
            image = Image.new("L", (10, 10), 20 * index + label)
            image.save(Path(folder) / f"class{label}" / f"{index}.png")
    return Path(folder)


def architecture_file(change: Callable[[dict[str, Any]], Any]) -> str:
    """The file of a network after ``change``."""
    data = to_json(network())
    change(data)
    return write(json.dumps(data), "a.json")
