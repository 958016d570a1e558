"""Figures sent to TensorBoard, MLflow and Weights & Biases as they come, through Lightning's loggers.

A resumed search or training comes by figures again that its killed forerunner has sent already. Each tracker knows how
far it has got with each figure, by what it keeps itself, so nothing is sent twice.
"""

from __future__ import annotations

import math
import os
import secrets
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from experiments.options.config import TrackerName
from experiments.runs.files import read_json, write_json
from experiments.tracking.events import last_steps
from search_space.base.checks import plain, refusal

#: What MLflow calls the experiment and Weights & Biases the project of all runs.
PROJECT = "sepnas"
#: Folder of trackers' files, beside what the figures are of.
FOLDER = "tracking"
#: Seconds in which a server must answer before anything is trained.
_PATIENCE = 10.0
#: Figures of which the highest so far is sent too.
BEST = frozenset({"score", "val_accuracy"})


class Tracker(ABC):
    """Somewhere that figures are sent to.

    Args:
        folder: for its files.
        title: what it calls the run.
        about: what was asked for, as nested dicts.
    """

    #: the module it needs, and what pip calls it
    module: ClassVar[str]
    package: ClassVar[str]
    #: Lightning's
    logger: Any

    def __init__(self, folder: Path, title: str, about: Mapping[str, Any]) -> None:
        self.folder = folder
        self.title = title
        self.about = about

    @classmethod  # noqa: B027 - most have nothing to check
    def check(cls) -> None:
        """InvalidRequest if it cannot work here, apart from its package; sends nothing."""

    @abstractmethod
    def open(self) -> None:
        """Begin, or go on with what is in the folder."""

    @abstractmethod
    def sent(self) -> dict[str, int]:
        """The last step of each figure that it has already."""

    def send(self, figures: Mapping[str, float], step: int) -> None:
        """Send figures of ``step``."""
        self.logger.log_metrics(figures, step)

    def end(self, *, failed: bool) -> None:
        """Nothing more will come."""
        self.logger.finalize("failed" if failed else "success")


class TensorBoard(Tracker):
    """Event files, which `tensorboard --logdir` shows."""

    module, package = "tensorboardX", "tensorboardX"

    def open(self) -> None:
        from pytorch_lightning.loggers import TensorBoardLogger

        self._sent = last_steps(self.folder / "tensorboard")
        # files are named by the second, and one of the same name would be written over
        own = f".{secrets.token_hex(4)}"
        self.logger = TensorBoardLogger(
            self.folder, name=None, version="tensorboard", default_hp_metric=False, filename_suffix=own
        )

    def sent(self) -> dict[str, int]:
        return self._sent

    def send(self, figures: Mapping[str, float], step: int) -> None:
        super().send(figures, step)
        self.logger.experiment.flush()  # somebody may be watching, and a kill may come

    def end(self, *, failed: bool) -> None:
        self.logger.experiment.close()


class MLflow(Tracker):
    """A run on the server that ``MLFLOW_TRACKING_URI`` names."""

    module, package = "mlflow", "mlflow"
    _VARIABLE = "MLFLOW_TRACKING_URI"

    @classmethod
    def check(cls) -> None:
        uri = os.environ.get(cls._VARIABLE)
        if not uri:
            raise refusal("trackers", "mlflow", "has no server", f"set {cls._VARIABLE} to its address")
        if not uri.startswith(("http://", "https://")):
            return
        try:
            urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_PATIENCE).close()
        except urllib.error.HTTPError:
            return  # it answers; a proxy in front of it may ask for more than we know
        except (OSError, ValueError) as error:
            why = f"has no server that answers at {uri} ({getattr(error, 'reason', error)})"
            raise refusal("trackers", "mlflow", why, f"start it, or set {cls._VARIABLE}") from None

    def open(self) -> None:
        from pytorch_lightning.loggers import MLFlowLogger

        kept = self.folder / "mlflow.json"
        known = read_json(kept)["run"] if kept.exists() else None
        uri = os.environ[self._VARIABLE]
        self.logger = MLFlowLogger(PROJECT, run_name=self.title, tracking_uri=uri, run_id=known)
        if known is None:
            write_json(kept, {"run": self.logger.run_id})  # asking for it begins the run
            self.logger.log_hyperparams(dict(self.about))

    def sent(self) -> dict[str, int]:
        client, run = self.logger.experiment, self.logger.run_id
        names = client.get_run(run).data.metrics
        return {name: max(point.step for point in client.get_metric_history(run, name)) for name in names}


