"""A user's own model as a value: how it is made, counted, told apart, kept, and what is refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from search_space import InvalidRequest, baseline, build, cost
from search_space.own_model import OwnModel
from search_space.serialization import from_json, load_any_network, network_from_json, save_architecture, to_json

MODULE = """
import torch
from torch import nn

from search_space import baseline, build


def small(in_channels, classes, activation=nn.ReLU):
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3, 2, 1), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes)
    )


def elu(**sizes):
    return small(sizes["in_channels"], sizes["classes"], nn.ELU)


def ours(**sizes):
    return build(baseline("mobilenetv3-small-xsep", **sizes))


class Lazy(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.score = nn.LazyLinear(classes)

    def forward(self, x):
        return self.score(x.flatten(1))


class Twice(Lazy):
    def forward(self, x):
        return super().forward(x + x)


def whole(in_channels, classes):
    return nn.Sequential(nn.Conv2d(in_channels, 4, 32), nn.Flatten(), nn.Linear(4, classes))


def thousand(in_channels):
    return small(in_channels, 1000)


def pair(classes):
    class Pair(Lazy):
        def forward(self, x):
            return super().forward(x), x

    return Pair(classes)


def number():
    return 3


def fails():
    raise SystemExit("no\\nway")


def frozen(in_channels, classes):
    return small(in_channels, classes).requires_grad_(False)


class Holder:
    made = staticmethod(small)


constant = 7
"""
SIZES = {"in_channels": 3, "classes": 10, "image_size": 16}


@pytest.fixture(scope="module", autouse=True)
def _module(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("code")
    (folder / "own_test_nets.py").write_text(MODULE)
    (folder / "own_test_broken.py").write_text("import nothing_of_that_name\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def model(name: str) -> OwnModel:
    return OwnModel.of(f"own_test_nets:{name}", **SIZES)


def test_it_is_counted_as_our_networks_are() -> None:
    own = model("ours")
    assert cost(own) == cost(baseline("mobilenetv3-small-xsep", image_size=16))
    # 8 x 8 outputs of a 3 x 3 convolution with 3 inputs and 8 outputs; the classifier
    assert cost(model("small")).macs == 8 * 8 * 8 * 3 * 9 + 8 * 10
    assert cost(model("small")).params == 8 * 3 * 9 + 8 + 8 * 10 + 10


@pytest.mark.parametrize("name", ["small", "elu", "ours", "Lazy", "Holder.made"])
def test_it_is_built_from_torchs_random_state_alone(name: str) -> None:
    own = model(name)
    state = torch.get_rng_state()
    assert model(name) == own
    with torch.inference_mode():
        assert model(name) == own
    assert torch.equal(torch.get_rng_state(), state)
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(build(own))
    for one, other in zip(*(network.state_dict().values() for network in networks), strict=True):
        assert torch.equal(one, other)
    assert networks[0].training
    assert networks[0](torch.zeros(2, 3, 16, 16)).shape == (2, 10)


def test_networks_of_another_structure_are_other_values() -> None:
    # an activation, which has no weights, and an operation in the forward pass alone
    for one, other in (("small", "elu"), ("Lazy", "Twice")):
        assert cost(model(one)) == cost(model(other))
        assert model(one).structure != model(other).structure


def test_another_process_sees_the_same_structure() -> None:
    code = f"from search_space.own_model import OwnModel; print(OwnModel.of('own_test_nets:ours', **{SIZES}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(model("ours"))


def test_what_has_changed_meanwhile_is_not_built() -> None:
    own = model("small")
    changed = OwnModel(**{**vars(own), "structure": "0123"})
    with pytest.raises(InvalidRequest, match="'own_test_nets:small' returns another network than it did"):
        build(changed)


def test_it_is_kept_as_json_and_read_without_running_anything(tmp_path: Path) -> None:
    own = model("small")
    assert network_from_json(to_json(own)) == own
    assert pickle.loads(pickle.dumps(own)) == own
    save_architecture(own, tmp_path / "own.json")
    assert load_any_network(tmp_path / "own.json") == own
    gone = network_from_json({**to_json(own), "call": "nowhere:nothing"})  # nothing is imported
    assert cost(gone) == cost(own)
    with pytest.raises(InvalidRequest, match="this is a network of another kind \\(sepnas-own-model\\)"):
        from_json(to_json(own))
    with pytest.raises(InvalidRequest, match=r"network\.macs: 'x' is not of type int"):
        network_from_json({**to_json(own), "macs": "x"})
    architecture = baseline("mobilenetv3-small")
    assert network_from_json(to_json(architecture)) == architecture


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("own_test_nets:whole", "cannot take images of 3x16x16 \\(RuntimeError: .*does it need another size"),
        ("own_test_nets:thousand", "gives outputs of shape \\(2, 1000\\) for 2 images of 10 classes; it must give one"),
        ("own_test_nets:pair", "gives outputs of type tuple"),
        ("own_test_nets:number", "returns int, not a torch.nn.Module"),
        ("own_test_nets:fails", "fails \\(SystemExit: no way\\)"),
        ("own_test_nets:frozen", "returns a network without trainable parameters"),
        ("own_test_nets:constant", "is of type int, which cannot be called"),
        ("own_test_nets:absent", "is not there: own_test_nets has no absent"),
        ("own_test_broken:net", "cannot be imported \\(ModuleNotFoundError: No module named 'nothing_of_that_name'\\)"),
        ("own_test_nowhere:net", "cannot be imported .*looked for in the working directory first"),
        ("own_test_nets", "is not of the form module:callable; write it like my_models:small_net"),
    ],
)
def test_what_is_no_network_for_these_images_is_refused(call: str, told: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^baselines: '{call}' {told}"):
        OwnModel.of(call, **SIZES, where="baselines")
