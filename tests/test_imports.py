"""Who may import whom, by the import statements of every file; and what `import search_space` loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
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


#: The folders of each package, in the order in which they build on each other: imports go from later to earlier ones.
LAYERS = {
    "search_space": ("base", "layered", "ops", "families", "conversion"),
    "strategies": ("budget", "one_shot", "multi_trial"),
    "evaluators": ("base", "sources", "augment", "data", "training", "cluster", "measuring", "latency"),
    "experiments": (
        "options",
        "runs",
        "tracking",
        "search",
        "training",
        "report",
        "bundle",
        "comparison",
        "attribution",
        "reproduce",
        "generation",
        "rank",
        "analyses",
        "commands",
    ),
}


@cache
def module_graph() -> dict[str, set[str]]:
    """{module: the modules of ours that it imports anywhere, also inside functions and for types alone}.

    A public name taken from a package counts as an import of the module that its stub names.
    """
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in OURS
        for path in (ROOT / package).rglob("*.py")
    }
    homes = {name: name for name in paths}
    for package in OURS:
        stub = ROOT / package / "__init__.pyi"
        for node in ast.walk(ast.parse(stub.read_text(encoding="utf-8") if stub.exists() else "")):
            if isinstance(node, ast.ImportFrom):
                homes.update({f"{package}.{alias.name}": f"{package}.{node.module}" for alias in node.names})
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        wanted = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted.update(homes.get(alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                wanted.update(homes.get(f"{node.module}.{alias.name}", homes.get(node.module)) for alias in node.names)
        graph[module] = {name for name in wanted if name is not None and name != module}
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Some circle in ``graph``, or nothing."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        found = next((way for other in sorted(graph[node]) if (way := visit(other, [*path, node]))), [])
        done.add(node)
        return found

    return next((way for node in sorted(graph) if (way := visit(node, []))), [])


def room(module: str) -> str:
    """The folder that ``module`` lies in; a module directly in a package is a room of its own."""
    path = ROOT.joinpath(*module.split("."))
    folder = path if path.is_dir() else path.parent
    parts = folder.relative_to(ROOT).parts
    return ".".join(parts) if len(parts) > 1 or path.is_dir() else module


def test_circles_are_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"d", "b"}, "d": set()}) == ["b", "c", "b"]


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = module_graph()
    assert "search_space.architecture" in graph["search_space.notation"]
    assert not circle(graph)


def test_no_folders_import_each_other_in_a_circle() -> None:
    rooms: dict[str, set[str]] = {}
    for module, wanted in module_graph().items():
        rooms.setdefault(room(module), set()).update({room(name) for name in wanted} - {room(module)})
    assert "evaluators.sources" in rooms["evaluators.data"]
    assert not circle(rooms)


@pytest.mark.parametrize("package", sorted(OURS))
def test_folders_build_on_each_other_in_the_declared_order(package: str) -> None:
    order = [f"{package}.{folder}" for folder in LAYERS[package]]
    folders = {path.parent for path in (ROOT / package).glob("*/__init__.py")}
    assert {path.name for path in folders} == set(LAYERS[package]), "declare the folder above"
    wrong = [
        f"{module} -> {name}"
        for module, wanted in module_graph().items()
        for name in wanted
        if room(module) in order and room(name) in order and order.index(room(name)) > order.index(room(module))
    ]
    assert not wrong


def test_strategies_of_one_kind_know_none_of_the_other() -> None:
    for module, wanted in module_graph().items():
        if room(module) == "strategies.one_shot":
            assert "strategies.multi_trial" not in map(room, wanted), module
        if room(module) == "strategies.multi_trial":
            assert "strategies.one_shot" not in map(room, wanted), module


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
    "strategies.options",
    "strategies.registry",
    "evaluators",
    "evaluators.augment.options",
    "evaluators.data.options",
    "evaluators.sources.find",
    "evaluators.training.presets",
    "evaluators.training.recipes",
    "evaluators.training.run",
    "experiments.cli",
    "experiments.commands",
    "experiments.options.config",
    "experiments.options.files",
    "experiments.commands.listing",
)


def test_configs_names_and_options_are_read_without_anything_heavy() -> None:
    loaded = {top(name) for name in loaded_after(f"import {', '.join(LIGHT)}")}
    assert {"strategies", "evaluators", "experiments"} <= loaded
    heavy = {"torch", "nni", "pytorch_lightning", "pymoo", "onnx", "onnxruntime", "scipy", "sklearn", "pandas", "PIL"}
    assert not heavy & loaded


def test_only_the_listing_of_objectives_imports_pymoo() -> None:
    users = {
        str(path) for package in OURS for path, names in modules(package).items() if "pymoo" in set(map(top, names))
    }
    assert users == {"strategies/multi_trial/pareto.py"}


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
