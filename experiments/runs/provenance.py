"""What made a result: versions, hardware, revision."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def provenance(seed: int, accelerator: str) -> dict[str, Any]:
    """A JSON value for ``provenance.json``; ``accelerator`` is the device that is really used."""
    import torch

    versions = {name: package_version(name) for name in ("sepnas", "torch", "nni", "pytorch_lightning", "numpy")}
    # the wheels on PyPI do not say in their metadata which CUDA they were built for
    versions["torch"] = torch.__version__
    return {
        "command": sys.argv,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "accelerator": torch.cuda.get_device_name() if accelerator == "cuda" else "cpu",
        "node": platform.node(),
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": versions,
        "revision": _revision(),
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def package_version(name: str) -> str | None:
    """Version of an installed distribution; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return None


def _revision() -> str | None:
    """Git revision of the code, with "+" if it has uncommitted changes; None outside a checkout."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=here.parent, capture_output=True, text=True, check=True, timeout=10
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # an installed copy may lie inside somebody else's checkout
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
