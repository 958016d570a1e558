"""The folder of one run: what is in it, and how it is opened without losing anything."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.files import read_json, write_json, write_text
from search_space.errors import InvalidRequest

CONFIG_FILE = "config.yaml"


@dataclass(frozen=True)
class RunFolder:
    """Paths in a run's folder.

    ``config.yaml`` (resolved), ``provenance.json``, ``metrics.csv`` (a row an epoch), ``architectures.csv`` (a row an
    architecture that was scored), ``winner.json``, ``search/`` (resume point, supernet weights), ``retrain/`` (a folder
    a network and seed), ``report/``.
    """

    path: Path

    @property
    def config(self) -> Path:
        return self.path / CONFIG_FILE

    @property
    def provenance(self) -> Path:
        return self.path / "provenance.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def architectures(self) -> Path:
        return self.path / "architectures.csv"

    @property
    def winner(self) -> Path:
        return self.path / "winner.json"

    @property
    def search(self) -> Path:
        return self.path / "search"

    @property
    def supernet(self) -> Path:
        return self.search / "supernet.safetensors"

    @property
    def retrain(self) -> Path:
        return self.path / "retrain"

    @property
    def report(self) -> Path:
        return self.path / "report"

    def read_config(self) -> dict[str, Any]:
        """The resolved config as nested dicts."""
        return yaml.safe_load(self.config.read_text(encoding="utf-8"))

    def read_provenance(self) -> dict[str, Any]:
        """What made the run."""
        return read_json(self.provenance)


def check_out(path: Path, config: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    """InvalidRequest if a run cannot be written to ``path``; changes nothing.

    A folder that holds a run needs ``resume`` (the same config) or ``overwrite``; one that holds anything else is
    refused whatever is asked.
    """
    if resume and overwrite:
        raise InvalidRequest("--resume and --overwrite exclude each other; give one")
    if path.exists() and not path.is_dir():
        raise InvalidRequest(f"out: {path} is a file; give a folder")
    holds_run = (path / CONFIG_FILE).is_file()
    if not holds_run:
        if path.is_dir() and any(path.iterdir()):
            raise InvalidRequest(f"out: {path} holds files that are no run; give an empty or new folder")
        return
    if not resume and not overwrite:
        raise InvalidRequest(f"out: {path} already holds a run; --resume continues it, --overwrite deletes it first")
    if resume:
        old = RunFolder(path).read_config()
        # through YAML, as the old one went: tuples become lists
        difference = _first_difference(old, yaml.safe_load(yaml.safe_dump(config)))
        if difference is not None:
            raise InvalidRequest(
                f"out: {path} cannot be resumed with another config: {difference}; give the same or another folder"
            )


def open_run(path: Path, config: dict[str, Any], provenance: dict[str, Any], *, overwrite: bool) -> RunFolder:
    """Make the folder (after `check_out`) and write what the run is about; keeps what a resumed run already has."""
    if overwrite and (path / CONFIG_FILE).is_file():
        shutil.rmtree(path)
    run = RunFolder(path)
    run.search.mkdir(parents=True, exist_ok=True)
    if not run.provenance.exists():
        write_json(run.provenance, provenance)
    write_text(run.config, yaml.safe_dump(config, sort_keys=False))
    return run


def find_run(path: Path) -> RunFolder:
    """The run in ``path``; InvalidRequest if there is none."""
    if not (path / CONFIG_FILE).is_file():
        raise InvalidRequest(f"run: {path} holds no run (no {CONFIG_FILE}); give the folder of `sepnas search --out`")
    return RunFolder(path)


def _first_difference(old: Any, new: Any, where: str = "") -> str | None:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            found = _first_difference(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
            if found is not None:
                return found
        return None
    return None if old == new else f"{where} was {old!r} and is now {new!r}"
