"""What is installed: the version, packages of the same name as ours, and packages that are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from experiments.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*command: str, cwd: Path = ROOT, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_the_version_is_that_of_the_distribution() -> None:
    assert run("-m", "experiments", "--version").stdout == f"sepnas {version('sepnas')}\n"
    assert version("sepnas") == PROJECT["version"]


def test_a_checkout_that_is_not_installed_has_its_version(tmp_path: Path) -> None:
    script = (
        "import importlib.metadata, sys\n"
        "def version(name): raise importlib.metadata.PackageNotFoundError(name)\n"
        "importlib.metadata.version = version\n"
        "from experiments.cli import main\n"
        "sys.exit(main(['--version']))"
    )
    assert run("-c", script).stdout == f"sepnas {PROJECT['version']}\n"


def test_the_module_is_the_command() -> None:
    assert run("-m", "experiments", "list", "datasets").stdout.startswith("digits")
    done = run("-m", "experiments", "serach")
    assert done.returncode == 2
    assert "did you mean search?" in done.stderr


@pytest.mark.parametrize("name", ["search_space", "strategies", "evaluators"])
def test_a_package_that_shadows_ours_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not ours')")
    done = run("-m", "experiments", "list", "datasets", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"sepnas: package {name}: {tmp_path / name / '__init__.py'} is found in place of")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["experiments", "search_space", "strategies", "evaluators"])
def test_the_console_script_names_a_package_in_its_way(tmp_path: Path, name: str) -> None:
    """As a wheel installs it: the guard under the name ``sepnas``, which no other package has."""
    assert PROJECT["scripts"]["sepnas"] == "sepnas:main"
    (tmp_path / "installed").mkdir()
    shutil.copy(ROOT / "experiments" / "guard.py", tmp_path / "installed" / "sepnas.py")
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not ours')")
    path = os.pathsep.join(map(str, (tmp_path, tmp_path / "installed", ROOT)))
    done = run("-c", "import sys, sepnas; sys.exit(sepnas.main())", cwd=tmp_path / "installed", path=path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"sepnas: package {name}: {tmp_path / name / '__init__.py'} is found in place of")
    assert done.stderr.count("\n") == 1


def test_a_plain_folder_of_the_same_name_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "search_space").mkdir()
    done = run("-m", "experiments", "list", "datasets", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "digits" in done.stdout


# --- packages that are not installed ---

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""
#: what `pip install sepnas` brings, beside what torch and NumPy need
CORE = {"torch", "numpy", "safetensors", "yaml", "lazy_loader"}
SEARCH = ["nni", "pytorch_lightning", "torchmetrics", "scipy", "sklearn", "pandas", "matplotlib", "PIL", "pymoo"]
OTHERS = [*SEARCH, "filelock", "rich", "shtab", "tqdm", "onnx", "onnxruntime", "onnxscript", "datasets"]


def without(blocked: list[str], code: str) -> subprocess.CompletedProcess[str]:
    return run("-W", "ignore", "-c", BLOCK.format(blocked=blocked) + code)


def test_an_exported_network_is_loaded_with_the_core_alone(tmp_path: Path) -> None:
    code = f"""
import torch
from search_space import baseline, build, cost, load_network, save_architecture, save_weights
from pathlib import Path
to = Path({str(tmp_path)!r})
architecture = baseline("mobilenetv3-small-xsep", width=0.25)
save_architecture(architecture, to / "architecture.json")
save_weights(build(architecture), to / "weights.safetensors")
print(load_network(to)(torch.zeros(1, 3, 32, 32)).shape, cost(architecture).macs)
"""
    # filelock comes with torch
    done = without([name for name in OTHERS if name != "filelock"], code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("torch.Size([1, 10])")
    named = {line.partition(">")[0].lower().replace("pyyaml", "yaml") for line in PROJECT["dependencies"]}
    assert named == CORE


@pytest.mark.parametrize(
    ("blocked", "arguments", "package", "extra"),
    [
        (OTHERS, ["list", "operators"], "rich", "search"),
        (OTHERS, ["search", "digits", "--out", "x"], None, "search"),
        (["shtab"], ["--print_completion", "bash"], "shtab", "search"),
        (["nni"], ["search", "digits", "--out", "x"], "nni", "search"),
        (["onnxruntime"], ["latency", "mobilenetv3-small", "--backend", "onnx-cpu"], "onnxruntime", "onnx"),
        (["datasets"], ["search", "digits", "--out", "x", "--data.name", "hf:mnist"], "datasets", "hub"),
    ],
)
def test_a_missing_package_is_answered_by_what_to_install(
    tmp_path: Path, blocked: list[str], arguments: list[str], package: str | None, extra: str
) -> None:
    code = (
        f"from experiments.cli import main; sys.exit(main({[str(tmp_path) if a == 'x' else a for a in arguments]!r}))"
    )
    done = without(blocked, code)
    assert done.returncode == 2, done
    assert done.stderr.startswith(f"sepnas: package {package or ''}")
    assert done.stderr.endswith(f"run: pip install 'sepnas[{extra}]'\n")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help_needs_the_core_alone() -> None:
    requests = [["--help"], *([name, "--help"] for name in COMMANDS)]
    done = without(OTHERS, f"from experiments.cli import main; sys.exit(any([main(a) for a in {requests!r}]))")
    assert (done.returncode, done.stderr) == (0, "")


def test_every_extra_is_named_and_python_versions_agree() -> None:
    assert set(PROJECT["optional-dependencies"]) == {"search", "onnx", "hub", "augment", "ray", "dev"}
    assert {"sepnas[search,onnx,hub]", "sepnas[augment]", "sepnas[ray]"} <= set(PROJECT["optional-dependencies"]["dev"])
    assert PROJECT["requires-python"] == ">=3.11,<3.13"
    assert "(3, 11) <= sys.version_info[:2] < (3, 13)" in (ROOT / "Makefile").read_text()
