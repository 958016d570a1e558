"""The examples of README run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from search_space import SearchSpace, build, cost, operators

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


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


def test_every_command_in_the_table_exists() -> None:
    from experiments.commands import COMMANDS

    assert set(re.findall(r"^\| `sepnas (\w+)", README, re.MULTILINE)) == set(COMMANDS)
