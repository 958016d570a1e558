"""The examples of README run as they stand there."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers.spaces import small_images, small_network
from PIL import Image

from evaluators.training.presets import recipe
from experiments.cli import main
from experiments.commands import COMMANDS
from experiments.commands.listing import LISTINGS
from experiments.options.config import SearchConfig
from experiments.options.files import make_config
from experiments.runs.task import SearchTask
from search_space import SearchSpace, baseline, build, cost, macro, macro_from_dict, operators
from search_space.options import DEFAULT_WIDTHS
from strategies.registry import STRATEGIES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: those of the packages, by package
PACKAGE_READMES = {path.parent.name: path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("*/README.md"))}
EVERYTHING = "\n".join([README, *PACKAGE_READMES.values()])
BLOCKS = list(dict.fromkeys(re.findall(r"```python\n(.*?)```", EVERYTHING, re.DOTALL)))


def block(containing: str) -> str:
    (found,) = [text for text in BLOCKS if containing in text]
    return found


def replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"README no longer says {old}"
        text = text.replace(old, new)
    return text


def test_the_first_steps() -> None:
    names: dict[str, Any] = {}
    exec(block("in closed form"), names)
    architecture = names["architecture"]
    assert "Cost(macs=16707072, params=1506314)" in block("in closed form")
    assert str(names["cost"](architecture)) == "Cost(macs=16707072, params=1506314)"
    assert isinstance(names["network"], torch.nn.Module)


def test_an_operator_is_added_by_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "_operators", dict(operators._operators))  # forgotten after the test
    exec(block("class Dilated"), {"__name__": __name__})
    space = SearchSpace.create(operators=["dw_k3", "dilated_k5", "skip"])
    assert all("dilated_k5" in names for names in space.candidates)
    sample = dict.fromkeys(space.labels, "dilated_k5")
    architecture = space.architecture(sample)
    network = build(architecture)
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert cost(architecture).params == sum(p.numel() for p in network.parameters())


def test_a_search_through_nni(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("dark", "light"):
        (tmp_path / label).mkdir()
        for index in range(16):
            grey = (40 if label == "dark" else 200) + index
            Image.new("L", (16, 16), grey).save(tmp_path / label / f"{index}.png")
    code = replaced(
        block("supernet_evaluator(data"),
        {
            '"path/to/images"': repr(str(tmp_path)),
            "image_size=32": "image_size=16",
            "epochs=20": "epochs=2",
            "epochs=60": "epochs=2",
            'max_macs="16.7M", max_params="1.5M"': 'max_macs="3M", max_params="1.5M"',
        },
    )
    names: dict[str, Any] = {}
    exec(code, names)
    assert cost(names["architecture"]).macs <= 3_000_000
    assert 0 <= float(capsys.readouterr().out.splitlines()[-1]) <= 1


def test_a_training_by_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = replaced(block("TrainingRun(seed=1"), {"epochs=60": "epochs=2"})
    names: dict[str, Any] = {"architecture": small_network(), "data": small_images(16), "Path": Path}
    exec(code.replace("Recipe(", "Recipe(batch_size=8, learning_rate=0.05, "), names)
    assert 0 <= names["trained"].accuracy <= 1
    # both lines say the same training
    assert (tmp_path / "out" / "last.ckpt").is_file()


def test_a_budget_and_strategies_of_it() -> None:
    names: dict[str, Any] = {}
    exec(block("feasible.best("), names)  # which asserts what it says
    exec(block("TpeOptions("), names)


#: a part of each example in Python, which the tests above execute, or one of `test_strategy_registry.py`
EXECUTED = (
    *("in closed form", "class Dilated", "supernet_evaluator(data", "TrainingRun(seed=1", "SpaceOptions(operators="),
    *("feasible.best(", "TpeOptions(", "class LocalOptions"),
)


def test_every_example_is_executed() -> None:
    assert sorted(block(part) for part in EXECUTED) == sorted(BLOCKS)


def test_every_command_in_the_table_exists() -> None:
    rows = re.findall(r"^\| (`sepnas .*?) \|", PACKAGE_READMES["experiments"], re.MULTILINE)
    assert {command for row in rows for command in re.findall(r"`sepnas (\w+)", row)} == set(COMMANDS)


def test_every_option_that_is_shown_exists(capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.findall(r"(?:^|`)sepnas ([a-z]+)([^`\n#|]*)", EVERYTHING, re.MULTILINE)
    assert len(shown) > 15
    for command, arguments in shown:
        if options := re.findall(r"--[\w.]+", arguments):
            assert main([command, "--help"]) == 0
            known = re.findall(r"--[\w.]+", capsys.readouterr().out)
            assert set(options) <= {*known, "--help"}, command


def test_everything_that_can_be_listed_is_named() -> None:
    (row,) = re.findall(r"^\| `sepnas list (\w+)` \((.*?)\)", PACKAGE_READMES["experiments"], re.MULTILINE)
    assert [row[0], *re.findall(r"`(\w+)`", row[1])] == list(LISTINGS)


def test_strategies_are_all_named_by_their_kind() -> None:
    text = PACKAGE_READMES["strategies"]
    one_shot, multi_trial = (
        re.findall(r"`([\w-]+)`", re.findall(rf"\*\*{kind}\*\* .*?:(.*?)\. Each", text, re.DOTALL)[0])
        for kind in ("One-shot", "Multi-trial")
    )
    assert set(one_shot) == {name for name, strategy in STRATEGIES.items() if strategy.kind == "one-shot"}
    assert set(multi_trial) == {name for name, strategy in STRATEGIES.items() if strategy.kind == "multi-trial"}
    assert f"`{SearchConfig().strategy.name}`, the default," in README


def test_the_space_in_yaml_is_one() -> None:
    (text,) = re.findall(r"```yaml\n(space:.*?)```", EVERYTHING, re.DOTALL)
    config = make_config(yaml.safe_load(text), "README.md")
    everywhere = SearchTask(replace(config, space=replace(config.space, stages={}))).space
    space = SearchTask(config).space
    changed = {names for names, before in zip(space.candidates, everywhere.candidates, strict=True) if names != before}
    assert changed
    for names in changed:  # "dw_k3-e720" is dw_k3 at 720 expanded channels
        assert {name.partition("-")[0] for name in names} <= {"dw_k3", "xsep_k3", "skip"}
    assert f"by default {', '.join(map(str, DEFAULT_WIDTHS[:-1]))} and {DEFAULT_WIDTHS[-1]}" in EVERYTHING


def test_the_recipe_in_yaml_and_the_options_for_it_are_the_same() -> None:
    (text,) = re.findall(r"`recipe: (\{.*?\})`", EVERYTHING)
    (options,) = re.findall(r"\(or `(--retrain[^`]*)`\)", EVERYTHING)
    config = make_config({"retrain": {"recipe": yaml.safe_load(text)}}, "README.md")
    assert config.retrain.recipe == recipe("xsepconv-cifar", epochs=60)
    words = options.split()
    assert dict(zip(words[::2], words[1::2], strict=True)) == {
        "--retrain.recipe.preset": "xsepconv-cifar",
        "--retrain.recipe.epochs": "60",
    }


def test_the_table_of_costs_is_what_is_computed() -> None:
    pattern = r"^\| `([\w-]+)` \| (\d+)x\d+, (\d+) \| ([\d.]+) M[^|]*\| ([\d.,]+)( M)? \|"
    rows = set(re.findall(pattern, EVERYTHING, re.MULTILINE))
    assert len(rows) > 8
    for name, size, classes, macs, params, million in rows:
        own = cost(baseline(name, image_size=int(size), classes=int(classes)))
        assert f"{own.macs / 1e6:.2f}" == macs, name
        # truncated, as the papers print them
        told = f"{own.params // 10_000 / 100:.2f}" if million else f"{own.params:,}"
        assert told == params, name


def test_the_example_of_the_space_runs() -> None:
    names: dict[str, Any] = {}
    exec(block("SpaceOptions(operators="), names)
    assert names["network"].architecture == names["architecture"]


def test_the_macro_in_yaml_is_one() -> None:
    (text,) = re.findall(r"```yaml\n(name: .*?)```", PACKAGE_READMES["search_space"], re.DOTALL)
    definition = macro_from_dict(yaml.safe_load(text))
    assert build(macro(definition, image_size=32))(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_the_readme_is_short_and_leads_on() -> None:
    assert len(README.splitlines()) <= 150
    for link in re.findall(r"\]\(([^)#]+)\)", EVERYTHING):
        if "://" not in link:
            places = [ROOT, *(ROOT / package for package in PACKAGE_READMES)]
            assert any((place / link).exists() for place in places), link


@pytest.mark.parametrize("package", PACKAGE_READMES)
def test_the_readmes_of_packages_are_short(package: str) -> None:
    assert len(PACKAGE_READMES[package].splitlines()) <= 120
