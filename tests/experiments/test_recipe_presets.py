"""Recipe presets in configs and on the command line: what is given beside them wins, and every field ends on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.runs import complaint, tiny_values

import experiments.search.search as search_module
import experiments.training.retrain as targets_module
from evaluators.training.presets import PRESETS, RECIPES, Preset, recipe
from evaluators.training.recipes import Recipe
from experiments.cli import main
from experiments.commands.listing import LISTINGS
from experiments.options.config import SearchConfig
from experiments.options.files import make_config, read_config
from experiments.runs.folder import open_run
from search_space.base.errors import InvalidRequest
from search_space.hand_designed import baseline
from search_space.serialization import save_architecture

KNOWN = f"known are {', '.join(list(RECIPES)[:5])}"


def write(folder: Path, **more: Any) -> str:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_values(**more)))
    return str(path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SearchConfig]:
    """The config with which ``sepnas search`` or ``sepnas retrain`` would begin."""
    seen: list[SearchConfig] = []

    def search(config: SearchConfig, *args: Any, **options: Any) -> None:
        seen.append(config)
        raise InvalidRequest("seen")

    def retrain(name: str, network: Any, config: SearchConfig, *args: Any, **options: Any) -> None:
        search(config)

    monkeypatch.setattr(search_module, "search", search)
    monkeypatch.setattr(targets_module, "retrain_network", retrain)

    def ask(*arguments: str) -> SearchConfig:
        assert main(list(arguments)) == 2
        return seen.pop()

    return ask


# --- in a config ---


def test_preset_in_yaml_gives_every_field_that_is_not_given(tmp_path: Path) -> None:
    given = {"preset": "xsepconv-cifar", "epochs": 2, "warmup_epochs": 0}
    config = read_config(Path(write(tmp_path, search=given, retrain={"recipe": given, "seeds": [3]})))
    for own in (config.search, config.retrain.recipe):
        # XSepConv section 4.1: batches of 128, learning rate 0.35, momentum 0.9, weight decay 6e-5, cosine
        assert (own.batch_size, own.learning_rate, own.momentum, own.weight_decay) == (128, 0.35, 0.9, 6e-5)
        assert (own.schedule, own.crop_padding, own.flip) == ("cosine", 4, True)
        assert (own.epochs, own.warmup_epochs) == (2, 0)
    assert config.retrain.seeds == [3]


def test_fields_win_over_the_preset_wherever_they_stand() -> None:
    for order in permutations([("preset", "bsconv-imagenet"), ("epochs", 9), ("mixup", 0.2)]):
        own = make_config({"search": dict(order)}, "test").search
        assert own == recipe("bsconv-imagenet", epochs=9, mixup=0.2)


@pytest.mark.parametrize("name", RECIPES)
def test_every_preset_can_be_named_in_a_config(name: str) -> None:
    config = make_config({"search": {"preset": name}, "retrain": {"recipe": {"preset": name}}}, "test")
    assert config.search == config.retrain.recipe == RECIPES[name]
    assert make_config(config.as_dict(), "test") == config


@pytest.mark.parametrize("values", [{"search": {"preset": "no"}}, {"retrain": {"recipe": {"preset": "no"}}}])
def test_unknown_preset_in_yaml_is_answered_by_the_known_ones(
    tmp_path: Path, values: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", write(tmp_path, **values), "--out", str(tmp_path / "run")]) == 2
    said = complaint(capsys)
    assert "recipe.preset: 'no' is unknown" in said
    # a long line is cut in the middle, and how much of it depends on the length of the path
    assert "known are xsepconv" in said
    assert said.endswith("even-kernel-cifar, xception-imagenet and 7 more (`sepnas list recipes` shows all)")
    assert not (tmp_path / "run").exists()


def test_only_recipes_have_presets() -> None:
    with pytest.raises(InvalidRequest, match=r"data\.preset: 'cpu' is of an unknown key"):
        make_config({"data": {"preset": "cpu"}}, "test")
    with pytest.raises(InvalidRequest, match=r"retrain\.preset: 'cpu' is of an unknown key"):
        make_config({"retrain": {"preset": "cpu"}}, "test")


def test_wrong_field_beside_a_preset_is_still_named() -> None:
    with pytest.raises(InvalidRequest, match=r"search\.epoch: 3 is of an unknown key; .* did you mean epochs"):
        make_config({"search": {"preset": "cpu", "epoch": 3}}, "test")
    with pytest.raises(InvalidRequest, match=r"(search|recipe)\.epochs: 0 must be a whole number"):
        make_config({"search": {"preset": "bsconv-cifar", "epochs": 0}}, "test")


def test_a_new_preset_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "mine", Preset("our own: a trial", Recipe(epochs=7)))
    assert "mine" in LISTINGS["recipes"]()
    assert "7 epochs, batch 64, sgd, learning rate 0.1, cosine, warm-up 1 [our own: a trial]" in LISTINGS["recipes"]()
    assert make_config({"search": {"preset": "mine"}}, "test").search == Recipe(epochs=7)


def test_every_preset_says_where_it_comes_from() -> None:
    assert all(preset.source for preset in PRESETS.values())


# --- on the command line ---


@pytest.mark.parametrize("arguments", [["--search.preset", "cpu"], ["--search.preset=cpu"]])
def test_preset_of_the_search_on_the_command_line(
    tmp_path: Path, asked: Callable[..., SearchConfig], arguments: list[str]
) -> None:
    path = write(tmp_path)
    more = ["--search.epochs", "1", "--search.warmup_epochs=0"]
    config = asked("search", path, "--out", str(tmp_path / "run"), *arguments, *more)
    assert config.search == recipe("cpu", epochs=1, warmup_epochs=0)
    assert config.retrain == read_config(Path(path)).retrain
    assert config.space == read_config(Path(path)).space


def test_options_behind_a_preset_win_over_it_in_any_order(tmp_path: Path, asked: Callable[..., SearchConfig]) -> None:
    path = write(tmp_path)
    for order in permutations(["--search.epochs=7", "--search.learning_rate=0.01", "--search.schedule=linear"]):
        config = asked("search", path, "--out", "run", "--search.preset", "quick", *order)
        assert config.search == recipe("quick", epochs=7, learning_rate=0.01, schedule="linear")


def test_preset_with_lists_and_null_arrives_whole(tmp_path: Path, asked: Callable[..., SearchConfig]) -> None:
    for name in RECIPES:
        config = asked("search", write(tmp_path), "--out", "run", "--retrain.recipe.preset", name)
        assert config.retrain.recipe == RECIPES[name]
        assert config.search.epochs == 1


def test_two_presets_are_kept_apart(tmp_path: Path, asked: Callable[..., SearchConfig]) -> None:
    presets = ["--search.preset", "cpu", "--retrain.recipe.preset", "even-kernel-cifar"]
    config = asked("search", write(tmp_path), "--out", "run", *presets)
    assert (config.search, config.retrain.recipe) == (RECIPES["cpu"], RECIPES["even-kernel-cifar"])


def make_run(folder: Path, **more: Any) -> Path:
    """The folder of a finished search, without the searching."""
    config = make_config(tiny_values(**more), "test")
    run = open_run(folder, config.as_dict(), {"versions": {}}, overwrite=False)
    save_architecture(baseline("mobilenetv3-small", image_size=8, in_channels=1, width=0.25), run.winner)
    return folder


def test_preset_of_a_retraining_replaces_the_recipe_of_the_run(
    tmp_path: Path, asked: Callable[..., SearchConfig]
) -> None:
    run = make_run(tmp_path / "run", retrain={"recipe": {"mixup": 0.3, "cutout": 2}, "seeds": [5]})
    config = asked("retrain", str(run), "--recipe.preset", "quick", "--recipe.epochs", "3")
    assert config.retrain.recipe == recipe("quick", epochs=3)
    assert config.retrain.seeds == [5]
    assert asked("retrain", str(run), "--recipe.epochs=4").retrain.recipe.mixup == 0.3


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "CONFIG", "--out", "OUT", "--search.preset", "no"],
        ["search", "CONFIG", "--out", "OUT", "--search.preset=no"],
        ["search", "CONFIG", "--out", "OUT", "--retrain.recipe.preset", "no"],
        ["retrain", "RUN", "--recipe.preset", "no"],
    ],
)
def test_unknown_preset_on_the_command_line_is_answered_by_the_known_ones(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {"CONFIG": write(tmp_path), "OUT": str(tmp_path / "out"), "RUN": str(make_run(tmp_path / "run"))}
    assert main([paths.get(argument, argument) for argument in arguments]) == 2
    said = complaint(capsys)
    assert said.startswith(f"sepnas: recipe.preset: 'no' is unknown; {KNOWN}")
    assert "`sepnas list recipes` shows all" in said
    assert not (tmp_path / "out").exists()


# --- on disk, and run ---


def test_config_of_a_run_by_presets_names_every_field(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        search={"preset": "xsepconv-cifar", "epochs": 2, "warmup_epochs": 0},
        retrain={"recipe": {"preset": "even-kernel-cifar", "epochs": 1}, "seeds": [0]},
    )
    assert main(["search", path, "--out", str(tmp_path / "run"), "--search.batch_size", "32"]) == 0
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    wanted = recipe("xsepconv-cifar", epochs=2, warmup_epochs=0, batch_size=32)
    assert written["search"] == asdict(wanted)
    assert written["retrain"]["recipe"] == asdict(recipe("even-kernel-cifar", epochs=1))
    assert set(written["search"]) == {own.name for own in fields(Recipe)}
    # the same request goes on with it
    assert main(["search", path, "--out", str(tmp_path / "run"), "--search.batch_size", "32", "--resume"]) == 0
    assert main(["retrain", str(tmp_path / "run")]) == 0


# --- listed ---


def test_list_of_recipes_tells_what_each_paper_states(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "recipes"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert set(lines) == set(RECIPES)
    for name, words in {
        "xsepconv-cifar": [
            "400 epochs",
            "batch 128",
            "sgd",
            "rate 0.35",
            "cosine",
            "warm-up 5",
            "XSepConv section 4.1",
        ],
        "xsepconv-svhn": ["20 epochs", "rate 0.35"],
        "xsepconv-tiny-imagenet": ["200 epochs", "rate 0.15"],
        "bsconv-cifar": ["200 epochs", "rate 0.1", "step (x 0.1 at epochs 100, 150, 180)", "BSConv section 5.1"],
        "bsconv-imagenet": ["100 epochs", "step (x 0.1 at epochs 30, 60, 90)", "BSConv section 5.2"],
        "even-kernel-cifar": ["300 epochs", "batch 64", "rate 0.1", "cosine", "even-sized kernels section 4.5"],
        "xception-imagenet": ["rate 0.045", "exponential (x 0.94 every 2 epochs)", "Xception sections 4.2"],
        "quick": ["15 epochs", "our own"],
        "cpu": ["60 epochs", "our own"],
    }.items():
        for word in words:
            assert word in lines[name]
    assert "warm-up" not in lines["bsconv-cifar"]


def test_everything_listed_can_be_asked_for_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--help"]) == 0
    said = capsys.readouterr().out
    assert all(what in said for what in LISTINGS)
