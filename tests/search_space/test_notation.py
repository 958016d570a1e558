"""The text form of an architecture: what is written, and what exactly is refused. Round trips: any_architecture."""

from __future__ import annotations

import pytest

from search_space import Architecture, Block, Head, InvalidRequest, Stem, baseline, baselines, parse, to_text

INPUT, STEM, HEAD = "m 3x32x32 10", "stem c16 s1 hardswish", "head c576 f1024 hardswish"
TEXT = f"{INPUT} | {STEM} | dw_k3 e24 c16 s1 relu se8 res | skip c16 | sep_k3 c40 s2 relu | {HEAD}"


def test_text_is_the_documented_one() -> None:
    blocks = (
        Block("dw_k3", 16, 16, expanded_channels=24, se_channels=8, residual=True),
        Block("skip", 16, 16),
        Block("sep_k3", 16, 40, stride=2),
    )
    architecture = Architecture("m", 32, 3, 10, Stem(16, 1), blocks, Head(576, 1024))
    assert to_text(architecture) == TEXT
    assert parse(TEXT) == architecture


def test_absent_parts_are_left_out_and_flags_are_words() -> None:
    block = Block("c2sp", 4, 4, expanded_channels=4, se_channels=2, se_bias=True, activation="none")
    architecture = Architecture("m", 5, 1, 2, Stem(4, 2, "elu"), (block,), Head(0, 0, "relu", True), orthonormal=True)
    text = "m 1x5x5 2 | stem c4 s2 elu | c2sp e4 c4 s1 none se2 sebias | head fbias relu | orthonormal"
    assert to_text(architecture) == text
    assert parse(text) == architecture


def test_an_activation_of_the_projection_is_the_last_token_of_a_block() -> None:
    blocks = (
        Block("dw_k3", 4, 4, expanded_channels=4, residual=True, project_activation="relu6"),
        Block("dw_k3", 4, 6, 2, expanded_channels=4, activation="elu", project_activation="elu"),
    )
    architecture = Architecture("m", 8, 3, 10, Stem(4, 1, "relu"), blocks, Head(0, 0, "relu"))
    text = "m 3x8x8 10 | stem c4 s1 relu | dw_k3 e4 c4 s1 relu res out-relu6 | dw_k3 e4 c6 s2 elu out-elu | head relu"
    assert to_text(architecture) == text
    assert parse(text) == architecture


@pytest.mark.parametrize("name", baselines())
def test_baselines_round_trip(name: str) -> None:
    architecture = baseline(name)
    assert parse(to_text(architecture)) == architecture


def test_white_space_does_not_matter() -> None:
    assert parse("  " + TEXT.replace(" | ", "|\n\t").replace("c16", " c16 ") + "\n") == parse(TEXT)


def with_block(block: str) -> str:
    return f"{INPUT} | {STEM} | skip c16 | {block} | {HEAD}"


