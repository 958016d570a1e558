"""The NNI form of the space: shared modules, frozen networks, rebuilt models, NNI's own profiler."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import nni
import numpy as np
import pytest
import torch
from nni.mutable.exception import SampleValidationError
from nni.nas.nn.pytorch import LayerChoice
from nni.nas.profiler.pytorch.flops import FlopsProfiler
from nni.nas.space import model_context
from nni.nas.strategy import DARTS, RandomOneShot
from torch import nn

from search_space import Network, SearchSpace, build
from search_space.layers import EvenPad
from search_space.network import InvertedResidual
from search_space.space import SepConvSpace
from search_space.supernet import pad_as_in_supernet

OPERATORS = ("dw_k3", "xsep_k3", "c2sp", "sep_k3", "bsconv_s_k3", "skip")
Sample = dict[str, str]


def small(operators: tuple[str, ...] = OPERATORS, **options: Any) -> SepConvSpace:
    fixed: dict[str, Any] = {"image_size": 8, "width": 0.25, "classes": 4, "operators": operators, "widths": (0.5, 1.0)}
    return SepConvSpace(SearchSpace.create(**{**fixed, **options}))


def random_sample(space: SearchSpace, seed: int) -> Sample:
    generator = np.random.default_rng(seed)
    return space.cost_table.sample(np.array([generator.integers(len(names)) for names in space.candidates]))


def randomise(module: nn.Module) -> None:
    """Random values in all parameters and buffers, so that no two are alike by chance."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * (0.1 if "weight" in name else 1) + 0.05)
        else:
            tensor.fill_(7)


def shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def directions(module: nn.Module) -> list[str]:
    return [part.direction.name for part in module.modules() if isinstance(part, EvenPad)]