class WandB(Tracker):
    """A run of Weights & Biases; WANDB_MODE=offline keeps it in the folder for `wandb sync`."""

    module, package = "wandb", "wandb"

    def open(self) -> None:
        from pytorch_lightning.loggers import WandbLogger

        self._kept = self.folder / "wandb.json"
        known = read_json(self._kept) if self._kept.exists() else None
        # offline there is nobody to ask how far it has got
        self._steps: dict[str, int] = {} if known is None else known["steps"]
        identity = None if known is None else known["run"]
        self.logger = WandbLogger(name=self.title, save_dir=self.folder, id=identity, project=PROJECT)
        if known is None:
            self.logger.log_hyperparams(dict(self.about))
        self._keep()

    def sent(self) -> dict[str, int]:
        return dict(self._steps)

    def send(self, figures: Mapping[str, float], step: int) -> None:
        super().send(figures, step)
        self._steps.update(dict.fromkeys(figures, step))
        self._keep()

    def end(self, *, failed: bool) -> None:
        self.logger.experiment.finish(exit_code=int(failed))

    def _keep(self) -> None:
        write_json(self._kept, {"run": self.logger.experiment.id, "steps": self._steps})


TRACKERS: dict[TrackerName, type[Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}


def check_trackers(names: Sequence[TrackerName]) -> None:
    """InvalidRequest if a package of one of them is not installed, or if it cannot work here; sends nothing."""
    for name in names:
        if find_spec(TRACKERS[name].module) is None:
            why = f"needs the package {TRACKERS[name].package}, which is not installed"
            raise refusal("trackers", name, why, f"pip install {TRACKERS[name].package}, or leave {name} out")
        TRACKERS[name].check()


class Tracking:
    """Sends figures to several trackers. A tracker that fails is given up and named: it must not end a training.

    Args:
        names: which.
        folder: of what the figures are of; trackers' own files go to `FOLDER` in it.
        title: what trackers call it.
        about: what was asked for, as nested dicts.

    Raises:
        InvalidRequest: a tracker cannot begin.
    """

    def __init__(self, names: Sequence[TrackerName], folder: Path, title: str, about: Mapping[str, Any]) -> None:
        self._open: dict[str, tuple[Tracker, dict[str, int]]] = {}
        self._best: dict[str, float] = {}
        for name in dict.fromkeys(names):
            home = folder / FOLDER
            home.mkdir(parents=True, exist_ok=True)
            tracker = TRACKERS[name](home, title, about)
            try:
                tracker.open()
                self._open[name] = (tracker, tracker.sent())
            except Exception as error:  # whatever a client and its server come up with
                self.close(failed=True)
                raise refusal(
                    "trackers", name, f"cannot begin ({_said(error)})", f"solve that, or leave {name} out"
                ) from None

    def send(self, figures: Mapping[str, float], step: int) -> None:
        """Send the finite ones of the figures of ``step`` (an epoch, or a trial; from 0), if they are not there yet.

        Of those that `BEST` names, the highest so far goes with them.
        """
        figures = {name: float(value) for name, value in figures.items() if math.isfinite(value)}
        for name in BEST & set(figures):
            self._best[name] = max(figures[name], self._best.get(name, -math.inf))
            figures[f"best_{name}"] = self._best[name]
        for name, (tracker, sent) in list(self._open.items()):
            new = {key: value for key, value in figures.items() if step > sent.get(key, -1)}
            if not new:
                continue
            try:
                tracker.send(new, step)
                sent.update(dict.fromkeys(new, step))
            except Exception as error:
                print(f"{name} accepts no more metrics ({_said(error)}); the training goes on")
                del self._open[name]

    def beside(self, write: Callable[[dict[str, float]], None]) -> Callable[[dict[str, float]], None]:
        """What writes the figures of an epoch, "epoch" among them, and then sends the others."""

        def report(figures: dict[str, float]) -> None:
            write(figures)
            self.send({name: value for name, value in figures.items() if name != "epoch"}, int(figures["epoch"]))

        return report

    def close(self, *, failed: bool = False) -> None:
        """End."""
        for name, (tracker, _) in self._open.items():
            try:
                tracker.end(failed=failed)
            except Exception as error:
                print(f"{name} could not end ({_said(error)}); the training is not lost")
        self._open.clear()

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self.close(failed=kind is not None)


def _said(error: Exception) -> str:
    """What a client or its server said, in one line."""
    return plain(" ".join(str(error).split()), 200)
