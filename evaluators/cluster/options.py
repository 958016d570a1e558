"""Which Ray cluster takes trainings, and what each of them takes of it. Imports no Ray, as configs are read without."""

from __future__ import annotations

from dataclasses import dataclass

from search_space.base.checks import check_options, option, require


@dataclass(frozen=True)
class RayOptions:
    """The Ray cluster of engine ray.

    Attributes:
        address: auto or ray://HOST:10001 to join a cluster. null starts one on this machine that listens on 127.0.0.1
            alone and ends with the command.
        cpus: cores for each training.
        gpus: GPUs for each training, such as 0.5; trainings that share one must fit into its memory together.
    """

    address: str | None = None
    cpus: int = option(1, least=1)
    gpus: float = option(0.0, least=0)

    def __post_init__(self) -> None:
        check_options(self, "ray")
        whole = self.gpus <= 1 or self.gpus == int(self.gpus)
        require(
            whole,
            "ray.gpus",
            self.gpus,
            "is neither a whole number of GPUs nor a fraction of one",
            "give 0.5, 1 or 2, say",
        )
