"""Whatever a parser is given, only our own errors come out, each within two seconds and in one short line."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.commands import network
from helpers.mutations import JUNK, TOKENS, files_of, texts
from helpers.runs import tiny_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from evaluators.data.load import describe, load_data
from evaluators.training.recipes import Recipe
from experiments.bundle.export import parse_formats
from experiments.cli import main
from experiments.commands import COMMANDS
from experiments.options.config import SearchConfig, seconds
from experiments.options.files import read_config
from experiments.options.values import from_text, make, options_of
from experiments.runs.claimed_folder import ClaimedFolder
from experiments.runs.folder import RUN
from experiments.runs.records import ScoreRecord, metrics_rows
from experiments.runs.scores import ScoreTable
from experiments.training.retrain import TRAININGS
from experiments.training.trained import find_trained
from search_space.base.errors import InvalidRequest
from search_space.cost_file import load_costs
from search_space.macro_file import load_macro, macro_to_dict
from search_space.macros import built_in_macro
from search_space.notation import parse
from search_space.own_model import OwnModel
from search_space.serialization import load_any_network, to_json
from strategies.budget.budget import Budget, parse_count

#: inputs in an ordinary test, and in all of `make test-faults`
FEW, MANY = 150, 100_000
SECONDS = 2.0

NETWORK = network()
OWN = OwnModel("my.module:make", 8, 1, 10, "0" * 16, 1000, 100)
COSTS = {"format": "sepnas-costs", "version": 1, "metric": "ms", "costs": {"block1": {"dw_k3": 1.0, "skip": 0}}}
MACRO = yaml.safe_dump(macro_to_dict(built_in_macro("mobilenetv3-small", "macro")))
CONFIG = yaml.safe_dump(tiny_values(budget={"max_macs": "200k", "max_params": "1.5M", "max_costs": {"ms": 1.5}}))
ABOUT = {
    "recipe": {"epochs": 1, "precision": "32"},
    "train_on": "train",
    "data": {"name": "digits", "image_size": 8, "seed": 0},
    "architecture": str(NETWORK),
}
RESULT = {"seed": 0, "test_accuracy": 0.5, "test_images": 9, "device": "cpu", "seconds": 1.0, "provenance": {}}
FACTS = {
    "name": "digits",
    "classes": ["0", "1"],
    "image_size": 8,
    "stored_size": 8,
    "channels": 1,
    "mean": [0.5],
    "std": [0.2],
}
TRAINED = {"about.json": ABOUT, "seed0/result.json": RESULT, "seed0/data.json": FACTS}
SCORES = f"measure,accuracy,loss,seconds,architecture\nseed0,0.5,1.0,2.00,{NETWORK}\nsupernet,0.4,nan,1.00,{NETWORK}\n"
RECORD = f"trial,measure,score,macs,params,architecture\n0,accuracy,0.5,1,2,{NETWORK}\n"
METRICS = "phase,epoch,seconds,train_loss\nsearch,0,1.0,2.0\n"
NAMES = [
    f"{section}{name}"
    for section, cls in (("", SearchConfig), ("retrain.recipe.", Recipe))
    for name, own in options_of(cls).items()
    if own.section is None
]


@dataclass(frozen=True)
class Target:
    """What is fuzzed: by which inputs, and how one is read in a folder of its own."""

    inputs: st.SearchStrategy[Any]
    read: Callable[[Any, Path], object]


def file(name: str, read: Callable[[Path], object]) -> Callable[[str, Path], object]:
    """Reads the input as a file called ``name``, which need not be UTF-8."""

    def reader(text: str, folder: Path) -> object:
        path = folder / name
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return read(path)

    return reader


def read_trained(given: tuple[str, str], folder: Path) -> object:
    """One of the files of a training is the input."""
    for name, value in TRAINED.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(value))
    (folder / given[0]).write_bytes(given[1].encode("utf-8", "surrogatepass"))
    find_trained(folder)
    return ClaimedFolder(folder, TRAININGS).check(ABOUT)


def read_run(text: str, folder: Path) -> object:
    (folder / "provenance.json").write_text("{}")
    (folder / "config.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    return ClaimedFolder(folder, RUN).check(tiny_values(), resume=True)


def pixels() -> bytes:
    stream = io.BytesIO()
    Image.new("L", (4, 4), 7).save(stream, "PNG")
    return stream.getvalue()


PIXELS = pixels()
FILE_NAMES = st.text(min_size=1, max_size=12).filter(lambda name: "/" not in name and name.isprintable()) | (
    st.sampled_from(
        ["\x1b[31mred", "two\nlines", "train", "VAL", "-rf", "%s", "a" * 250, "\u202e", "é", " ", "...", "~"]
    )
)


def read_folder(given: tuple[list[str], list[str], bytes], folder: Path) -> object:
    """Class folders of these names, with files of these names; all but the last are images."""
    classes, files, last = given
    for position, name in enumerate(classes):
        home = folder / name
        home.mkdir(exist_ok=True)
        for own in files:
            (home / f"{own}.png").write_bytes(PIXELS)
        if position == len(classes) - 1:
            (home / "last.png").write_bytes(last)
    told = describe(load_data(str(folder), image_size=4, cache=False))
    assert told.isprintable()
    return told


def read_command(arguments: list[str], folder: Path) -> object:
    """A whole command line; the command itself does nothing."""
    with pytest.MonkeyPatch.context() as patch, pytest.MonkeyPatch.context() as streams:
        error = io.StringIO()
        streams.setattr("sys.stderr", error)
        streams.setattr("sys.stdout", io.StringIO())
        for name in {*arguments[:1]} & set(COMMANDS):
            patch.setitem(COMMANDS, name, replace(COMMANDS[name], run=lambda options: None))
        code = main(arguments)
    said = error.getvalue()
    assert code in (0, 2), said
    if code == 2:
        raise Said(said)
    return code


class Said(InvalidRequest):
    """What the command line printed, which must not be mended by the class."""

    def __init__(self, line: str) -> None:
        ValueError.__init__(self, line.removesuffix("\n"))


OPTION = st.sampled_from([*NAMES, "out", "input", "recipe.epochs", "strategy.options.trials", "bogus", "to", "width"])
VALUE = st.sampled_from(TOKENS) | texts("200k", "1.5M", "[1, 2]", "{a: 1}", "digits", "0.5", "3")
ARGUMENTS = st.tuples(
    st.sampled_from([*COMMANDS, "bogus"]),
    st.sampled_from(["digits", "mobilenetv3-small", "none"]) | VALUE,
    st.lists(st.tuples(OPTION.map("--{}".format) | st.just("--"), VALUE), max_size=3),
).map(lambda own: [own[0], own[1], *(text for pair in own[2] for text in pair)])

TARGETS = {
    "notation": Target(texts(str(NETWORK), "m 1x8x8 10 | stem c8 s1 relu"), lambda text, _: parse(text)),
    "architecture": Target(files_of(to_json(NETWORK)), file("a.json", load_any_network)),
    "own model": Target(files_of(to_json(OWN)), file("a.json", load_any_network)),
    "costs": Target(files_of(COSTS), file("costs.json", load_costs)),
    "macro": Target(texts(MACRO), file("macro.yaml", load_macro)),
    "config": Target(texts(CONFIG), file("config.yaml", read_config)),
    "run": Target(texts(CONFIG), read_run),
    "trained": Target(
        st.one_of(*(st.tuples(st.just(name), files_of(value)) for name, value in TRAINED.items())), read_trained
    ),
    "scores": Target(texts(SCORES), file("scores.csv", lambda path: ScoreTable(path).trained())),
    "record": Target(texts(RECORD), file("architectures.csv", lambda path: ScoreRecord(path, ["accuracy"]).scored)),
    "metrics": Target(texts(METRICS), file("metrics.csv", metrics_rows)),
    "count": Target(JUNK | texts("200k", "1.5M", "1e6", "16.7m"), lambda value, _: parse_count(value, "max_macs")),
    "budget": Target(
        st.dictionaries(st.sampled_from(list(Budget.__dataclass_fields__)), JUNK), lambda given, _: Budget(**given)
    ),
    "time": Target(texts("90s", "1.5h"), lambda text, _: seconds("time", text)),
    "formats": Target(texts("source,onnx", "all"), lambda text, _: parse_formats(text)),
    "option": Target(
        st.tuples(st.sampled_from(list(options_of(Recipe))), VALUE),
        lambda own, _: make(Recipe, {own[0]: from_text(own[1], options_of(Recipe)[own[0]].type)}),
    ),
    "command": Target(ARGUMENTS, read_command),
    "folder": Target(
        st.tuples(
            st.lists(FILE_NAMES, min_size=1, max_size=3),
            st.lists(FILE_NAMES, min_size=1, max_size=4),
            st.binary(max_size=20) | st.just(PIXELS[:40]) | st.just(PIXELS),
        ),
        read_folder,
    ),
}


def check(name: str, inputs: int, home: Path) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=inputs,
        database=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(target.inputs)
    def holds(value: Any) -> None:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        start = time.process_time()
        try:
            target.read(value, home)
        except InvalidRequest as error:
            said = str(error)
            assert said.isprintable()
            assert said.count("\n") == 0
            assert len(said) <= 300
        assert time.process_time() - start < SECONDS

    holds()


@pytest.mark.parametrize("name", TARGETS)
def test_a_few_strange_inputs(name: str, tmp_path: Path) -> None:
    check(name, FEW, tmp_path / "own")


@pytest.mark.faults
@pytest.mark.parametrize("name", TARGETS)
def test_many_strange_inputs(name: str, tmp_path: Path) -> None:
    check(name, -(-MANY // len(TARGETS)), tmp_path / "own")
