"""Image classification data sets of the Hugging Face hub, through the `datasets` library.

`evaluators.sources.table` says which columns and splits are taken. No code from a repository is ever run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from evaluators.sources.base import Source, reason, source, unusable
from evaluators.sources.table import table_source
from search_space.base.checks import shown

PREFIX = "hf:"
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)

# Packages whose errors mean that the network, not the request, is at fault; which of them is used differs between
# versions of huggingface_hub, so they are known by name.
_NETWORK_PACKAGES = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")


@dataclass(frozen=True)
class HubEntry:
    """What a data set of the hub needs beside its name.

    Attributes:
        config: configuration to take unless one is named; None for the default.
        extra: splits whose images are trained on beside those of train, where the repository has them.
    """

    config: str | None = None
    extra: tuple[str, ...] = ()


#: Data sets of the hub that the papers use, and their like. SVHN's extra images join train, as in XSepConv section 4.1.
HUB: dict[str, HubEntry] = {
    "ufldl-stanford/svhn": HubEntry(config="cropped_digits", extra=("extra",)),
    "uoft-cs/cifar10": HubEntry(),
    "uoft-cs/cifar100": HubEntry(),
    "zh-plus/tiny-imagenet": HubEntry(),
    "zalando-datasets/fashion_mnist": HubEntry(),
    "ylecun/mnist": HubEntry(),
    "ILSVRC/imagenet-1k": HubEntry(),
}


@source(
    "hf:name[:config]",
    "an image classification data set of the Hugging Face hub, with its configuration if it has several; name may "
    "also be a local copy of the repository",
    order=0,
)
def open_prefixed(name: str, path: Path | None) -> Source | None:
    """List the images of ``hf:name[:config]``; as `open_hub`."""
    return _hub_source(name) if name.startswith(PREFIX) else None


@source("owner/name", "short for hf:owner/name, where no such local folder exists", order=3)
def open_hub(name: str, path: Path | None) -> Source | None:
    """List the images of ``owner/name`` without decoding them.

    Raises:
        InvalidRequest: the hub cannot be reached, has no such data set or configuration, or as `table_source`.
    """
    if path is not None or not _HUB_NAME.fullmatch(name):
        return None
    owner = name.partition("/")[0]
    # "data/cifra10" beside a folder data/ is a slip, and the hub takes half a minute to say no without a network.
    if name not in HUB and Path(owner).is_dir():
        why = f"does not exist, but the folder {shown(owner)} does"
        raise unusable(name, why, f"correct the path, or write {PREFIX}{name} for the Hugging Face hub")
    return _hub_source(name)


def _hub_source(name: str) -> Source:
    repository, config = _parse(name)
    known = HUB.get(repository, HubEntry())
    splits = _load(name, repository, config or known.config)
    return table_source(
        name,
        splits,
        # of the library's own cache: it changes with the revision, the configuration and the files
        {split: partial(str, f"datasets {rows._fingerprint}") for split, rows in splits.items()},
        remedy=f"choose another configuration ({PREFIX}name:config) or data set",
        extra=known.extra,
    )


def _load(name: str, repository: str, config: str | None) -> Any:
    """Return the splits of ``repository`` by their name, as `datasets.load_dataset` does."""
    import datasets

    try:
        return datasets.load_dataset(repository, config)
    # Besides its own errors, load_dataset lets through those of the network and of every file reader.
    except Exception as error:
        if _is_network_error(error):
            lead = "needs" if name.startswith(PREFIX) else "is not a local folder, and needs"
            remedy = "check the network, or give a local folder of class folders instead"
            raise unusable(name, f"{lead} the Hugging Face hub, which cannot be reached", remedy) from error
        if isinstance(error, datasets.exceptions.DatasetNotFoundError):
            why = "is neither a local folder nor a public data set of the Hugging Face hub"
            remedy = "correct the name, or log in with `hf auth login` if it is restricted"
            raise unusable(name, why, remedy) from error
        remedy = f"give another one, or its configuration as {PREFIX}name:config"
        raise unusable(name, f"cannot be loaded ({reason(error)})", remedy) from error


def _parse(name: str) -> tuple[str, str | None]:
    """Split ``hf:name[:config]`` or ``owner/name`` into repository (or local path) and configuration."""
    rest = name.removeprefix(PREFIX)
    repository, colon, config = rest.rpartition(":")
    # A local path may contain a colon of its own.
    if not colon or Path(rest).expanduser().exists():
        repository, config = rest, ""
    if not repository or (colon and not config and repository != rest):
        remedy = f"write {PREFIX}name or {PREFIX}name:config"
        raise unusable(name, "lacks a name or a configuration", remedy)
    local = Path(repository).expanduser()
    return (str(local) if local.exists() else repository), config or None


def _is_network_error(error: BaseException | None) -> bool:
    """Return whether ``error`` or one of those that led to it came from the network."""
    while error is not None:
        if isinstance(error, (ConnectionError, TimeoutError)):
            return True
        # An answer such as "404 not found" means that the network works.
        if type(error).__module__.split(".")[0] in _NETWORK_PACKAGES and getattr(error, "response", None) is None:
            return True
        error = error.__cause__ or error.__context__
    return False
