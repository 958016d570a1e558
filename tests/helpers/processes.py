"""What the tests of processes run in them; imports little, since every process does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from evaluators.training.run import TrainingDiverged
from search_space.base.errors import InvalidRequest


def diverge_or_touch(path: Path | None) -> None:
    """Fails without a path."""
    if path is None:
        raise TrainingDiverged("the loss is nan at step 3")
    path.touch()


def fail_together(kind: str, report: Any) -> None:
    """Fails in all processes, or in the second alone, for which the first waits."""
    if kind == "diverged":
        raise TrainingDiverged("the loss is nan at step 3")
    if report is None:
        raise OSError("no space left")
    report({"epoch": 0.0})
    while True:
        pass


def decide_together(folder: Path, report: Any) -> None:
    """Each process leaves a file with what it was told, and what was refused; the decisions differ."""
    from evaluators.training.processes import decided, world_size

    rank = os.environ["RANK"]

    def refuse() -> None:
        raise InvalidRequest(f"out: refused by {rank}")

    def fail() -> None:
        raise OSError(f"no space for {rank}")

    told = [f"world {world_size()}", decided(lambda: f"first {rank}"), decided(lambda: f"second {rank}")]
    for failing in (refuse, fail):
        try:
            decided(failing)
        except Exception as error:
            told.append(f"{type(error).__name__}: {error}")
    (folder / rank).write_text("\n".join(told))


def retrain_as_seen(folders: list[Path], report: Any) -> dict[str, Any]:
    """`retrain_all` of seeds 0 and 1, each process in the folder that it sees, and again by another recipe.

    Each process leaves beside its folder what was then refused.
    """
    rank = int(os.environ["RANK"])
    result = retrain_small(folders[rank], [0, 1], epochs=1, devices=len(folders))
    try:
        retrain_small(folders[rank], [0, 1], epochs=2, devices=len(folders))
    except InvalidRequest as error:
        (folders[rank].parent / f"refused{rank}").write_text(str(error))
    return {"seeds": result.seeds, "accuracies": result.accuracies}


def retrain_small(folder: Path, seeds: list[int], *, epochs: int, devices: int) -> Any:
    from experiments.runs.task import DataTask
    from experiments.training.retrain import retrain_all
    from helpers.runs import tiny_config
    from search_space.hand_designed import baseline

    recipe = {"epochs": epochs, "batch_size": 32, "learning_rate": 0.05, "warmup_epochs": 0}
    config = tiny_config(retrain={"recipe": recipe, "seeds": seeds, "devices": devices})
    network = baseline("mobilenetv3-small", image_size=8, in_channels=1, width=0.25)
    data = DataTask(config.data, config.seed).data
    return retrain_all("net", network, data, config.retrain, folder, data_config={}, accelerator="cpu")


def grow(size: int) -> int:
    """Bytes by which the peak of this process grows when it takes ``size`` of them."""
    from experiments.bench import peak_memory

    before = peak_memory("cpu")
    block = bytearray(size)
    return peak_memory("cpu") - before + 0 * len(block)


def wait_and_return(shared: Any, seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def die(shared: int, path: Path | None) -> int:
    """End the process from outside, as Linux does where memory runs out; with a path, only while it is not there."""
    if path is None or not path.exists():
        if path is not None:
            path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return shared


class DiesOnce:
    """Ends the process that takes it as `die` does, while ``path`` is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return die, (0, self.path)


def size_of_second(shared: tuple[Any, bytes]) -> int:
    return len(shared[1])
