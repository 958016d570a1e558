"""The option that says what trains, for the sub-commands that train."""

from __future__ import annotations

from jsonargparse import ArgumentParser

from evaluators.training.run import Accelerator


def add_accelerator(parser: ArgumentParser) -> None:
    parser.add_argument("--accelerator", type=Accelerator, default="auto", help="auto takes the GPU where there is one")
