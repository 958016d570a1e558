"""Image classification data sets of the Hugging Face hub, through the `datasets` library.

Columns and splits are found as `evaluators.sources.table` says; for the data sets in `evaluators.sources.names.HUB`
they are known. No code from a repository is ever run.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from evaluators.sources.base import Source
from evaluators.sources.names import HUB, HubEntry
from evaluators.sources.table import table_source
from search_space.base.errors import InvalidRequest

PREFIX = "hf:"

# Packages whose errors mean that the network, not the request, is at fault; which of them is used differs between
# versions of huggingface_hub, so they are known by name.
_NETWORK_PACKAGES = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")


def hub_source(name: str) -> Source:
    """Load ``owner/name`` or ``hf:name[:config]`` and list its images without decoding them.

    Raises:
        InvalidRequest: the hub cannot be reached, has no such data set or configuration, or the data set has no image
            or label column, no train split, or unlabelled training images.
    """
    repository, config = _parse(name)
    known = HUB.get(repository, HubEntry())
    splits = _load(name, repository, config or known.config)
    return table_source(
        name,
        splits,
        # of the library's own cache: it changes with the revision, the configuration and the files
        {split: partial(str, f"datasets {rows._fingerprint}") for split, rows in splits.items()},
        remedy=f"choose another configuration ({PREFIX}name:config) or data set",
        image=known.image,
        label=known.label,
        extra=known.extra,
    )


def _load(name: str, repository: str, config: str | None) -> Any:
    """Return the splits of `repository` by their name, as `datasets.load_dataset` does."""
    import datasets

    try:
        return datasets.load_dataset(repository, config)
    # Besides its own errors, load_dataset lets through those of the network and of every file reader.
    except Exception as error:
        if _is_network_error(error):
            no_folder = "" if name.startswith(PREFIX) else "there is no such local folder, and "
            raise InvalidRequest(
                f"data={name!r}: {no_folder}the Hugging Face hub cannot be reached: check the network, "
                "or give a local folder of class folders instead"
            ) from error
        if isinstance(error, datasets.exceptions.DatasetNotFoundError):
            raise InvalidRequest(
                f"data={name!r} is neither a local folder nor a public data set of the Hugging Face hub: "
                "correct the name, or log in with `hf auth login` if it is restricted"
            ) from error
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InvalidRequest(
            f"data={name!r}: the data set cannot be loaded ({reason}): "
            f"give another one, or its configuration as {PREFIX}name:config"
        ) from error


def _parse(name: str) -> tuple[str, str | None]:
    """Split ``hf:name[:config]`` or ``owner/name`` into repository (or local path) and configuration."""
    rest = name.removeprefix(PREFIX)
    repository, colon, config = rest.rpartition(":")
    # A local path may contain a colon of its own.
    if not colon or Path(rest).expanduser().exists():
        repository, config = rest, ""
    if not repository or (colon and not config and repository != rest):
        raise InvalidRequest(
            f"data={name!r} lacks a name or a configuration: write {PREFIX}name or {PREFIX}name:config"
        )
    local = Path(repository).expanduser()
    return (str(local) if local.exists() else repository), config or None


def _is_network_error(error: BaseException | None) -> bool:
    """Return whether `error` or one of those that led to it came from the network."""
    while error is not None:
        if isinstance(error, (ConnectionError, TimeoutError)):
            return True
        # An answer such as "404 not found" means that the network works.
        if type(error).__module__.split(".")[0] in _NETWORK_PACKAGES and getattr(error, "response", None) is None:
            return True
        error = error.__cause__ or error.__context__
    return False
