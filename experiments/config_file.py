"""Reading a config: YAML or nested dicts in, a checked `SearchConfig` out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from experiments.complaints import check_keys, readable
from experiments.config import SearchConfig
from search_space.errors import InvalidRequest

BUNDLED = Path(__file__).parent / "configs"


def bundled_names() -> list[str]:
    """Names of the configs that come with sepnas."""
    return sorted(path.stem for path in BUNDLED.glob("*.yaml"))


def find_config(given: str) -> Path:
    """The YAML file that ``given`` names: a path, or the name of a bundled config."""
    for path in (Path(given), BUNDLED / f"{given}.yaml"):
        if path.is_file():
            return path
    raise InvalidRequest(
        f"config: {given} does not exist; give a YAML file or a bundled name: {', '.join(bundled_names())}"
    )


def read_config(path: Path) -> SearchConfig:
    """The config in a YAML file; InvalidRequest names the file and the key or value that is wrong."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequest(f"config: {path} cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"config: {path} is not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise InvalidRequest(f"config: {path} holds no keys; see the bundled ones for an example")
    return make_config(values, str(path))


def make_config(values: Mapping[str, Any], where: str) -> SearchConfig:
    """The config of nested dicts; ``where`` is named in errors."""
    check_keys(values, SearchConfig, f"config: {where}: ")
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(SearchConfig)
    try:
        return from_options(parser.instantiate(parser.parse_object(dict(values))))
    except (ArgumentError, TypeError) as error:
        raise InvalidRequest(f"config: {where}: {readable(error)}") from None


def from_options(options: Namespace) -> SearchConfig:
    """The config among the instantiated options of a parser that has its arguments."""
    return SearchConfig(**{field.name: getattr(options, field.name) for field in fields(SearchConfig)})
