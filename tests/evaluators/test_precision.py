"""Arithmetic, memory layout and compilation: each acts, and what must not depend on them does not."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from helpers.spaces import small_images, small_network

from evaluators import Recipe, retrain
from evaluators.training.module import ClassificationModule
from search_space import InvalidRequest, build


def recipe(**fields: Any) -> Recipe:
    return Recipe(**{"epochs": 2, "batch_size": 16, "warmup_epochs": 0, "learning_rate": 0.05, **fields})


def test_bf16_computes_in_bf16_and_keeps_weights_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[torch.dtype] = set()
    run = ClassificationModule.forward

    def spy(self: ClassificationModule, images: torch.Tensor) -> torch.Tensor:
        logits = run(self, images)
        seen.add(logits.dtype)
        return logits

    monkeypatch.setattr(ClassificationModule, "forward", spy)
    data = small_images(32)
    half = retrain(small_network(), data, recipe(precision="bf16"), accelerator="cpu")
    assert seen == {torch.bfloat16}
    assert {p.dtype for p in half.network.parameters()} == {torch.float32}
    full = retrain(small_network(), data, recipe(), accelerator="cpu")
    assert half.loss != full.loss
    assert half.loss == pytest.approx(full.loss, rel=0.05)


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(InvalidRequest, match=r"recipe\.precision: fp16 needs a GPU, .*; use bf16 or fp32"):
        retrain(small_network(), small_images(), recipe(precision="fp16"), accelerator="cpu")


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_layout_is_the_one_asked_for(channels_last: bool) -> None:
    network = build(small_network())
    module = ClassificationModule(recipe(channels_last=channels_last), network)
    layouts: list[bool] = []
    network.stem.conv.register_forward_hook(
        lambda conv, inputs, output: layouts.append(output.is_contiguous(memory_format=torch.channels_last))
    )
    module(torch.randn(4, 1, 8, 8))
    assert layouts == [channels_last]


def test_a_compiled_training_gives_what_an_eager_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced by torch's compiler, run without its code generator, which would take half a minute."""
    compiled: list[dict[str, Any]] = []

    def compile_quickly(function: Any, **options: Any) -> Any:
        compiled.append(options)
        return original(function, backend="eager", **options)

    original = torch.compile
    monkeypatch.setattr(torch, "compile", compile_quickly)
    data = small_images(40)  # the last batch is of another size
    images = partial(retrain, small_network(), data, accelerator="cpu")
    first, second = images(recipe(compile=True, dropout=0.2)), images(recipe(dropout=0.2))
    assert compiled == [{"dynamic": False}]
    for (name, a), b in zip(first.network.state_dict().items(), second.network.state_dict().values(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6), name
    assert list(first.network.state_dict()) == list(build(small_network()).state_dict())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("compile_", [False, True])
def test_gpus_learn_in_half_precision(precision: str, compile_: bool) -> None:
    given = Recipe(
        epochs=12,
        batch_size=16,
        learning_rate=0.05,
        precision=precision,  # type: ignore[arg-type]
        compile=compile_,
        gradient_clip=5.0,
    )
    assert retrain(small_network(), small_images(64), given, accelerator="cuda").accuracy > 0.9


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop"])
def test_bf16_clips_gradients(optimizer: str) -> None:
    half = recipe(precision="bf16", gradient_clip=1e-4, optimizer=optimizer, learning_rate=0.01)
    free = recipe(precision="bf16", optimizer=optimizer, learning_rate=0.01)
    data = small_images(32)
    losses = [retrain(small_network(), data, own, accelerator="cpu").loss for own in (half, free)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize(
    ("precision", "clip", "fused"),
    [("fp32", None, True), ("fp32", 1.0, True), ("bf16", None, True), ("bf16", 1.0, False), ("fp16", None, False)],
)
def test_the_one_kernel_optimizer_is_used_where_it_is_right(precision: str, clip: float | None, fused: bool) -> None:
    own = recipe(precision=precision, gradient_clip=clip)
    assert ClassificationModule(own, build(small_network()), fused=True).fused is fused
    assert not ClassificationModule(own, build(small_network())).fused


def test_every_network_is_compiled_however_many_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.utils import counters

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    own = recipe(compile=True)

    def step(width: int) -> int:
        before = counters["stats"]["unique_graphs"]
        network = torch.nn.Sequential(torch.nn.Conv2d(1, width, 3), torch.nn.Flatten(), torch.nn.Linear(36 * width, 4))
        ClassificationModule(own, network).train()(torch.randn(3, 1, 8, 8))
        return counters["stats"]["unique_graphs"] - before

    assert [step(width) for width in range(1, 13)] == [1] * 12
    # another training of the same network takes the graph that is there
    assert step(12) == 0
    torch.compiler.reset()
