"""What training, counting and tables ask of a network that is given as a value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any, ClassVar

from torch import nn

from search_space.architecture import Architecture
from search_space.layer_cost import Cost


class Blueprint(ABC):
    """A network as a value, beside `Architecture`: for networks that are not made of its stem, blocks and head.

    A subclass is a frozen dataclass, picklable, whose fields JSON can keep. Its JSON form is read again by
    `search_space.serialization`, which knows every kind by its ``FORMAT``. The input is ``(batch, in_channels,
    image_size, image_size)``, the output ``(batch, classes)``. `search_space.network.build`,
    `search_space.network_cost.cost` and `search_space.serialization.to_json` take it as they take an architecture.
    """

    #: what its JSON form calls itself
    FORMAT: ClassVar[str]
    VERSION: ClassVar[int] = 1

    image_size: int
    in_channels: int
    classes: int

    @abstractmethod
    def build(self) -> nn.Module:
        """A fresh network, initialised from torch's global random state."""

    @abstractmethod
    def cost(self) -> Cost:
        """MACs of one image and trainable parameters (convention: `search_space.layer_cost`)."""

    @abstractmethod
    def __str__(self) -> str:
        """One line of text, the same for equal values alone: trainings of networks are told apart by it."""

    def to_json(self) -> dict[str, Any]:
        """A dict for ``json.dumps``: labels and numbers only."""
        return {"format": self.FORMAT, "version": self.VERSION, **asdict(self)}  # type: ignore[call-overload]

    @classmethod
    def fields_from_json(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """The inverse for ``fields`` without format and version, where they are not what JSON keeps; types of texts and
        numbers are checked by the caller. InvalidRequest names what is wrong."""
        return fields


#: a network as a value of either kind
AnyNetwork = Architecture | Blueprint
