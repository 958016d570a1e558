"""Retraining by one recipe and several seeds; what is done is not done again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluators.base.progress import progress_bar
from evaluators.data.images import ImageData
from evaluators.measuring.statistics import Summary, summarise
from evaluators.training.callbacks import CHECKPOINT_FILE
from evaluators.training.devices import check_precision, check_processes, pick_accelerator
from evaluators.training.loaders import check_augmentation, check_fit, check_input
from evaluators.training.optimizers import last_linear
from evaluators.training.pools import Call, Pool, run_each, run_in
from evaluators.training.processes import decided, is_first
from evaluators.training.retrain import retrain
from evaluators.training.run import Accelerator, TrainingDiverged
from experiments.options.config import RetrainConfig, SearchConfig, TrackerName
from experiments.runs.claimed_folder import IMAGES, ClaimedFolder, FolderKind
from experiments.runs.engine import check_engine, open_retraining_pool, time_limit
from experiments.runs.failures import reason_of
from experiments.runs.files import read_json, sweep, write_json
from experiments.runs.held import held
from experiments.runs.provenance import provenance
from experiments.runs.records import metrics_rows, metrics_writer
from experiments.runs.task import DataTask
from experiments.tracking.trackers import Tracking, check_trackers
from experiments.training.start import START_FILE, Start
from search_space.base.calls import code_digest
from search_space.base.errors import InvalidRequest
from search_space.blueprint import AnyNetwork, Blueprint
from search_space.network_cost import cost
from search_space.serialization import load_any_network, save_architecture
from search_space.weights import ARCHITECTURE_FILE, WEIGHTS_FILE, save_tensors, save_weights

RESULT_FILE = "result.json"
DATA_FILE = "data.json"
ABOUT_FILE = "about.json"
FAILED_FILE = "failed.json"
TRAININGS = FolderKind(
    name="a retraining",
    files=("seed[0-9]*", ARCHITECTURE_FILE, START_FILE),
    marker=ABOUT_FILE,
    # what a seed would lose: its result, or the resume point that it would go on from
    valuable=(f"seed*/{RESULT_FILE}", f"seed*/{CHECKPOINT_FILE}"),
)


@dataclass(frozen=True)
class Result:
    """Test accuracies of one network over seeds.

    Attributes:
        name: what tables call the network.
        architecture: what was trained.
        seeds: a training for each.
        accuracies: on the test images, in [0, 1].
        seconds: of each training.
        test_images: how many there are.
        provenance: of the first training.
    """

    name: str
    architecture: AnyNetwork
    seeds: list[int]
    accuracies: list[float]
    seconds: list[float]
    test_images: int
    provenance: dict[str, Any]

    @property
    def by_seed(self) -> dict[int, float]:
        """The accuracies by seed."""
        return dict(zip(self.seeds, self.accuracies, strict=True))

    @property
    def summary(self) -> Summary:
        """Mean, sample standard deviation and 95 % confidence interval of the accuracy."""
        return summarise(self.accuracies, least=0, most=1)

    def __str__(self) -> str:
        """``gdas winner: test accuracy 98.33% ± 0.21% (n = 3, 95% confidence 97.81% to 98.85%)``."""
        summary = self.summary
        text = f"{self.name}: test accuracy {summary.mean:.2%}"
        if summary.std is None or summary.interval is None:
            return f"{text} (n = 1)"
        low, high = summary.interval
        return f"{text} ± {summary.std:.2%} (n = {summary.n}, 95% confidence {low:.2%} to {high:.2%})"


def retrain_network(
    name: str,
    architecture: AnyNetwork,
    config: SearchConfig,
    folder: Path,
    *,
    task: DataTask | None = None,
    start: Start | None = None,
    overwrite: bool = False,
) -> Result:
    """Retrain ``architecture`` as ``config.retrain`` says, into ``folder``; ``task`` has the config's images, ``start``
    the weights that all seeds start from, if not fresh ones."""
    task = DataTask(config.data, config.seed) if task is None else task
    check_request(architecture, config, task, folder, start=start, overwrite=overwrite)
    check_fit(architecture, task.data)
    return retrain_all(
        name,
        architecture,
        task.data,
        config.retrain,
        folder,
        data_config=data_config(config),
        accelerator=config.accelerator,
        trackers=config.trackers,
        engine=config,
        start=start,
        overwrite=overwrite,
    )


def check_request(
    architecture: AnyNetwork,
    config: SearchConfig,
    task: DataTask,
    folder: Path,
    *,
    start: Start | None = None,
    overwrite: bool,
) -> None:
    """InvalidRequest if a retraining cannot work or its results have no place in ``folder``; decodes no image."""
    check_precision(config.retrain.recipe.precision, pick_accelerator(config.accelerator))
    options = config.retrain
    check_engine(config)
    check_trackers(config.trackers)
    check_processes(options.devices, options.num_nodes, config.accelerator)
    check_results(folder, architecture, options, data_config(config), start=start, overwrite=overwrite)
    check_input(architecture, config.data.name, config.data.image_size, task.channels, len(task.classes))
    check_augmentation(options.recipe, task.channels, config.data.image_size)
    if options.recipe.dropout and isinstance(architecture, Blueprint):
        last_linear(architecture.build())  # which an architecture has


def data_config(config: SearchConfig) -> dict[str, Any]:
    """What the images of a training depend on."""
    return {**config.data.deciding(), "seed": config.seed}


def retrain_all(
    name: str,
    architecture: AnyNetwork,
    data: ImageData,
    config: RetrainConfig,
    folder: Path,
    *,
    data_config: dict[str, Any],
    accelerator: Accelerator = "auto",
    trackers: Sequence[TrackerName] = (),
    engine: SearchConfig | None = None,
    start: Start | None = None,
    overwrite: bool = False,
) -> Result:
    """Train ``architecture`` once for each seed under ``folder/<seed>``.

    The ``engine`` of that config runs the trainings, as many at once as its ``jobs`` say, within its time limit and
    with its retries; without one they run here, one after the other.

    A seed whose result is there is not trained again; one that was killed goes on from its last whole epoch. Of several
    processes that torchrun or SLURM started, the first one writes; all need to see the same ``folder``.

    Raises:
        InvalidRequest: the folder holds results of another architecture, recipe or data (unless ``overwrite``).
        TrainingDiverged: a seed diverged and left ``failed.json``; raised when all have been tried.
    """
    check_processes(config.devices, config.num_nodes, accelerator)
    homes = {seed: folder / f"seed{seed}" for seed in config.seeds}

    def claim() -> dict[int, dict[str, Any]]:
        claim_folder(folder, architecture, config, data_config, data, start=start, overwrite=overwrite)
        done = {seed: _read_result(home) for seed, home in homes.items() if (home / RESULT_FILE).exists()}
        for seed in done:  # killed behind the result
            (homes[seed] / CHECKPOINT_FILE).unlink(missing_ok=True)
        return done

    done = decided(claim)
    missing = [seed for seed in homes if seed not in done]
    begin = None if start is None else folder / START_FILE
    calls = [(name, architecture, config, seed, homes[seed], accelerator, trackers, begin) for seed in missing]
    made = dict(zip(missing, _train_each(data, calls, len(homes), engine), strict=True))
    failed = {seed: result["error"] for seed, result in made.items() if "error" in result}
    if failed:
        raise TrainingDiverged(
            f"{next(iter(failed.values()))}; in all, seed {', '.join(map(str, failed))} diverged and"
            f" {len(homes) - len(failed)} of {len(homes)} seeds succeeded ({folder})"
        )
    return _result(name, architecture, {seed: made[seed] if seed in made else done[seed] for seed in homes})


def _train_each(
    data: ImageData, calls: list[tuple[Any, ...]], total: int, engine: SearchConfig | None
) -> list[dict[str, Any]]:
    alone = [(data, *call) for call in calls]
    if engine is None:
        return run_each(_train_one, alone, 1)
    pool = open_retraining_pool(engine, data, total, len(calls))
    if pool is None:
        return run_each(_train_one, alone, 1, limit=time_limit(engine), retries=engine.retries)
    return [call.result() for call in train_at_once(pool, _train_one, calls)]


def train_at_once(pool: Pool, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Call[Any]]:
    """`run_in`, with a progress bar of trainings; an error that would meet all of them is raised at once."""
    with progress_bar(len(calls), "trainings", "training") as bar:

        def ended(call: Future[Any]) -> None:
            bar.update(1)
            if isinstance(error := call.exception(), Exception):
                reason_of(error)

        return run_in(pool, function, calls, ended)


def claim_folder(
    folder: Path,
    architecture: AnyNetwork,
    config: RetrainConfig,
    data_config: dict[str, Any],
    data: ImageData,
    *,
    start: Start | None = None,
    overwrite: bool,
) -> None:
    """Make ``folder`` one of trainings of ``architecture``; errors as of `retrain_all`."""
    request = {**_request(architecture, config, data_config, start), IMAGES: data.fingerprint}
    ClaimedFolder(folder, TRAININGS).claim(request, overwrite=overwrite)
    if start is not None:
        save_tensors(start.tensors, folder / START_FILE)
    save_architecture(architecture, folder / ARCHITECTURE_FILE)


def read_result(folder: Path) -> Result:
    """All seeds that are trained in ``folder``, one of `retrain_all`; InvalidRequest if there is none."""
    homes = trained_seeds(folder)
    if not homes:
        raise InvalidRequest(f"run: no training in {folder} is finished; run the same `sepnas retrain` again")
    results = {seed: _read_result(home) for seed, home in homes.items()}
    return _result(folder.resolve().name, load_any_network(folder / ARCHITECTURE_FILE), results)


def trained_seeds(folder: Path) -> dict[int, Path]:
    """The folders of the trainings in ``folder`` that are finished, by seed, in their order."""
    homes = [path.parent for path in folder.glob(f"seed[0-9]*/{RESULT_FILE}")]
    return dict(sorted((int(home.name.removeprefix("seed")), home) for home in homes))


def _read_result(home: Path) -> dict[str, Any]:
    """What the training in ``home`` gave; InvalidRequest if its file is damaged."""
    result = read_json(home / RESULT_FILE)
    if not isinstance(result, dict) or not {"test_accuracy", "seconds", "test_images", "provenance"} <= set(result):
        raise InvalidRequest(f"run: {home / RESULT_FILE} is damaged; delete it, and that seed is trained again")
    return result


def _result(name: str, architecture: AnyNetwork, results: dict[int, dict[str, Any]]) -> Result:
    accuracies, seconds = ([result[key] for result in results.values()] for key in ("test_accuracy", "seconds"))
    first = next(iter(results.values()))
    return Result(name, architecture, list(results), accuracies, seconds, first["test_images"], first["provenance"])


def check_results(
    folder: Path,
    architecture: AnyNetwork,
    config: RetrainConfig,
    data_config: dict[str, Any],
    *,
    start: Start | None = None,
    overwrite: bool,
) -> bool:
    """Whether what ``folder`` holds, if anything, was made the same way; changes nothing.

    InvalidRequest if it was made differently (unless ``overwrite``), or if ``folder`` holds other files.
    """
    request = _request(architecture, config, data_config, start)
    return ClaimedFolder(folder, TRAININGS).check(request, overwrite=overwrite)


def training_conditions(
    config: RetrainConfig, data_config: dict[str, Any], start: Start | None = None
) -> dict[str, Any]:
    """What results depend on, besides the architecture and the seed."""
    begin = {} if start is None else {"starts_from": start.digest}
    if (own := config.recipe.transform) is not None:
        begin["transform_code"] = code_digest(own, "recipe.transform", "my_transforms:soften")
    return {"recipe": asdict(config.recipe), "train_on": config.train_on, "data": data_config, **begin}


def read_conditions(folder: Path) -> dict[str, Any]:
    """`training_conditions` of the trainings in ``folder``."""
    values = ClaimedFolder(folder, TRAININGS, field="run").request()
    return {name: value for name, value in values.items() if name not in ("architecture", IMAGES)}


def _request(
    architecture: AnyNetwork, config: RetrainConfig, data_config: dict[str, Any], start: Start | None
) -> dict[str, Any]:
    return {**training_conditions(config, data_config, start), "architecture": str(architecture)}


def _train_one(
    data: ImageData,
    name: str,
    architecture: AnyNetwork,
    config: RetrainConfig,
    seed: int,
    home: Path,
    accelerator: Accelerator,
    trackers: Sequence[TrackerName],
    start: Path | None,
) -> dict[str, Any]:
    """Train one seed into ``home`` and return what its result file says, or its file of failure if it diverges."""
    with held(home) if is_first() else nullcontext():
        if is_first():
            sweep(home)
            (home / FAILED_FILE).unlink(missing_ok=True)
        try:
            title, keep = f"{name}, seed {seed}", config.train_on == "train" and len(data.validation) > 0
            run = config.run(seed=seed, accelerator=accelerator, folder=home, title=title, keep_best=keep, start=start)
            with ExitStack() as stack:
                report = None
                if is_first():
                    about = {"architecture": str(architecture), "seed": seed, "recipe": asdict(config.recipe)}
                    tracking = stack.enter_context(Tracking(trackers, home, title, about))
                    report = tracking.beside(metrics_writer(home / "metrics.csv", "retrain"))
                trained = retrain(architecture, data, config.recipe, run, on_epoch=report)
        except TrainingDiverged as error:
            failure = {"seed": seed, "error": str(error)}
            if is_first():
                write_json(home / FAILED_FILE, failure)
            return failure
        made = provenance(seed, pick_accelerator(accelerator))
        result = {
            "seed": seed,
            "test_accuracy": trained.accuracy,
            "test_loss": trained.loss,
            "test_images": data.sizes["test"],
            **asdict(cost(architecture)),
            "device": made["accelerator"],
            "devices": config.devices,
            "num_nodes": config.num_nodes,
            "seconds": round(trained.seconds, 2),
            "provenance": made,
        }
        if (best := trained.best) is not None:
            accuracies = {"validation_accuracy": best.validation_accuracy, "test_accuracy": best.accuracy}
            result["best"] = {"epoch": best.epoch, **accuracies}
        if not is_first():
            return result
        save_weights(trained.network, home / WEIGHTS_FILE)
        facts = ("name", "classes", "image_size", "stored_size", "channels", "mean", "std")
        write_json(home / DATA_FILE, {name: getattr(data, name) for name in facts})
        # of all epochs: a resumed training has run for longer than this process
        result["seconds"] = round(sum(float(row["seconds"]) for row in metrics_rows(home / "metrics.csv")), 2)
        write_json(home / RESULT_FILE, result)  # last: its presence says that the seed is done
        (home / CHECKPOINT_FILE).unlink(missing_ok=True)
        print(f"{name}, seed {seed}: test accuracy {trained.accuracy:.2%} ({result['seconds']:.0f} s)")
        return result
