"""The folder of one run: what is in it, and how it is opened without losing anything."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.runs.files import read_json, sweep, write_json, write_text
from search_space.base.atomic import is_temporary
from search_space.base.errors import InvalidRequest

CONFIG_FILE = "config.yaml"
PROVENANCE_FILE = "provenance.json"
#: what a run writes at the top of its folder, in the order of deletion: what marks a run goes last
_OWN = (
    "winner.json",
    "metrics.csv",
    "architectures.csv",
    "search",
    "retrain",
    "report",
    "rank",
    PROVENANCE_FILE,
    CONFIG_FILE,
)


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
        return self.path / PROVENANCE_FILE

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def architectures(self) -> Path:
        return self.path / "architectures.csv"

    @property
    def winner(self) -> Path:
        return self.path / "winner.json"

    def require_winner(self) -> Path:
        """``winner`` if the search is finished, else InvalidRequest."""
        if not self.winner.exists():
            raise InvalidRequest(f"run: {self.path} has no winner yet; finish it with `sepnas search ... --resume`")
        return self.winner

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

    @property
    def rank(self) -> Path:
        return self.path / "rank"

    def read_config(self) -> dict[str, Any]:
        """The resolved config as nested dicts."""
        try:
            values = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"run: {self.config} is damaged ({' '.join(str(error).split())})") from None
        if not isinstance(values, dict):
            raise InvalidRequest(f"run: {self.config} is damaged (it holds no keys)")
        return values

    def read_provenance(self) -> dict[str, Any]:
        """What made the run."""
        return read_json(self.provenance)


def check_out(path: Path, config: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    """InvalidRequest if a run cannot be written to ``path``; changes nothing.

    A folder that holds a run needs ``resume`` (the same config) or ``overwrite``; one that holds anything else is
    refused whatever is asked, and so is to overwrite a run among whose files there are others.
    """
    if resume and overwrite:
        raise InvalidRequest("--resume and --overwrite exclude each other; give one")
    check_writable("out", path)
    if not _holds_run(path):
        if foreign := [entry for entry in _foreign(path) if entry != PROVENANCE_FILE]:
            raise InvalidRequest(f"out: {path} holds {foreign[0]}, which is no run; give an empty or new folder")
        return
    if not resume and not overwrite:
        raise InvalidRequest(f"out: {path} already holds a run; --resume continues it, --overwrite deletes it first")
    if overwrite and (foreign := _foreign(path, _OWN)):
        raise InvalidRequest(
            f"out: {path} holds {foreign[0]} beside its run; --overwrite deletes runs only, so move it or give another"
            " folder"
        )
    if resume:
        old = RunFolder(path).read_config()
        # through YAML, as the old one went: tuples become lists
        difference = first_difference(old, yaml.safe_load(yaml.safe_dump(config)))
        if difference is not None:
            raise InvalidRequest(
                f"out: {path} cannot be resumed with another config: {difference}; give the same or another folder"
            )


def open_run(path: Path, config: dict[str, Any], provenance: dict[str, Any], *, overwrite: bool) -> RunFolder:
    """Make the folder (after `check_out`) and write what the run is about; keeps what a resumed run already has."""
    run = RunFolder(path)
    if overwrite and _holds_run(path):
        for name in _OWN:
            old = path / name
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old)
            else:
                old.unlink(missing_ok=True)
    path.mkdir(parents=True, exist_ok=True)
    sweep(path)
    if not _holds_run(path):
        write_json(run.provenance, provenance)
        # last: with it the folder is a run, which can be resumed
        write_text(run.config, yaml.safe_dump(config, sort_keys=False))
    run.search.mkdir(exist_ok=True)
    sweep(run.search)
    return run


def check_writable(field: str, path: Path) -> None:
    """InvalidRequest if ``path`` is no folder and cannot become one, or must not be written to."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise InvalidRequest(f"{field}: {there} is a file; give a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InvalidRequest(f"{field}: {there} must not be written to; give another folder")


def find_run(path: Path) -> RunFolder:
    """The run in ``path``; InvalidRequest if there is none."""
    if not _holds_run(path):
        raise InvalidRequest(
            f"run: {path} holds no run ({CONFIG_FILE} and {PROVENANCE_FILE}); give the folder of `sepnas search --out`"
        )
    return RunFolder(path)


def _holds_run(path: Path) -> bool:
    return (path / CONFIG_FILE).is_file() and (path / PROVENANCE_FILE).is_file()


def _foreign(path: Path, own: tuple[str, ...] = ()) -> list[str]:
    """What is in ``path`` apart from ``own`` and what killed writers left."""
    if not path.is_dir():
        return []
    return sorted(entry.name for entry in path.iterdir() if entry.name not in own and not is_temporary(entry))


def first_difference(old: Any, new: Any, where: str = "") -> str | None:
    """The first key, by its dots, whose value is not the same in both nested dicts; None if there is none."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            found = first_difference(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
            if found is not None:
                return found
        return None
    return None if old == new else f"{where} was {old!r} and is now {new!r}"
