"""The folder of one run: what is in it, and how it is opened without losing anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.runs.claimed_folder import IMAGES, ClaimedFolder, FolderKind
from experiments.runs.files import read_json, sweep
from search_space.base.errors import InvalidRequest

if TYPE_CHECKING:
    from search_space.architecture import Architecture

CONFIG_FILE = "config.yaml"
PROVENANCE_FILE = "provenance.json"
#: what `rank` found, in its folder
RANK_FILE = "rank.json"
RUN = FolderKind(
    name="a run",
    files=(
        *("winner.json", "finalists.csv", "pareto.csv", "hypervolume.csv", "pareto.png", "metrics.csv"),
        *("architectures.csv", "failures.csv", "trials.csv", "probabilities.csv"),
        *("search", "retrain", "report", "rank", "tracking", "attribution"),
    ),
    marker=CONFIG_FILE,
    before_marker=(PROVENANCE_FILE,),
    deleted_whole=True,
    remedy="give the same config or another folder",
    ignored=("engine", "ray", "jobs", "trial_time", "retries", "max_failed", "trackers"),
)


class RunFolder:
    """Paths in the folder of a run.

    ``metrics`` has a row per epoch of the search, ``probabilities`` one per epoch of a search by probabilities,
    ``architectures`` one per scored architecture, ``failures`` one per trial that failed, ``trials`` one per training
    that ended, ``finalists`` one per training on the way to the ``winner``. ``search`` holds the resume point,
    ``candidates`` those of candidates that may be trained on; ``retrain`` a folder for each network, in it one for each
    seed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / CONFIG_FILE
        self.provenance = path / PROVENANCE_FILE
        self.metrics = path / "metrics.csv"
        self.architectures = path / "architectures.csv"
        self.failures = path / "failures.csv"
        self.trials = path / "trials.csv"
        self.probabilities = path / "probabilities.csv"
        self.finalists = path / "finalists.csv"
        self.winner = path / "winner.json"
        self.search = path / "search"
        self.candidates = self.search / "candidates"
        self.supernet = self.search / "supernet.safetensors"
        self.retrain = path / "retrain"
        self.report = path / "report"
        self.rank = path / "rank"
        self.attribution = path / "attribution"

    def require_winner(self) -> Path:
        """``winner`` if the search is finished, else InvalidRequest."""
        if not self.winner.exists():
            raise InvalidRequest(f"run: {self.path} has no winner yet; finish it with `sepnas search ... --resume`")
        return self.winner

    def read_winner(self) -> Architecture:
        """The architecture that the search found; InvalidRequest if it is not finished."""
        from search_space.serialization import load_architecture

        return load_architecture(self.require_winner())

    def read_config(self) -> dict[str, Any]:
        """The resolved config as nested dicts."""
        return ClaimedFolder(self.path, RUN, field="run").request()

    def is_trusted_to_rank(self) -> bool:
        """Whether `rank` has found that the run's supernet, or its model, ranks better than chance and cost do."""
        report = self.rank / RANK_FILE
        if not report.is_file():
            return False
        try:
            return read_json(report)["verdict"]["trusted"] in ("yes", "partly")
        except (KeyError, TypeError):
            raise InvalidRequest(f"run: {report} is damaged; delete it, or call `sepnas rank` again") from None

    def read_provenance(self) -> dict[str, Any]:
        """What made the run; InvalidRequest if it is damaged."""
        made = read_json(self.provenance)
        if not isinstance(made, dict):
            raise InvalidRequest(f"run: {self.provenance} is damaged (it holds no keys)")
        return made


def check_out(path: Path, config: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    """InvalidRequest if a run cannot be written to ``path``; changes nothing.

    A folder that holds a run needs ``resume`` (the same config) or ``overwrite``. One that holds other files is always
    refused.
    """
    if resume and overwrite:
        raise InvalidRequest("--resume and --overwrite exclude each other; give one")
    ClaimedFolder(path, RUN).check(config, resume=resume, overwrite=overwrite)


def open_run(path: Path, config: dict[str, Any], provenance: dict[str, Any], *, overwrite: bool) -> RunFolder:
    """Make the folder (after `check_out`) and write what the run is about; keeps what a resumed run already has.

    InvalidRequest if it goes on with other images than it was begun with.
    """
    run = RunFolder(path)
    if not overwrite and ClaimedFolder(path, RUN).is_claimed:
        then, now = (made.get(IMAGES) for made in (run.read_provenance(), provenance))
        if None not in (then, now) and then != now:
            why = f"the images have changed since it was started ({then}; now {now})"
            raise InvalidRequest(f"out: {path}: {why}; give the earlier ones, or another folder, or --overwrite")
    ClaimedFolder(path, RUN).claim(
        config, resume=not overwrite, overwrite=overwrite, before_marker={PROVENANCE_FILE: provenance}
    )
    run.search.mkdir(exist_ok=True)
    sweep(run.search)
    return run


def find_run(path: Path) -> RunFolder:
    """The run in ``path``; InvalidRequest if there is none."""
    if not ClaimedFolder(path, RUN).is_claimed:
        raise InvalidRequest(
            f"run: {path} holds no run ({CONFIG_FILE} and {PROVENANCE_FILE}); give the folder of `sepnas search --out`"
        )
    return RunFolder(path)


def different_folders(names: Sequence[str]) -> list[Path]:
    """The folders that ``names`` are; InvalidRequest if one stands twice among them, however it is written."""
    folders = [Path(name) for name in names]
    if len({folder.resolve() for folder in folders}) != len(folders):
        raise InvalidRequest(f"runs: a folder is given twice in {', '.join(names)}; name each run once")
    return folders
