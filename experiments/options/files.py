"""Reading a config: YAML or nested dicts in, a checked `SearchConfig` out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from evaluators.training.presets import resolve
from experiments.options.complaints import check_keys, readable
from experiments.options.config import SearchConfig
from search_space.base.errors import InvalidRequest
from search_space.options import is_macro_file

BUNDLED = Path(__file__).parents[1] / "configs"


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
    """The config of nested dicts; ``where`` is named in errors.

    A recipe may begin with ``preset: NAME``: the fields of that preset (`evaluators.training.presets`), over which its
    other keys go.
    """
    values = _with_presets(values)
    check_keys(values, SearchConfig, f"config: {where}: ")
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(SearchConfig)
    try:
        return from_options(parser.instantiate(parser.parse_object(dict(values))))
    except (ArgumentError, TypeError) as error:
        raise InvalidRequest(f"config: {where}: {readable(error)}") from None


def _with_presets(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """``values`` with all recipes spelled out."""
    given = dict(values)
    if isinstance(given.get("search"), Mapping):
        given["search"] = resolve(given["search"])
    retrain = given.get("retrain")
    if isinstance(retrain, Mapping) and isinstance(retrain.get("recipe"), Mapping):
        given["retrain"] = {**retrain, "recipe": resolve(retrain["recipe"])}
    return given


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The fields of nested dataclasses by their dotted names, as options are called: {"data.name": "digits", ...}."""
    found: dict[str, Any] = {}
    for option in fields(value):
        own = getattr(value, option.name)
        name = f"{prefix}{option.name}"
        if is_dataclass(own) and not isinstance(own, type):
            found.update(flat(own, f"{name}."))
        else:
            found[name] = own
    return found


def from_options(options: Namespace) -> SearchConfig:
    """The config among the instantiated options of a parser that has its arguments."""
    return SearchConfig(**{field.name: getattr(options, field.name) for field in fields(SearchConfig)})


def self_contained(config: SearchConfig) -> SearchConfig:
    """``config`` without paths that lead elsewhere from another working directory: a run must find its images again,
    and keeps the user's macro-architecture as it was when the run began."""
    path = Path(config.data.name).expanduser()
    if config.data.name != "digits" and path.exists():
        config = replace(config, data=replace(config.data, name=str(path.resolve())))
    if config.supernet is not None:
        config = replace(config, supernet=str(Path(config.supernet).expanduser().resolve()))
    if config.costs:
        config = replace(config, costs=[str(Path(path).expanduser().resolve()) for path in config.costs])
    if is_macro_file(config.space.macro):
        from search_space.macro_file import load_macro, macro_to_dict

        inline = macro_to_dict(load_macro(config.space.macro))
        config = replace(config, space=replace(config.space, macro=inline))
    return config