def assert_same_network(one: nn.Module, other: nn.Module) -> None:
    """Same structure; and the same outputs once the weights are the same."""
    assert repr(one) == repr(other)
    assert shapes(one) == shapes(other)
    assert directions(one) == directions(other)
    other.load_state_dict(one.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(one.eval()(x), other.eval()(x))


def test_space_has_one_label_a_block() -> None:
    space = small()
    choices = [module for module in space.modules() if isinstance(module, LayerChoice)]
    assert [choice.label for choice in choices] == list(space.search_space.labels)
    assert [tuple(choice.names) for choice in choices] == list(space.search_space.candidates)
    simple = space.simplify()
    assert set(simple) == set(space.search_space.labels)
    assert [tuple(simple[label].values) for label in space.search_space.labels] == list(space.search_space.candidates)


def test_candidates_of_a_block_share_all_but_the_spatial_operator() -> None:
    for choice in small(widths=(1.0,)).blocks:
        residuals = [choice[name] for name in choice.names if isinstance(choice[name], InvertedResidual)]
        assert len(residuals) == 3
        for one, other in itertools.combinations(residuals, 2):
            for part in ("expand", "se", "project"):
                mine, theirs = getattr(one, part), getattr(other, part)
                assert mine is theirs or type(mine) is type(theirs) is nn.Identity
            assert one.project is other.project
            assert one.spatial is not other.spatial


def test_shared_parameters_count_once() -> None:
    space = small(("dw_k3", "dw_k5", "xsep_k3"), widths=(1.0,))
    table = space.cost_table
    total = table.fixed["params"]
    for index, label in enumerate(table.labels):
        block = space.search_space.skeleton.blocks[index]
        # spatial parameters: what each candidate has; the rest of the block once
        spatial = [block.expanded_channels * weights for weights in (9 + 2, 25 + 2, 4 + 3 + 3 + 6)]
        rest = int(table.costs["params"][label][0]) - spatial[0]
        assert [int(p) - rest for p in table.costs["params"][label]] == spatial
        total += rest + sum(spatial)
    assert sum(p.numel() for p in space.parameters()) == total


@pytest.mark.parametrize("search_se", [False, True])
def test_narrower_candidates_add_no_parameters(search_se: bool) -> None:
    operators = ("dw_k3", "dw_k5", "xsep_k3", "sep_k3")
    # block 0 at its designed width has no expansion, so the widest choice there is another one
    one, many = (small(operators, widths=widths, search_se=search_se) for widths in ((1.5,), (1.5, 0.5, 0.75, 1.25)))
    assert sum(p.numel() for p in one.parameters()) == sum(p.numel() for p in many.parameters())


@pytest.mark.parametrize("seed", range(5))
def test_frozen_network_is_the_built_one(seed: int) -> None:
    space = small()
    randomise(space)
    sample = random_sample(space.search_space, seed)
    frozen, built = space.freeze(sample), build(space.architecture(sample))
    assert type(frozen) is Network
    assert frozen.architecture == built.architecture
    assert_same_network(frozen, built)


def sliced_by_hand(wide: dict[str, torch.Tensor], shape: dict[str, torch.Size]) -> dict[str, torch.Tensor]:
    return {name: wide[name][tuple(slice(n) for n in size)] for name, size in shape.items()}


@pytest.mark.parametrize("seed", range(5))
def test_frozen_network_has_the_first_channels_of_the_widest_candidates(seed: int) -> None:
    space = small()
    randomise(space)
    sample = random_sample(space.search_space, seed)
    frozen = space.freeze(sample)
    for part, own in (("stem", space.stem), ("head", space.head)):
        for name, tensor in frozen.get_submodule(part).state_dict().items():
            assert torch.equal(tensor, own.state_dict()[name])
    for block, choice in zip(frozen.blocks, space.blocks, strict=True):
        # candidates of the hand-designed width are the widest and bear the plain name
        widest = choice[sample[choice.label].split("-")[0]].state_dict()
        expected = sliced_by_hand(widest, shapes(block))
        assert all(torch.equal(tensor, expected[name]) for name, tensor in block.state_dict().items())
    assert any("-e" in name for name in sample.values())


def test_frozen_network_computes_what_the_supernet_computes_on_that_path() -> None:
    # operators without directed padding: the two then pad alike
    space = small(("dw_k3", "c2sp", "mix_k357", "sep_k3", "skip"), search_se=True).eval()
    randomise(space)
    for seed in range(8):
        sample = random_sample(space.search_space, seed)
        x = torch.randn(2, 3, 8, 8)
        y = space.stem(x)
        for choice in space.blocks:
            y = choice[sample[choice.label]](y)
        assert torch.equal(space.freeze(sample)(x), space.head(y))


def test_inherited_weights_are_judged_under_the_padding_of_the_supernet() -> None:
    operators = ("xsep_k3", "xsep_b_k3", "xsep_p_k3", "xsep_sp_k3", "c2sp", "c4", "sep_k3")
    space = small(operators).eval()
    randomise(space)
    different = 0
    for seed in range(8):
        sample = random_sample(space.search_space, seed)
        x = torch.randn(2, 3, 8, 8)
        y = space.stem(x)
        for choice in space.blocks:
            y = choice[sample[choice.label]](y)
        expected = space.head(y)
        frozen = space.freeze(sample)
        different += not torch.allclose(frozen(x), expected)
        pad_as_in_supernet(frozen)
        assert torch.equal(frozen(x), expected)
    assert different > 4, "the exact padding made no difference: this test shows nothing"


def test_training_a_frozen_network_leaves_the_space_alone() -> None:
    space = small()
    before = {name: tensor.clone() for name, tensor in space.state_dict().items()}
    frozen = space.freeze(random_sample(space.search_space, 3)).train()
    assert all(p.requires_grad for p in frozen.parameters())
    optimiser = torch.optim.SGD(frozen.parameters(), lr=0.1)
    frozen(torch.randn(8, 3, 8, 8)).square().sum().backward()
    optimiser.step()
    assert not torch.equal(frozen.stem.conv.weight, before["stem.conv.weight"])
    assert not torch.equal(frozen.stem.norm.running_mean, before["stem.norm.running_mean"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in space.state_dict().items())
    assert all(parameter.grad is None for parameter in space.parameters())


def test_freezing_draws_nothing_from_torchs_random_state() -> None:
    space = small()
    before = torch.get_rng_state()
    space.freeze(random_sample(space.search_space, 4))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("training", [True, False])
def test_frozen_network_keeps_the_mode_of_the_space(training: bool) -> None:
    frozen = small().train(training).freeze(random_sample(small().search_space, 0))
    assert {module.training for module in frozen.modules()} == {training}


def test_wrong_samples_are_refused() -> None:
    space = small()
    sample = random_sample(space.search_space, 0)
    with pytest.raises(SampleValidationError):
        space.freeze({**sample, "block03": "conv"})
    with pytest.raises(SampleValidationError):
        space.freeze({label: name for label, name in sample.items() if label != "block03"})


@pytest.mark.parametrize("strategy", [DARTS, RandomOneShot])
def test_spaces_that_a_one_shot_strategy_mutated_freeze_alike(strategy: Callable[[], Any]) -> None:
    mutated = strategy().mutate_model(small())
    randomise(mutated)
    assert not [m for m in mutated.modules() if type(m) is LayerChoice]
    sample = random_sample(mutated.search_space, 5)
    frozen = mutated.freeze(sample)
    assert_same_network(frozen, build(mutated.architecture(sample)))
    state = mutated.state_dict()
    for index, (label, name) in enumerate(sample.items()):
        assert label == mutated.search_space.labels[index]
        for own, tensor in mutated.freeze(sample).blocks[index].state_dict().items():
            wide = state[f"blocks.{index}.{name.split('-')[0]}.{own}"]
            assert torch.equal(tensor, wide[tuple(slice(size) for size in tensor.shape)])


@pytest.mark.parametrize("seed", range(3))
def test_nni_rebuilds_the_same_network_from_a_sample(seed: int) -> None:
    space = small()
    sample = random_sample(space.search_space, seed)
    with model_context(sample):
        rebuilt = small()
    built = build(space.architecture(sample))
    assert shapes(rebuilt) == shapes(built)
    assert directions(rebuilt) == directions(built)
    assert repr(rebuilt.blocks) == repr(built.blocks)
    rebuilt.load_state_dict(built.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(rebuilt.eval()(x), built.eval()(x))


def test_random_models_of_nni_are_points_of_the_space() -> None:
    space = small()
    memo: Sample = {}
    model = space.random(memo=memo)
    assert space.search_space.sample(space.architecture(memo)) == memo
    assert isinstance(model, Network)
    assert model.architecture == space.architecture(memo)


def test_random_samples_of_nni_differ() -> None:
    space = small()
    memos: list[Sample] = [{} for _ in range(5)]
    for memo in memos:
        space.random(memo=memo)
    assert len({tuple(memo.values()) for memo in memos}) > 1


def test_every_block_of_the_supernet_pads_by_its_position() -> None:
    space = small(("xsep_k3", "xsep_b_k3", "xsep_p_k3"), widths=(1.0,))
    cycle = ["RIGHT_BOTTOM", "LEFT_TOP", "LEFT_BOTTOM", "RIGHT_TOP"]
    assert [directions(choice) for choice in space.blocks] == [[cycle[i % 4]] * 3 for i in range(11)]


@pytest.mark.parametrize(("channels", "classes", "size"), [(1, 2, 9), (4, 7, 11)])
def test_space_takes_any_channels_classes_and_size(channels: int, classes: int, size: int) -> None:
    space = small(in_channels=channels, classes=classes, image_size=size)
    x = torch.randn(2, channels, size, size)
    assert space(x).shape == (2, classes)
    assert space.freeze(random_sample(space.search_space, 0))(x).shape == (2, classes)


def test_default_space_is_the_default_search_space() -> None:
    with torch.device("meta"):
        space = SepConvSpace()
    assert space.search_space == SearchSpace.create()


def test_nnis_serialiser_keeps_the_space_from_one_process_to_the_next() -> None:
    space = small()
    again = nni.load(nni.dump(space))
    assert again.search_space == space.search_space
    assert shapes(again) == shapes(space)
    assert nni.load(nni.dump(SearchSpace.create(operators="full"))) == SearchSpace.create(operators="full")


def test_same_seed_gives_the_same_space() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(small().state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_supernet_is_initialised_as_networks_are() -> None:
    torch.manual_seed(0)
    space = small(("dw_k3", "xsep_k3"), width=1.0)
    wide = space.blocks[10]["xsep_k3"].project.conv.weight  # 96 x 576: fan-out 96
    assert wide.std().item() == pytest.approx((2 / 96) ** 0.5, rel=0.02)
    assert space.head.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)


TRACEABLE = ("dw_k3", "dw_k5", "xsep_no2x2_k5", "sep_k3", "bsconv_u_k3", "skip")


@pytest.fixture(scope="module")
def profiled() -> tuple[SepConvSpace, FlopsProfiler]:
    space = small(TRACEABLE, image_size=11).eval()
    conventions = {"count_bias": False, "count_normalization": False, "count_activation": False}
    return space, FlopsProfiler(space, torch.randn(1, 3, 11, 11), **conventions)


@pytest.mark.parametrize("seed", range(20))
def test_nnis_profiler_counts_the_macs_of_the_cost_table(
    profiled: tuple[SepConvSpace, FlopsProfiler], seed: int
) -> None:
    space, profiler = profiled
    sample = random_sample(space.search_space, seed)
    assert profiler.profile(sample) == space.cost_table.cost(sample)["macs"]
