"""The command ``sepnas generate``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evaluators.data.options import DataOptions
from experiments.generation.options import GenerationOptions
from experiments.options.config import RetrainConfig, SearchConfig
from experiments.options.files import self_contained
from experiments.options.parsing import Command, Namespace, Parser, add_option

_OPTIONS = ("data", "retrain", "seed", "accelerator")


def _add_options(parser: Parser) -> None:
    parser.add_argument("--out", required=True, help="folder for the generators, their samples and their measures")
    parser.add_argument("--overwrite", action="store_true", help="delete generators in OUT that were made differently")
    parser.add_class(GenerationOptions, "generation")
    parser.add_class(RetrainConfig, "retrain", only=("seeds",))
    parser.add_argument("--seed", type=int, default=0, help="seed of the data's splits (default: 0)")
    add_option(parser, SearchConfig, "accelerator")
    parser.add_class(DataOptions, "data", "data.")


def _run(options: Namespace) -> None:
    config = replace(SearchConfig(), **{name: getattr(options, name) for name in _OPTIONS})
    from experiments.generation.run import generate, summary

    found = generate(options.generation, self_contained(config), Path(options.out), overwrite=options.overwrite)
    print(summary(found))
    print(f"samples: {Path(options.out) / 'seed*' / 'samples.png'}")


COMMAND = Command(
    "find and train networks",
    "train image generators with even-sized or 3x3 kernels, and measure what they make",
    _add_options,
    _run,
    details="A generator and a discriminator are trained against each other on the training images of any data set, as"
    " in the even-sized kernels' paper (table 4). Fréchet distance, precision and recall are measured on the features"
    " of a classifier that is trained on the same images: they compare generators of one data set, and are not FID. The"
    " same command continues after a kill.",
    alone=True,
)
