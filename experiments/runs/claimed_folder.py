"""Folders that a command claims for one request: what may stay and what may be deleted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.runs.files import sweep, write_json, write_text
from experiments.runs.held import held
from search_space.base.atomic import is_temporary
from search_space.base.checks import plain, shown
from search_space.base.errors import InvalidRequest
from search_space.base.reading import parse_yaml, read_text

#: The key of a request that has `evaluators.data.images.ImageData.fingerprint`.
IMAGES = "images"


@dataclass(frozen=True)
class FolderKind:
    """What a command leaves in the folder that it claims.

    Attributes:
        name: what refusals call the folder's content, such as "a run".
        files: glob patterns of what the command writes apart from the next two, in the order of deletion.
        marker: the JSON or YAML file that keeps the request and so marks the folder as the command's; None if the
            command only replaces ``files``.
        before_marker: files written just before the marker, without which it marks nothing.
        valuable: patterns of ``files`` without which another request may take the folder unasked; None if it never may.
        deleted_whole: whether the folder as such is deleted, so that files of others must not lie in it.
        remedy: what to do if the folder was made for another request.
        ignored: keys of the request that may differ, as results do not depend on them.
        if_known: keys that are compared where both requests have them: earlier releases kept none, and some are known
            only when all else has been checked.
    """

    name: str
    files: tuple[str, ...]
    marker: str | None = None
    before_marker: tuple[str, ...] = ()
    valuable: tuple[str, ...] | None = None
    deleted_whole: bool = False
    remedy: str = "--overwrite deletes it"
    ignored: tuple[str, ...] = ()
    if_known: tuple[str, ...] = (IMAGES,)


class ClaimedFolder:
    """A folder in which a command of one kind leaves its files. Only files that the kind names are ever deleted.

    A process that is killed at any moment leaves a folder that the same request can take up and that ``overwrite`` can
    clear: the marker is written first, and another request's replaces it when everything else is gone.

    Args:
        path: of the folder; it need not exist.
        kind: what is in it.
        field: the option that names it, for refusals.
    """

    def __init__(self, path: Path, kind: FolderKind, *, field: str = "out") -> None:
        self.path = path
        self.kind = kind
        self.field = field

    @property
    def is_claimed(self) -> bool:
        """Whether there is a marker."""
        return self._is_claimed(self._entries())

    def request(self) -> dict[str, Any]:
        """What the marker keeps; InvalidRequest if it is damaged."""
        assert self.kind.marker is not None
        path = self.path / self.kind.marker
        try:
            values = _load(read_text(path), self.kind.marker)
            if not isinstance(values, dict):
                raise ValueError("it holds no keys")
        except (ValueError, RecursionError) as error:  # broken YAML, broken JSON and broken UTF-8 are ValueErrors
            raise InvalidRequest(f"{self.field}: {path} is damaged ({plain(' '.join(str(error).split()))})") from None
        return values

    def check(
        self, request: Mapping[str, Any] | None = None, *, overwrite: bool = False, resume: bool | None = None
    ) -> bool:
        """Whether what is there can stay; changes nothing.

        Args:
            request: what the results depend on, as JSON or YAML can keep it.
            overwrite: what was made for another request may be deleted.
            resume: whether the user asks to go on with what is there; None if the same request goes on unasked.

        Raises:
            InvalidRequest: The folder cannot be written to, holds other files or those of another request.
        """
        check_writable(self.field, self.path)
        entries = self._entries()  # one look: another process may be claiming the folder meanwhile
        if self.kind.marker is None:
            taken = [name for name in entries if _matches(name, self.kind.files)]
            if taken and not overwrite:
                remedy = "give another folder, or --overwrite to replace files of the same names"
                raise self._refusal(f"already holds {taken[0]}; {remedy}")
            return True
        if not self._is_claimed(entries):
            if foreign := [name for name in entries if name not in self.kind.before_marker]:
                why = f"which is not part of {self.kind.name}"
                raise self._refusal(f"holds {foreign[0]}, {why}; give an empty or new folder")
            return True
        if resume is False and not overwrite:
            remedy = "--resume continues it, --overwrite deletes it first"
            raise self._refusal(f"already holds {self.kind.name}; {remedy}")
        known = (*self.kind.files, self.kind.marker, *self.kind.before_marker)
        foreign = [name for name in entries if not _matches(name, known)]
        if foreign and self.kind.deleted_whole and (overwrite or resume is None):
            raise self._refusal(f"holds {foreign[0]} beside {self.kind.name}; move it or give another folder")
        if overwrite and resume is not None:
            return False
        # as it is read again: tuples are lists
        both = self.request(), _load(_dump(request, self.kind.marker), self.kind.marker)
        ignored = {*self.kind.ignored, *(name for name in self.kind.if_known if any(name not in own for own in both))}
        kept, asked = ({name: value for name, value in own.items() if name not in ignored} for own in both)
        difference = first_difference(kept, asked)
        if difference is not None and not overwrite and self._has_valuables():
            raise self._refusal(f"holds {self.kind.name} made differently: {difference}; {self.kind.remedy}")
        return difference is None

    def claim(
        self,
        request: Mapping[str, Any] | None = None,
        *,
        overwrite: bool = False,
        resume: bool | None = None,
        before_marker: Mapping[str, Any] | None = None,
    ) -> None:
        """`check`, delete what cannot stay and what killed writers left, and write the request down.

        ``before_marker`` are the JSON values of the kind's files of that name.
        """
        stays = self.check(request, overwrite=overwrite, resume=resume)
        if not stays:
            self._delete_files()
        self.path.mkdir(parents=True, exist_ok=True)
        sweep(self.path)
        if self.kind.marker is None or (stays and self.is_claimed):
            return
        for name, value in (before_marker or {}).items():
            write_json(self.path / name, value)
        write_text(self.path / self.kind.marker, _dump(request, self.kind.marker))

    def _refusal(self, text: str) -> InvalidRequest:
        return InvalidRequest(f"{self.field}: {self.path} {text}")

    def _entries(self) -> list[str]:
        if not self.path.is_dir():
            return []
        return sorted(entry.name for entry in self.path.iterdir() if not is_temporary(entry))

    def _is_claimed(self, entries: list[str]) -> bool:
        marks = (self.kind.marker, *self.kind.before_marker)
        return all(name in entries and (self.path / name).is_file() for name in marks if name is not None)

    def _has_valuables(self) -> bool:
        valuable = self.kind.valuable
        return valuable is None or any(any(self.path.glob(pattern)) for pattern in valuable)

    def _delete_files(self) -> None:
        """InvalidRequest, before anything is deleted, if another process is writing to one of the folders."""
        doomed = [path for pattern in self.kind.files for path in self.path.iterdir() if path.match(pattern)]
        folders = [path for path in doomed if path.is_dir() and not path.is_symlink()]
        for folder in folders:
            for inner in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
                with held(inner, self.field):
                    pass
        for path in doomed:
            if path in folders:
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def check_writable(field: str, path: Path) -> None:
    """InvalidRequest if ``path`` is not a folder and cannot become one, or cannot be written to."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise InvalidRequest(f"{field}: {there} is a file; give a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InvalidRequest(f"{field}: {there} cannot be written to; give another folder")


def first_difference(old: Any, new: Any, where: str = "") -> str | None:
    """The first key, by its dots, whose value is not the same in both nested dicts; None if there is none."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            if difference := first_difference(old.get(key), new.get(key), f"{where}.{key}" if where else str(key)):
                return difference
        return None
    if old == new:
        return None
    if shown(old) == shown(new):  # they differ behind the characters that are shown
        return f"{where} is another one"
    return f"{where} was {shown(old)} and is now {shown(new)}"


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(Path(name).match(pattern) for pattern in patterns)


def _dump(request: Any, marker: str) -> str:
    json_marker = marker.endswith(".json")
    return json.dumps(request, indent=2) + "\n" if json_marker else yaml.safe_dump(request, sort_keys=False)


def _load(text: str, marker: str) -> Any:
    return json.loads(text) if marker.endswith(".json") else parse_yaml(text)