WRONG = [
    ("", "architecture text: 1 part(s) between '|', but input, stem, a block and head need at least 4"),
    (
        f"{INPUT} | {STEM} | {HEAD}",
        "architecture text: 3 part(s) between '|', but input, stem, a block and head need at least 4",
    ),
    (f"{INPUT} | {STEM} | {HEAD} | orthonormal", "blocks: empty; an architecture needs at least one block"),
    (f" | {STEM} | skip c16 | {HEAD}", "architecture text, part 1 (input): ends where the macro's name is expected"),
    (
        f"m | {STEM} | skip c16 | {HEAD}",
        "architecture text, part 1 (input): ends where <channels>x<size>x<size> is expected",
    ),
    (
        f"m 3x32x31 10 | {STEM} | skip c16 | {HEAD}",
        "architecture text, part 1 (input): '3x32x31' is not <channels>x<size>x<size> with a square size",
    ),
    (
        f"m 0x32x32 10 | {STEM} | skip c16 | {HEAD}",
        "architecture text, part 1 (input): '0x32x32' is not <channels>x<size>x<size> with a square size",
    ),
    (
        f"m 3x032x032 10 | {STEM} | skip c16 | {HEAD}",
        "architecture text, part 1 (input): '3x032x032' is not <channels>x<size>x<size> with a square size",
    ),
    (f"m 3x32x32 ten | {STEM} | skip c16 | {HEAD}", "architecture text, part 1 (input): 'ten' is not <classes>"),
    (f"m 3x32x32 010 | {STEM} | skip c16 | {HEAD}", "architecture text, part 1 (input): '010' is not <classes>"),
    (f"m 3x32x32 ١٠ | {STEM} | skip c16 | {HEAD}", "architecture text, part 1 (input): '١٠' is not <classes>"),
    (
        f"{INPUT} rgb | {STEM} | skip c16 | {HEAD}",
        "architecture text, part 1 (input): 'rgb' is unknown or out of place",
    ),
    (f"{INPUT} | c16 s1 relu | skip c16 | {HEAD}", "architecture text, part 2 (stem): does not begin with 'stem'"),
    (
        f"{INPUT} | stem c16 | skip c16 | {HEAD}",
        "architecture text, part 2 (stem): ends where s<stride> is expected",
    ),
    (
        f"{INPUT} | stem c16 s1 gelu | skip c16 | {HEAD}",
        "architecture text, part 2 (stem): 'gelu' is not an activation; known are relu, relu6, hardswish, elu, none",
    ),
    (f"{INPUT} | stem c16 s3 relu | skip c16 | {HEAD}", "stem.stride: 3 must be 1 or 2"),
    (with_block(""), "architecture text, part 4 (block 1): ends where an operator is expected"),
    (with_block("skip"), "architecture text, part 4 (block 1): ends where c<channels> is expected"),
    (with_block("skip c16 s1"), "architecture text, part 4 (block 1): 's1' is not an activation"),
    (with_block("skip c16 relu res"), "architecture text, part 4 (block 1): 'res' is unknown or out of place"),
    (with_block("dw_k3 e24 s1 c16 relu"), "architecture text, part 4 (block 1): 's1' is not c<channels>"),
    (with_block("dw_k3 e0 c16 s1 relu"), "architecture text, part 4 (block 1): 'e0' is not c<channels>"),
    (with_block("dw_k3 e24 c16 s1"), "architecture text, part 4 (block 1): ends where an activation is expected"),
    (with_block("dw_k3 e24 c16 s+1 relu"), "architecture text, part 4 (block 1): 's+1' is not s<stride>"),
    (
        with_block("dw_k3 e24 c16 s1 relu res se8"),
        "architecture text, part 4 (block 1): 'se8' is unknown or out of place",
    ),
    (
        with_block("dw_k3 e24 c16 s1 relu res res"),
        "architecture text, part 4 (block 1): 'res' is unknown or out of place",
    ),
    (with_block("dw_k3 e24 c16 s1 relu RES"), "architecture text, part 4 (block 1): 'RES' is unknown or out of place"),
    (
        with_block("dw_k3 e24 c16 s1 relu out-none"),
        "architecture text, part 4 (block 1): 'out-none' is not out-<activation>; known are relu, relu6, ",
    ),
    (
        with_block("dw_k3 e24 c16 s1 relu out-gelu"),
        "architecture text, part 4 (block 1): 'out-gelu' is not out-<activation>; known are relu, relu6, ",
    ),
    (
        with_block("dw_k3 e24 c16 s1 relu out-relu res"),
        "architecture text, part 4 (block 1): 'res' is unknown or out of place",
    ),
    (
        with_block("dw_k3 e24 c16 s1 relu out-relu out-relu"),
        "architecture text, part 4 (block 1): 'out-relu' is unknown or out of place",
    ),
    (
        with_block("sep_k3 c16 s1 relu out-relu"),
        "blocks[1].project_activation: 'relu', but sep_k3 replaces the whole block and has no projection",
    ),
    (with_block("skip c17"), "blocks[1].operator: skip is impossible, as 16 channels at stride 1 become 17"),
    (with_block("dw_k4 e24 c16 s1 relu"), "blocks[1].operator: 'dw_k4' is unknown; known are "),
    (with_block("dw_k3 c16 s1 relu"), "blocks[1].expanded_channels: 0, but dw_k3 is a spatial operator"),
    (f"{INPUT} | {STEM} | skip c16 | skip c16", "architecture text, part 4 (head): does not begin with 'head'"),
    (f"{INPUT} | {STEM} | skip c16 | head", "architecture text, part 4 (head): ends where an activation is expected"),
    (
        f"{INPUT} | {STEM} | skip c16 | head c0 relu",
        "architecture text, part 4 (head): 'c0' is not an activation; known are relu, relu6, hardswish, elu, none",
    ),
    (
        f"{INPUT} | {STEM} | skip c16 | {HEAD} dropout",
        "architecture text, part 4 (head): 'dropout' is unknown or out of place",
    ),
    (
        f"{INPUT} | {STEM} | skip c16 | {HEAD} | orthogonal",
        "architecture text, part 5 (head): does not begin with 'head'",
    ),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_errors_say_which_part_and_token(text: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(text)
    assert str(caught.value).startswith(message)
