"""Narrow layers that live in the first channels of wide ones, so that candidates of several widths share weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn


class Sliced(nn.Module):
    """A layer of fewer channels whose weights and batch-norm statistics are the first ones of a ``wide`` layer.

    ``make`` builds the narrow layer, with the same sub-modules as ``wide``. In every call it is lent views into the
    tensors of ``wide``, so gradients and running statistics land there. ``is_prefix`` tells that its output is the
    first channels of the wide layer's: true where no output channel depends on how many there are.
    """

    def __init__(self, wide: nn.Module, make: Callable[[], nn.Module], *, is_prefix: bool = False) -> None:
        super().__init__()
        self.is_prefix = is_prefix
        #: Whether training batches move the running statistics of the wide layer's batch norms.
        self.tracks_statistics = True
        # on "meta" nothing is allocated or initialised, and torch's random state stays as it is
        with torch.device("meta"):
            self.layer = make()
        self._wide = (wide,)  # in a tuple, where torch does not look for sub-modules: its owner lists it
        self._shapes = {name: tensor.shape for name, tensor in self.layer.state_dict().items()}
        self._lent: list[tuple[nn.Module, str, nn.Module, torch.Size]] = []
        self._norms = [module for module in self.layer.modules() if isinstance(module, nn.BatchNorm2d)]
        for path, own in self.layer.named_modules():
            source = wide.get_submodule(path)
            for tensors in (own._parameters, own._buffers):
                for name, tensor in tensors.items():
                    if tensor is not None:
                        tensors[name] = None
                        self._lent.append((own, name, source, tensor.shape))
        for norm in self._norms:  # or loading a state dict would ask for the statistics
            norm.track_running_stats = False

    def forward(self, x: Tensor) -> Tensor:
        for own, name, source, shape in self._lent:
            own.__dict__[name] = first_channels(getattr(source, name), shape)
        for norm in self._norms:
            norm.track_running_stats = self.tracks_statistics
        try:
            return self.layer(x)
        finally:
            for own, name, _, _ in self._lent:  # views keep the graph alive and cannot be deep-copied
                del own.__dict__[name]
            for norm in self._norms:
                norm.track_running_stats = False

    @property
    def wide(self) -> nn.Module:
        """The layer that owns the weights."""
        return self._wide[0]

    def inherited_state(self) -> dict[str, Tensor]:
        """The state dict of the narrow layer, as views into the wide one."""
        wide = self.wide.state_dict()
        return {name: first_channels(wide[name], shape) for name, shape in self._shapes.items()}


def wide_layer(layer: nn.Module) -> nn.Module:
    """The layer that owns the weights of ``layer``: itself unless it is `Sliced`."""
    return layer.wide if isinstance(layer, Sliced) else layer


def layers_with_weights(module: nn.Module) -> Iterator[nn.Module]:
    """All modules in ``module`` but those of `Sliced` layers, which have no weights of their own; each one once."""
    seen: set[nn.Module] = set()
    waiting = [module]
    while waiting:
        part = waiting.pop()
        if part not in seen and not isinstance(part, Sliced):
            seen.add(part)
            yield part
            waiting.extend(part.children())


def first_channels(tensor: Tensor, shape: torch.Size) -> Tensor:
    """The part of ``tensor`` that a layer with a tensor of ``shape`` uses: a view of its first entries."""
    if tensor.shape == shape:
        return tensor
    return tensor[tuple(slice(size) for size in shape)]


def inherited_state(module: nn.Module) -> dict[str, Tensor]:
    """The state dict of ``module`` as if every `Sliced` layer in it had tensors of its own: views, not copies."""
    state = dict(module.state_dict())  # sliced layers have nothing in it
    for path, part in module.named_modules():
        if isinstance(part, Sliced):
            state.update({f"{path}.{name}": tensor for name, tensor in part.inherited_state().items()})
    return state
