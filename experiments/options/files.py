"""Reading a config: YAML or nested dicts in, a checked `SearchConfig` out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluators.sources.find import local_path
from experiments.options.config import SearchConfig
from experiments.options.values import make, read_yaml, within
from search_space.base.checks import nearest, refusal, shown
from search_space.base.reading import read_text
from search_space.options import is_macro_file

BUNDLED = Path(__file__).parents[1] / "configs"


def bundled_names() -> list[str]:
    """Names of the configs that come with sepnas."""
    return sorted(path.stem for path in BUNDLED.glob("*.yaml"))


def find_config(given: str) -> Path:
    """The YAML file that ``given`` names: a path, or the name of a bundled config."""
    with suppress(OSError, ValueError):  # too long, or not a path at all
        for path in (Path(given), BUNDLED / f"{given}.yaml"):
            if path.is_file():
                return path
    remedy = f"give a YAML file or a bundled name: {nearest(given, bundled_names())}"
    raise refusal("config", given, "does not exist", remedy)


def read_config(path: Path) -> SearchConfig:
    """The config in a YAML file; InvalidRequest names the file and the key or value that is wrong."""
    try:
        text = read_text(path)
    except OSError as error:
        raise refusal("config", str(path), f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise refusal("config", str(path), "is not YAML (it is not a text in UTF-8)") from None
    with within(f"config {shown(str(path))}"):
        values = read_yaml(text)
    if not isinstance(values, dict):
        raise refusal("config", str(path), "holds no keys", "see the bundled ones for an example")
    return make_config(values, str(path))


def make_config(values: Mapping[str, Any], where: str) -> SearchConfig:
    """The config of nested dicts; ``where`` is named in errors."""
    with within(f"config {shown(where)}"):
        return make(SearchConfig, _of_today(values))


def _of_today(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """``values``, of which configs of finished runs may hold ``retrain.parallel_seeds``, as ``jobs`` used to be called
    there."""
    retrain = values.get("retrain")
    if not isinstance(retrain, Mapping) or "parallel_seeds" not in retrain:
        return values
    kept = {name: value for name, value in retrain.items() if name != "parallel_seeds"}
    at_once = retrain["parallel_seeds"]
    jobs = {} if at_once == 1 or values.get("jobs") is not None else {"jobs": at_once}
    return {**values, "retrain": kept, **jobs}


def self_contained(config: SearchConfig) -> SearchConfig:
    """``config`` without paths that lead elsewhere from another working directory: a run must find its images again,
    and keeps the user's macro-architecture as it was when the run began."""
    path = local_path(config.data.name)
    if path is not None:
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
