"""Who may import whom, by the import statements of every file; and what `import search_space` loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import evaluators
import search_space
import strategies

ROOT = Path(__file__).resolve().parent.parent
OURS = {"search_space", "strategies", "evaluators", "experiments"}
ALLOWED = {
    "search_space": {"search_space"},
    "strategies": {"strategies", "search_space"},
    "evaluators": {"evaluators", "search_space"},
    "experiments": OURS,
}


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of the modules that import statements anywhere in ``tree`` name; relative ones begin with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def modules(package: str) -> dict[Path, set[str]]:
    return {
        path.relative_to(ROOT): set(imported(ast.parse(path.read_text(encoding="utf-8"))))
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def top(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("package", sorted(OURS))
def test_packages_import_only_what_they_may(package: str) -> None:
    files = modules(package)
    assert files
    wrong = {
        f"{path}: {name}" for path, names in files.items() for name in names if top(name) in OURS - ALLOWED[package]
    }
    assert not wrong


@pytest.mark.parametrize("package", sorted(OURS))
def test_imports_are_absolute(package: str) -> None:
    wrong = {f"{path}: {name}" for path, names in modules(package).items() for name in names if name.startswith(".")}
    assert not wrong


def test_only_the_space_module_of_the_search_space_imports_nni() -> None:
    users = {path.name for path, names in modules("search_space").items() if "nni" in map(top, names)}
    assert users == {"space.py"}


def test_no_module_of_the_search_space_imports_its_nni_form() -> None:
    users = {str(path) for path, names in modules("search_space").items() if "search_space.space" in names}
    assert not users


def test_nothing_of_ours_imports_the_tests() -> None:
    for package in OURS:
        for path, names in modules(package).items():
            assert "tests" not in map(top, names), path
            assert not [name for name in names if top(name).startswith("test_")], path


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_building_and_costing_a_network_leaves_nni_unloaded() -> None:
    loaded = loaded_after(
        "import torch\n"
        "from search_space import SearchSpace, baseline, build, cost, to_json, to_text\n"
        "architecture = baseline('mobilenetv3-small-xsep', width=0.25)\n"
        "cost(architecture), to_text(architecture), to_json(architecture), SearchSpace.create().size\n"
        "build(architecture)(torch.zeros(2, 3, 32, 32))"
    )
    assert "search_space.network" in loaded
    assert not {name for name in loaded if top(name) in {"nni", "pytorch_lightning", "strategies", "evaluators"}}


def test_importing_the_package_alone_waits_for_nothing() -> None:
    loaded = loaded_after("import search_space; from search_space import InvalidRequest")
    assert not {"nni", "torch", "numpy"} & loaded


#: what reads configs, names and options, and so must not wait for torch
LIGHT = (
    "search_space.options",
    "search_space.base.errors",
    "strategies",
    "strategies.budget.budget",
    "strategies.names",
    "strategies.options",
    "evaluators",
    "evaluators.augment.options",
    "evaluators.data.options",
    "evaluators.sources.names",
    "evaluators.training.presets",
    "evaluators.training.recipes",
    "evaluators.training.run",
    "experiments.bench.names",
    "experiments.cli",
    "experiments.commands",
    "experiments.options.config",
    "experiments.options.files",
    "experiments.listing",
)


def test_configs_names_and_options_are_read_without_anything_heavy() -> None:
    loaded = {top(name) for name in loaded_after(f"import {', '.join(LIGHT)}")}
    assert {"strategies", "evaluators", "experiments"} <= loaded
    heavy = {"torch", "nni", "pytorch_lightning", "pymoo", "onnx", "onnxruntime", "scipy", "sklearn", "pandas", "PIL"}
    assert not heavy & loaded


def test_only_the_strategy_and_the_listing_of_objectives_import_pymoo() -> None:
    users = {
        str(path) for package in OURS for path, names in modules(package).items() if "pymoo" in set(map(top, names))
    }
    assert users == {"strategies/multi_trial/nsga2.py", "strategies/multi_trial/pareto.py"}


LAZY = (search_space, strategies, evaluators)


@pytest.mark.parametrize("package", LAZY, ids=lambda package: package.__name__)
def test_public_names_can_be_listed_and_imported(package: ModuleType) -> None:
    assert package.__all__
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None, name


def test_no_module_shadows_a_public_name() -> None:
    files = {path.stem for path in (ROOT / "search_space").iterdir()}
    assert not files & set(search_space.__all__)


def test_operators_are_registered_by_asking_for_them_alone() -> None:
    script = "from search_space import operators; assert 'xsep_k3' in operators and 'dw_k3' in operators"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        search_space.nothing  # noqa: B018
