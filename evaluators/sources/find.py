"""Which source a name means."""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path

from evaluators.sources.base import Source
from evaluators.sources.cifar import UNPACKED, cifar_archive, cifar_folder
from evaluators.sources.digits import digits_source
from evaluators.sources.folder import folder_source
from evaluators.sources.hub import PREFIX, hub_source
from evaluators.sources.names import HUB, accepted_names
from evaluators.sources.parquet import is_parquet, parquet_source, split_of
from evaluators.sources.svhn import svhn_file, svhn_folder
from search_space.base.errors import InvalidRequest

_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_PARQUET_MAGIC = b"PAR1"


def find_source(name: str) -> Source:
    """Return the data set that `name` means, not decoded; see `evaluators.sources.names.DATASETS`.

    What is on disk is told by its content: an archive, Parquet, the files of CIFAR or SVHN, else class folders.

    Raises:
        InvalidRequest: the name means nothing, or the data set cannot be used.
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidRequest(f"data={name!r} is not a name: give one of {accepted_names()}")
    if name == "digits":
        return digits_source()
    if name.startswith(PREFIX):
        return hub_source(name)
    path = Path(name).expanduser()
    if path.is_file():
        return _file_source(name, path)
    if path.is_dir():
        return _folder_source(name, path)
    # A path that leads nowhere goes to the folder source as well, for its message.
    if name.startswith(("/", ".", "~")) or name.count("/") > 1 or "\\" in name:
        return folder_source(name)
    if _HUB_NAME.fullmatch(name):
        owner = name.partition("/")[0]
        # "data/cifra10" beside a folder data/ is a slip, and the hub takes half a minute to say no without a network.
        if name not in HUB and Path(owner).is_dir():
            raise InvalidRequest(
                f"data={name!r}: the folder {owner!r} is here, but nothing of that name in it: correct the path, or "
                f"write {PREFIX}{name} for the Hugging Face hub"
            )
        return hub_source(name)
    raise InvalidRequest(f"data={name!r} is not known and no such folder exists: give one of {accepted_names()}")


def _file_source(name: str, path: Path) -> Source:
    try:
        with path.open("rb") as file:
            magic = file.read(len(_PARQUET_MAGIC))
        if magic == _PARQUET_MAGIC:
            return parquet_source(name, path)
        if tarfile.is_tarfile(path):
            return cifar_archive(name, path)
    except OSError as error:
        raise InvalidRequest(f"data={name!r} cannot be read ({error.strerror}): make it readable") from error
    if path.suffix == ".mat":
        return svhn_file(name, path)
    if path.suffix.lower() == ".parquet":
        raise InvalidRequest(f"data={name!r} is not Parquet, whatever its name says: fetch it again")
    return folder_source(name)  # for its message


def _folder_source(name: str, folder: Path) -> Source:
    try:
        entries = os.listdir(folder)
    except OSError as error:
        raise InvalidRequest(
            f"data={name!r}: {str(folder)!r} cannot be listed ({error.strerror}): make it readable"
        ) from error
    if any(entry.endswith((".bin", "_batch")) or entry in ("meta", *UNPACKED) for entry in entries):
        found = cifar_folder(name, folder)
        if found is not None:
            return found
    if any(entry.endswith(".mat") for entry in entries):
        found = svhn_folder(name, folder)
        if found is not None:
            return found
    if _holds_parquet(folder, entries):
        return parquet_source(name, folder)
    return folder_source(name)


def _holds_parquet(folder: Path, entries: list[str]) -> bool:
    """Return whether a Parquet file lies in `folder`, or in a folder of it that is called like a split or data."""
    if any(is_parquet(entry) for entry in entries):
        return True
    for entry in entries:
        inner = folder / entry
        if (entry.lower() == "data" or split_of(entry) is not None) and inner.is_dir():
            try:
                if any(is_parquet(file) for file in os.listdir(inner)):
                    return True
            except OSError:
                continue  # as folders of images they are listed again, and then the user is told
    return False
