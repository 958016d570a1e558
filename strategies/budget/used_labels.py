"""Which labels of a sample matter: NNI's spaces may nest choices, and what is not chosen leaves its own unused."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace, MutableModule

#: Gives equal keys to samples that are one architecture.
Key = Callable[[Mapping[str, Any]], Hashable]


def has_nested_choices(space: Any) -> bool:
    """Whether a choice of ``space`` stands inside another one, so that labels can be unused."""
    if not isinstance(space, ModelSpace):
        return False
    choices = [module for module in space.modules() if isinstance(module, MutableModule) and module.mutables]
    inside = {id(inner) for outer in choices if outer is not space for inner in outer.modules() if inner is not outer}
    return any(id(choice) in inside for choice in choices)


def used_labels(space: ModelSpace, sample: Sample) -> frozenset[str]:
    """The labels that NNI reads when it checks ``sample``: those of what is chosen."""
    read: set[str] = set()

    class Recorder(dict[str, Any]):
        def __getitem__(self, label: str) -> Any:
            read.add(label)
            return super().__getitem__(label)

    error = space.check_contains(Recorder(sample))
    if error is not None:
        raise error
    return frozenset(read)


def sample_key(space: Any, labels: tuple[str, ...], indices: Callable[[Mapping[str, Any]], Any]) -> Key:
    """A key of samples of ``space`` that ignores unused labels; ``indices`` gives candidate numbers in the order of
    ``labels``."""
    nested = has_nested_choices(space)

    def key(sample: Mapping[str, Any]) -> Hashable:
        chosen = indices(sample).tolist()
        if not nested:
            return tuple(chosen)
        used = used_labels(space, dict(sample))
        return tuple((label, index) for label, index in zip(labels, chosen, strict=True) if label in used)

    return key
