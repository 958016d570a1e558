"""Run by an environment that holds only sepnas's wheel (dependencies come by PYTHONPATH): is it whole?"""

import subprocess
import sys
from importlib import resources
from importlib.metadata import version
from pathlib import Path

import evaluators
import experiments.options.files
import search_space
import strategies

for package in (search_space, strategies, evaluators, experiments):
    location = Path(package.__file__ or "").resolve()
    assert Path(sys.prefix).resolve() in location.parents, f"{package.__name__} comes from {location}"
    for name in ("py.typed",) if package is experiments else ("py.typed", "__init__.pyi"):
        assert (location.parent / name).is_file(), f"the wheel lacks {package.__name__}/{name}"
assert experiments.options.files.bundled_names(), "the bundled configs are missing"
templates = resources.files("experiments.report").joinpath("templates")
assert {"page.html", "page.js", "style.css"} <= {file.name for file in templates.iterdir()}, "the page's are missing"

network = search_space.build(search_space.baseline("mobilenetv3-small-xsep"))
cost = search_space.cost(network.architecture)
assert (cost.macs, cost.params) == (16_707_072, 1_506_314), cost
from search_space.space import SepConvSpace  # noqa: E402 -- NNI is imported last, when the rest is known to work

space = search_space.SearchSpace.create(operators=["dw_k3", "skip"], widths=[1.0])
assert SepConvSpace(space).cost_table.size == 2**7


def output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done
    return done.stdout


sepnas = str(Path(sys.prefix) / "bin" / "sepnas")
assert '"macs": 17507328' in output(sepnas, "cost", "mobilenetv3-small", "--json")
assert output(sepnas, "--version") == f"sepnas {version('sepnas')}\n"
assert output(sys.executable, "-m", "experiments", "--help") == output(sepnas, "--help")
print(f"wheel: imported from {Path(sys.prefix)}, command works")
