"""Bundles: what is in one, that it runs where sepnas is not, and that nothing half-done is left."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers.commands import network
from helpers.runs import complaint, contents
from helpers.trainings import files, result
from huggingface_hub import ModelCard
from PIL import Image
from sklearn.datasets import load_digits

from experiments.bundle.check import Checker, Sample
from experiments.bundle.predict import predict
from experiments.cli import main
from search_space import build, cost, load_architecture, load_network

ALWAYS = {"architecture.json", "weights.safetensors", "preprocessing.json", "training.json", "model_card.md"}
FAST = ("--formats", "source")


@pytest.fixture(scope="module")
def bundle(compared: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that there can be."""
    to = tmp_path_factory.mktemp("for a friend") / "my network"
    options = ("--formats", "all", "--int8", "--fold_bn", "--latency", "--licence", "cc-by-4.0")
    assert main(["export", str(compared[0]), "--to", str(to), *options]) == 0
    return to


@pytest.fixture(scope="module")
def inputs(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and what the network says of them, as NumPy keeps them."""
    folder = tmp_path_factory.mktemp("inputs")
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        np.save(folder / "logits.npy", load_network(bundle)(images).numpy())
    np.save(folder / "images.npy", images.numpy())
    return folder


# --- what is in it ---


def test_a_bundle_has_every_form_and_what_must_be_known(bundle: Path, compared: tuple[Path, Path]) -> None:
    assert files(bundle) == ALWAYS | {"model.py", "model.pt2", "model.onnx", "model.int8.onnx"}
    home = compared[0] / "retrain" / "winner"
    assert load_architecture(bundle / "architecture.json") == load_architecture(compared[0] / "winner.json")
    # the first seed, not the best one
    assert (bundle / "weights.safetensors").read_bytes() == (home / "seed0" / "weights.safetensors").read_bytes()
    known, data = (json.loads(path.read_text()) for path in (bundle / "preprocessing.json", home / "seed0/data.json"))
    assert {name: known[name] for name in data} == data
    assert known["steps"][-1] == "float32, (batch, 1, 8, 8)"
    training, own = json.loads((bundle / "training.json").read_text()), result(home, 0)
    assert {name: training[name] for name in ("seed", "test_accuracy", "macs", "params")} == {
        name: own[name] for name in ("seed", "test_accuracy", "macs", "params")
    }
    assert training["recipe"] == json.loads((home / "about.json").read_text())["recipe"]
    assert training["test_accuracies"] == {str(seed): result(home, seed)["test_accuracy"] for seed in (0, 1)}
    assert "provenance" not in training, "a user's command line and folders are nobody else's business"


def test_nothing_in_it_names_folders_of_the_machine(bundle: Path, compared: tuple[Path, Path]) -> None:
    """Exporters leave traces of the files that they came through."""
    for name, content in contents(bundle).items():
        for folder in (Path(torch.__file__).parent, Path(__file__).parents[2], compared[0]):
            assert str(folder).encode() not in content, name


def test_the_card_is_one_of_the_hub(bundle: Path, compared: tuple[Path, Path]) -> None:
    text = (bundle / "model_card.md").read_text()
    card = ModelCard(text)
    assert (card.data.license, card.data.pipeline_tag) == ("cc-by-4.0", "image-classification")
    accuracies = [result(compared[0] / "retrain" / "winner", seed)["test_accuracy"] for seed in (0, 1)]
    (own, mean) = card.data.eval_results
    assert (own.dataset_name, own.dataset_split, own.metric_type) == ("digits", "test", "accuracy")
    assert own.metric_value == pytest.approx(accuracies[0], abs=1e-6)
    assert mean.metric_value == pytest.approx(np.mean(accuracies), abs=1e-6)
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["tags"] == ["image-classification", "neural-architecture-search", "sepnas"]


def test_the_card_tells_all_that_a_user_asks(bundle: Path, compared: tuple[Path, Path]) -> None:
    text = (bundle / "model_card.md").read_text()
    accuracies = [100 * result(compared[0] / "retrain" / "winner", seed)["test_accuracy"] for seed in (0, 1)]
    n_mean_std = f"| {np.mean(accuracies):.2f} | {np.std(accuracies, ddof=1):.2f} | 2 |"
    assert f"| 360 | {accuracies[0]:.2f} {n_mean_std}" in text
    costs = cost(load_architecture(bundle / "architecture.json"))
    assert f"| {costs.macs:,} | {2 * costs.macs:,} | {costs.params:,} |" in text
    for name, content in contents(bundle).items():
        assert f"| {name} | {len(content):,} |" in text or name == "model_card.md"
    assert "by seeds 0, 1; these weights are of seed 0, which was not chosen by its accuracy" in text
    assert "20% of all images for the test" in text
    assert "```yaml\n" in text
    assert "epochs: 2\n" in text
    assert re.search(r"ms \(quartiles .*\) per batch of 1 pytorch-cpu, 1 thread", text)
    assert re.search(r"ms \(quartiles .*\) per batch of 1 onnx-cpu, 1 thread", text)
    assert "Each form was run on 16 validation images" in text
    for form in ("model.py", "model.py, batch norms folded", "model.py, feature maps", "model.pt2", "model.onnx"):
        (difference,) = re.findall(rf"^\| {re.escape(form)} \| (\S+) \|$", text.split("## Forms")[1], re.MULTILINE)
        assert 0 <= float(difference) <= 1e-4
    assert "Of the weights: cc-by-4.0." in text


def test_eight_bits_are_calibrated_on_training_images_and_their_cost_is_told(bundle: Path) -> None:
    text = (bundle / "model_card.md").read_text()
    pattern = (
        r"calibrated on 64 training images\. On 360 test images it is right in (\S+)%, model\.onnx in (\S+)%: a drop of"
        r" (\S+) points"
    )
    int8, fp32, drop = map(float, re.findall(pattern, text)[0])
    training = json.loads((bundle / "training.json").read_text())
    assert fp32 == pytest.approx(100 * training["test_accuracy"], abs=0.006)
    assert drop == pytest.approx(fp32 - int8, abs=0.02)
    assert (bundle / "model.int8.onnx").stat().st_size < (bundle / "model.onnx").stat().st_size


def test_a_network_in_eight_bits_classifies_pictures(bundle: Path, tmp_path: Path) -> None:
    paths = []
    for number, pixels in enumerate(load_digits().images[:20]):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray((pixels * 15.9).astype(np.uint8)).save(paths[-1])
    best = {runtime: predict(bundle, paths, runtime=runtime) for runtime in ("torch", "onnx", "int8")}
    assert [one.classes for one in best["onnx"]] == [one.classes for one in best["torch"]]
    pairs = list(zip(best["int8"], best["torch"], strict=True))
    assert [one.probabilities for one, _ in pairs] != [other.probabilities for _, other in pairs]
    for one, other in pairs:
        assert one.probabilities == pytest.approx(other.probabilities, abs=0.1)


def test_programs_have_no_batch_norms_when_they_are_folded(bundle: Path) -> None:
    import onnx

    model = onnx.load(bundle / "model.onnx")
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert model.opset_import[0].version == 25
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == ["batch", 1, 8, 8]
    program = torch.export.load(bundle / "model.pt2")
    assert not [name for name in program.state_dict if "running_mean" in name]


# --- that it runs elsewhere ---

BLOCK = """
import importlib.machinery
import sys
import numpy
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            return importlib.machinery.ModuleSpec(name, self)  # torch looks what there is without importing it
    def create_module(self, spec):
        raise ModuleNotFoundError(f"{{spec.name}} is blocked", name=spec.name)
    def exec_module(self, module):
        pass
sys.meta_path.insert(0, Block())
images, wanted = (numpy.load(f"{inputs}/{{name}}.npy") for name in ("images", "logits"))
"""
SEPNAS = ["search_space", "strategies", "evaluators", "experiments", "sepnas"]
#: what `sepnas` needs beside torch, NumPy (which the test itself needs) and safetensors
OTHERS = ["nni", "pytorch_lightning", "lightning_fabric", "torchmetrics", "scipy", "sklearn", "pandas", "PIL", "yaml"]


@pytest.mark.parametrize(
    ("blocked", "code"),
    [
        pytest.param(
            [*SEPNAS, *OTHERS, "lazy_loader", "onnx", "onnxruntime"],
            """
import torch
from model import load
logits = load()(torch.from_numpy(images)).detach().numpy()
assert [tuple(m.shape[1:]) for m in load(features_only=True)(torch.zeros(1, 1, 16, 16))][0][1:] == (16, 16)
""",
            id="source",
        ),
        pytest.param(
            [*SEPNAS, *OTHERS, "lazy_loader", "onnx", "onnxruntime", "safetensors", "model"],
            """
import torch
logits = torch.export.load("model.pt2").module()(torch.from_numpy(images)).detach().numpy()
""",
            id="pt2",
        ),
        pytest.param(
            [*SEPNAS, *OTHERS, "torch", "safetensors", "onnx", "model"],
            """
import onnxruntime
logits = onnxruntime.InferenceSession("model.onnx").run(None, {"images": images})[0]
""",
            id="onnx",
        ),
    ],
)
def test_every_form_runs_without_sepnas(bundle: Path, inputs: Path, blocked: list[str], code: str) -> None:
    last = "assert abs(logits - wanted).max() < 1e-4, abs(logits - wanted).max()"
    script = BLOCK.format(blocked=set(blocked), inputs=inputs) + code + last
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-B", "-c", script], cwd=bundle, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# --- that nothing half-done is left ---


def test_a_form_that_computes_something_else_fails_and_leaves_nothing(
    compared: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import experiments.bundle.export as export_module

    real = export_module.source
    # close, but not the same
    monkeypatch.setattr(export_module, "source", lambda network: real(network).replace("nn.Hardswish", "nn.SiLU"))
    assert main(["export", str(compared[0]), "--to", str(tmp_path / "to"), *FAST]) == 1
    told = complaint(capsys)
    assert "failed: RuntimeError: model.py differs from the trained network by up to" in told
    assert "nothing was written" in told
    assert list(tmp_path.iterdir()) == []


def test_rounding_is_told_from_mistakes() -> None:
    architecture = network()
    trained = build(architecture).eval()
    torch.nn.init.normal_(trained.head.classifier.weight, std=1e6)
    checker = Checker(trained, Sample(torch.randn(4, 1, 8, 8), "test"))
    large = float(checker.expected.abs().max())
    assert large > 1
    assert checker.compare("one", lambda x: trained(x) + 0.9e-4 * large).difference > 1e-4
    for wrong in (1.1e-4 * large, float("nan")):
        with pytest.raises(RuntimeError, match="other differs from the trained network by up to"):
            checker.compare("other", lambda x, wrong=wrong: trained(x) + wrong)
    small = Checker(build(architecture).eval(), checker.sample)
    with pytest.raises(RuntimeError, match="differs"):  # by less than 1e-4, but altogether
        small.compare("other", lambda x: torch.zeros(len(x), 10))
    with pytest.raises(RuntimeError, match="differs"):  # a batch of another size
        checker.compare("other", lambda x: trained(x) + (large if len(x) == 1 else 0))


def test_the_seed_of_an_export_is_chosen_by_number(
    compared: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, _ = compared
    assert main(["export", str(one), "--to", str(tmp_path / "b"), "--seed", "1", *FAST]) == 0
    chosen = one / "retrain" / "winner" / "seed1" / "weights.safetensors"
    assert (tmp_path / "b" / "weights.safetensors").read_bytes() == chosen.read_bytes()
    capsys.readouterr()
    assert main(["export", str(one), "--to", str(tmp_path / "c"), "--seed", "7"]) == 2
    assert complaint(capsys) == "sepnas: seed: 7 was not trained; trained are 0, 1"
    assert not (tmp_path / "c").exists()


def test_an_export_never_touches_files_that_are_not_its_own(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "to"
    to.mkdir()
    for name in ("notes.txt", "model.onnx"):
        (to / name).write_text("mine")
    capsys.readouterr()
    # a bundle is exported again in other forms
    assert main(["export", str(bundle), "--to", str(to), *FAST]) == 2
    assert "to already holds model.onnx; give another folder, or --overwrite" in complaint(capsys)
    assert files(to) == {"notes.txt", "model.onnx"}
    assert main(["export", str(bundle), "--to", str(to), *FAST, "--overwrite"]) == 0
    assert (to / "notes.txt").read_text() == "mine"
    assert files(to) == {"notes.txt", "model.py", *ALWAYS}, "an older form is not that of these weights"
    for name in ALWAYS - {"model_card.md"}:
        assert (to / name).read_bytes() == (bundle / name).read_bytes()
    (tmp_path / "file").touch()
    capsys.readouterr()
    assert main(["export", str(bundle), "--to", str(tmp_path / "file"), *FAST]) == 2
    assert "file is a file; give a folder" in complaint(capsys)
