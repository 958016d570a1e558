"""``model_card.md`` in the form of the Hugging Face hub: what the network is, how good, how large, and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from evaluators.measuring.statistics import summarise
from experiments.bundle.check import TOLERANCE, Agreement
from experiments.bundle.files import FORMAT_FILES, INT8_FILE
from experiments.bundle.subject import Subject
from experiments.latency import latency_text
from experiments.runs.provenance import package_version
from search_space.base.checks import printable
from search_space.layered_network import network_name
from search_space.network_cost import cost

if TYPE_CHECKING:  # it needs ONNX Runtime
    from experiments.bundle.int8 import Int8Report

#: classes that are named
_NAMED = 50


@dataclass(frozen=True)
class Card:
    """What the card of a bundle says.

    Attributes:
        subject: the network.
        agreements: how far each form is from it.
        compared_on: which inputs that was seen on.
        int8: what 8-bit integers cost; None if there is no such form.
        times: what `experiments.latency.network_latency` measured; empty if nothing was.
        licence: of the weights.
        folded: whether the programs have no batch norms.
    """

    subject: Subject
    agreements: tuple[Agreement, ...]
    compared_on: str
    int8: Int8Report | None
    times: list[dict[str, Any]]
    licence: str
    folded: bool

    def text(self, sizes: Mapping[str, int]) -> str:
        """The card in Markdown; ``sizes`` has the bytes of the bundle's other files."""
        head = yaml.safe_dump(self._front_matter(), sort_keys=False, allow_unicode=True)
        sections = {
            "Use": self._use(sizes),
            "Training": self._training(),
            "Accuracy": self._accuracy(),
            "Cost": self._cost(sizes),
            "Forms": self._forms(),
            "Preprocessing": self._preprocessing(),
            "Licence": self._licence(),
            "Limits": self._limits(),
        }
        body = "\n".join(f"## {title}\n\n{text.rstrip()}\n" for title, text in sections.items())
        return f"---\n{head}---\n\n# {self._title}\n\n{self._summary()}\n\n{body}"

    @property
    def _title(self) -> str:
        macro, data = network_name(self.subject.architecture), printable(self.subject.preprocessing.name)
        return macro if data == macro else f"{macro} for {data}"  # untrained ones have no data

    def _front_matter(self) -> dict[str, Any]:
        known, training = self.subject.preprocessing, self.subject.training
        values: dict[str, Any] = {
            "license": self.licence,
            "library_name": "pytorch",
            "pipeline_tag": "image-classification",
            "tags": ["image-classification", "neural-architecture-search", "sepnas"],
        }
        if known.name.startswith("hf:"):
            values["datasets"] = [known.name.removeprefix("hf:")]
        if training is None:
            return values
        dataset = {"name": known.name, "type": known.name.removeprefix("hf:"), "split": "test"}
        mean = summarise(list(training["test_accuracies"].values()), least=0, most=1).mean
        metrics = [
            {"type": "accuracy", "value": round(training["test_accuracy"], 6), "name": "these weights"},
            {"type": "accuracy", "value": round(mean, 6), "name": f"mean of {len(training['test_accuracies'])} seeds"},
        ]
        task = {"type": "image-classification", "name": "Image classification"}
        results = [{"task": task, "dataset": dataset, "metrics": metrics}]
        return values | {"metrics": ["accuracy"], "model-index": [{"name": self._title, "results": results}]}

    def _summary(self) -> str:
        a = self.subject.architecture
        names = [printable(name) for name in self.subject.preprocessing.classes]
        more = f", and {len(names) - _NAMED} more (preprocessing.json)" if len(names) > _NAMED else ""
        warning = "**Not trained: its weights are the initial ones.** " if self.subject.untrained else ""
        return (
            f"{warning}Classifies images into {a.classes} classes ({', '.join(names[:_NAMED])}{more}), from"
            f" {a.in_channels}x{a.image_size}x{a.image_size} pixels. Written by"
            f" sepnas {package_version('sepnas') or ''}.\n\n```text\n{a}\n```"
        )

    def _use(self, sizes: Mapping[str, int]) -> str:
        lines = ["`sepnas predict FOLDER IMAGE...` classifies images. Without sepnas:", "", "```python"]
        if FORMAT_FILES["source"] in sizes:
            lines += [
                "from model import load  # torch and safetensors",
                "",
                "logits = load()(images)  # images as under Preprocessing",
                "maps = load(features_only=True)(images)  # a backbone: a map for each stride, the finest first",
                "",
            ]
        if FORMAT_FILES["pt2"] in sizes:
            lines += [
                "import torch  # alone",
                "",
                'logits = torch.export.load("model.pt2").module()(images)',
                "",
            ]
        if FORMAT_FILES["onnx"] in sizes:
            lines += [
                "import onnxruntime  # and numpy",
                "",
                'logits = onnxruntime.InferenceSession("model.onnx").run(None, {"images": images})[0]',
                "",
            ]
        return "\n".join([*lines[:-1], "```"])

    def _training(self) -> str:
        training, data = self.subject.training, self.subject.data
        if self.subject.untrained:
            return "None."
        if training is None or data is None:
            return "Not known: the weights came without a record of it."
        shares = f"{data.test:.0%} of all images for the test, then {data.validation:.0%} of the others for validation"
        limit = "" if data.max_train_images is None else f" At most {data.max_train_images} images but for the test."
        seeds = ", ".join(training["test_accuracies"])
        recipe = yaml.safe_dump(training["recipe"], sort_keys=False)
        begin = training.get("starts_from")
        started = (
            "" if begin is None else f"- It started from the weights of another training, whose hash is {begin}.\n"
        )
        return (
            f"- Task: image classification.\n"
            f"- Data: {printable(self.subject.preprocessing.name)}, {data.image_size} pixels.{limit}\n"
            f"- Split: that of the data set where it brings one, else stratified by seed {self.subject.split_seed}:"
            f" {shares}.\n"
            f"- Trained on {training['train_on']}, by seeds {seeds}; these weights are of seed"
            f" {training['seed']}, which was not chosen by its accuracy.\n"
            f"{started}"
            f"- Time: {training['seconds']:.0f} s ({training['device']}).\n"
            f"- Recipe:\n\n```yaml\n{recipe}```"
        )

    def _accuracy(self) -> str:
        training = self.subject.training
        if training is None:
            return "Not known."
        summary = summarise(list(training["test_accuracies"].values()), least=0, most=1)
        lines = [
            "| test images | these weights | mean over seeds | standard deviation | n | 95% confidence |",
            "|---:|---:|---:|---:|---:|---:|",
        ]
        std = "" if summary.std is None else f"{100 * summary.std:.2f}"
        interval = "" if summary.interval is None else " to ".join(f"{100 * end:.2f}" for end in summary.interval)
        own, mean = (f"{100 * share:.2f}" for share in (training["test_accuracy"], summary.mean))
        row = f"| {training['test_images']:,} | {own} | {mean} | {std} | {summary.n} | {interval} |"
        return "\n".join([*lines, row, "", "Top-1 accuracy in %; the standard deviation is that of a sample."])

    def _cost(self, sizes: Mapping[str, int]) -> str:
        costs = cost(self.subject.architecture)
        lines = [
            "| multiply-accumulates | as operations (2x) | parameters |",
            "|---:|---:|---:|",
            f"| {costs.macs:,} | {2 * costs.macs:,} | {costs.params:,} |",
            "",
            "Of one image; of convolutions and linear layers alone.",
            "",
            "| file | bytes |",
            "|---|---:|",
            *(f"| {name} | {size:,} |" for name, size in sizes.items()),
            "",
        ]
        if not self.times:
            return "\n".join([*lines, "Latency: not measured (`sepnas export --latency` does)."])
        return "\n".join([*lines, "Latency:", "", *(f"- {' '.join(latency_text(one).split())}" for one in self.times)])

    def _forms(self) -> str:
        lines = [
            f"Each form was run on {self.compared_on} and compared with the trained network in PyTorch. More than"
            f" {TOLERANCE:g} (of the largest output, where that is above 1) would have been refused.",
            "",
            "| form | largest difference of an output |",
            "|---|---:|",
            *(f"| {one.form} | {one.difference:.2g} |" for one in self.agreements),
        ]
        if self.folded:
            lines += ["", "Batch norms are merged into the convolutions of the programs (`.pt2`, `.onnx`)."]
        if (report := self.int8) is not None:
            drop = 100 * (report.fp32_accuracy - report.int8_accuracy)
            lines += [
                "",
                f"`{INT8_FILE}` computes in 8-bit integers, calibrated on {report.calibration_images} training images."
                f" On {report.test_images:,} test images it is right in {report.int8_accuracy:.2%}, model.onnx in"
                f" {report.fp32_accuracy:.2%}: a drop of {drop:.2f} points. Both name the same class for"
                f" {report.same:.2%} of them.",
            ]
        return "\n".join(lines)

    def _preprocessing(self) -> str:
        known = self.subject.preprocessing
        lines = [f"{number}. {step}" for number, step in enumerate(known.steps, 1)]
        if known.mean is not None and known.std is not None:
            for name, values in (("mean", known.mean), ("std", known.std)):
                lines += ["", f"{name}: {', '.join(f'{value:.6g}' for value in values)} (of pixels from 0 to 1)"]
        return "\n".join(lines)

    def _licence(self) -> str:
        stated = f"Of the weights: {printable(self.licence)}."
        if self.licence == "unknown":
            stated = "Of the weights: not stated by whoever exported them. Ask them, and check that of the data."
        return f"{stated} `model.py` consists of code of sepnas, which is under the MIT licence."

    def _limits(self) -> str:
        a, training = self.subject.architecture, self.subject.training
        lines = [
            f"It knows {a.classes} classes, and assigns every image to one of them.",
            f"It was made for {a.image_size} pixels; other sizes run in `model.py`, but were not measured.",
            "On images from another source than the training images its accuracy may be lower than stated above.",
            "Nothing was measured on fairness, on adversarial inputs or on how far its probabilities can be trusted.",
        ]
        if training is not None and len(training["test_accuracies"]) < 3:
            lines.append("So few trainings say little about how much the accuracy varies between them.")
        return "\n".join(f"- {line}" for line in lines)
