"""The option that says what trains, for the sub-commands that train."""

from __future__ import annotations

from typing import Literal

from jsonargparse import ArgumentParser


def add_accelerator(parser: ArgumentParser) -> None:
    kinds = Literal["auto", "cpu", "cuda"]
    parser.add_argument("--accelerator", type=kinds, default="auto", help="auto takes the GPU where there is one")
