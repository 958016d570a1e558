"""Every form of a network, as a program of PyTorch and of ONNX too, computes what the network computes."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.architectures import random_architectures, settled

from experiments.bundle.check import Checker, Sample
from experiments.bundle.layers import fold_batch_norms
from experiments.bundle.programs import OnnxNetwork, read_program, to_program, write_onnx, write_program
from search_space import Architecture, baseline, baselines, parse

#: layers with a forward of their own, and even-sized kernels
VARIED = parse(
    "m 3x8x8 3 | stem c4 s1 relu | mix_k357 e6 c6 s1 hardswish se4 | inception_k3 c6 s2 elu"
    " | xsep_p_k3 e8 c8 s1 relu6 | c2sp e8 c8 s1 relu res | head f6 hardswish"
)
EVERY = {
    **{name: baseline(name, image_size=16, width=0.1) for name in baselines()},
    **{f"random-{number}": architecture for number, architecture in enumerate(random_architectures())},
}


def compare(architecture: Architecture, folder: Path, *, fold: bool) -> None:
    """Fails unless the programs in files agree with the network."""
    network, images = settled(architecture)
    checker = Checker(network, Sample(images, "test"))
    assert checker.expected.abs().max() > 0.05, "too small to tell"
    shape = (architecture.in_channels, architecture.image_size, architecture.image_size)
    program = to_program(fold_batch_norms(network) if fold else network, shape)
    write_program(program, folder / "model.pt2")
    write_onnx(program, shape, folder / "model.onnx")
    in_torch = checker.compare("model.pt2", read_program(folder / "model.pt2"))
    in_onnx = checker.compare("model.onnx", OnnxNetwork(folder / "model.onnx", shape, architecture.classes))
    print(f"largest difference {in_torch.difference:.2g} in model.pt2, {in_onnx.difference:.2g} in model.onnx")


def test_programs_of_varied_layers_agree(tmp_path: Path) -> None:
    compare(VARIED, tmp_path, fold=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_programs_of_every_network_agree(name: str, tmp_path: Path) -> None:
    compare(EVERY[name], tmp_path, fold=len(name) % 2 == 0)
