"""Rules and Vela agree: an operator is refused if and only if Vela does not place it on the NPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import npu_models as m
import pytest
from conftest import missing

from codesign.backends.ethosu.constraints import RULES, find_refusals, refusals, supported
from codesign.backends.ethosu.rules.base import FAMILIES, Family
from codesign.backends.ethosu.vela import Job, System, compile_models
from codesign.errors import ToolError
from codesign.frontend.tflite.schema import parse_model
from codesign.target import load_target
from codesign.toolchain import require

ON_NPU = ["CUSTOM ethos-u"]
TARGETS: dict[Family, str] = {
    "ethos-u55": "ethos-u55-128",
    "ethos-u65": "ethos-u65-256",
    "ethos-u85": "ethos-u85-256",
}
SEEDS = int(os.environ.get("CODESIGN_RANDOM_MODELS", "120"))

LIMITS: dict[str, tuple[m.Made, m.Made, str]] = {
    "depthwise stride": (
        m.conv(16, 16, stride=(3, 3), o=1, depthwise=True),
        m.conv(16, 16, stride=(4, 3), o=1, depthwise=True),
        "a stride of 4x3; the NPU takes strides of at most 3",
    ),
    "stride with padding": (
        m.conv(64, 64, stride=(5, 5)),
        m.conv(64, 64, stride=(7, 7)),
        "a stride of 7x7 with padding 2x2 and dilation 1x1; the NPU takes strides of at most 3; larger ones without "
        "padding and without dilation",
    ),
    "stride with dilation": (
        m.conv(64, 64, stride=(5, 5), same=False),
        m.conv(64, 64, stride=(5, 5), same=False, dilation=(2, 2)),
        "a stride of 5x5 with padding 0x0 and dilation 2x2; the NPU takes strides of at most 3; larger ones without "
        "padding and without dilation",
    ),
    "weight sum": (
        m.conv(2, 2, 65_536, 1, (1, 1), value=127),
        m.conv(2, 2, 65_536, 1, (1, 1), value=-128),
        "a sum of 8,388,608; the NPU takes a sum of absolute weights of at most 8,323,072 per output channel; "
        "2,130,706,432 for 16 bits on Ethos-U85",
    ),
    "weights of 16 bits": (
        m.conv(weight="uint8"),
        m.conv(weight="int16"),
        "weights of int16; the NPU takes weights of 8 bits",
    ),
    "bias": (
        m.conv(kind="int16", bias="int64", bias_value=(1 << 40) - 1),
        m.conv(kind="int16", bias="int64", bias_value=1 << 40),
        "a bias of 1,099,511,627,776; the NPU takes int64 biases below 2^40, on Ethos-U85 below 2^48",
    ),
    "average window with padding": (
        m.pool("AVERAGE_POOL_2D", 20, 20, (8, 8), (1, 1), same=True),
        m.pool("AVERAGE_POOL_2D", 20, 20, (9, 8), (1, 1), same=True),
        "9x8 with padding; the NPU takes with padding a window of at most 8x8, else at most 256 rows and 65,536 values",
    ),
    "window": (
        m.pool("MAX_POOL_2D", 256, 2, (256, 2), (1, 1)),
        m.pool("MAX_POOL_2D", 257, 2, (257, 2), (1, 1)),
        "257x2; the NPU takes a window of at most 256 rows and 65,536 values",
    ),
    "softmax rows": (
        m.values("SOFTMAX", [65_536, 2]),
        m.values("SOFTMAX", [65_537, 2]),
        "65,537 rows; the NPU takes at most 65,536 rows in an image",
    ),
    "mean over channels": (
        m.mean([1, 4, 1, 8], [3]),
        m.mean([1, 4, 4, 8], [3]),
        "1x4x4x8; the NPU takes a mean over the channels only where height, width or channels are 1",
    ),
    "mean axis": (
        m.mean([1, 4096, 1, 2], [1]),
        m.mean([1, 4097, 1, 2], [1]),
        "4,097 values; the NPU takes at most 4,096 values along an axis that is reduced",
    ),
    "mean of 16 bits": (
        m.mean([1, 256, 256, 1], [1, 2], "int16"),
        m.mean([1, 256, 257, 1], [1, 2], "int16"),
        "65,792 values of int16; the NPU takes means of at most 16,777,216 values of int8, 8,388,608 of uint8, "
        "65,536 of int16",
    ),
    "batch of a mean": (
        m.mean([1, 4, 4, 8], [1, 2]),
        m.mean([2, 4, 4, 8], [1, 2]),
        "a batch of 2; the NPU takes a batch of one: the fourth axis from the end",
    ),
    "argmax": (
        m.argmax([1, 4, 127], 2),
        m.argmax([1, 4, 128], 2),
        "128 values; the NPU takes at most 127 values along the axis",
    ),
    "transpose": (
        m.transpose([2, 256, 256, 2], [3, 1, 2, 0]),
        m.transpose([2, 257, 256, 2], [3, 1, 2, 0]),
        "2x257x256x2 in the order (3, 1, 2, 0); the NPU takes 8 and 16 bits: H, W and C of at most 65,536, or the "
        "product of all axes but any two",
    ),
    "slice": (
        m.strided([1, 4, 4, 8], [0, 0, 0, 0], [1, 2, 2, 1]),
        m.strided([1, 4, 4, 8], [0, 0, 0, 0], [1, 1, 1, 2]),
        "steps of [1, 1, 1, 2]; the NPU takes steps of 1, over height and width of any positive size",
    ),
    "resize": (
        m.resize("RESIZE_NEAREST_NEIGHBOR", (4, 4), (16, 16)),
        m.resize("RESIZE_NEAREST_NEIGHBOR", (4, 4), (12, 12)),
        "factors of 3 and 3; the NPU takes factors of 2, 4 or 8, the same in height and width unless an axis stays "
        "one pixel",
    ),
    "quantisations": (
        m.pair("MAXIMUM", [1, 8], [1, 8]),
        m.pair("MAXIMUM", [1, 8], [1, 8], scales=(0.05, 0.07, 0.05)),
        "scale 0.05 with zero point 0, scale 0.07 with zero point 0; the NPU takes one scale and zero point for both "
        "inputs and the output",
    ),
    "no quantisation": (
        m.values("RELU", [1, 8]),
        m.values("RELU", [1, 8], scale=None),
        "t0 has no scale; the NPU takes tensors with a scale and a zero point",
    ),
    "float": (
        m.values("QUANTIZE", [1, 8]),
        m.values("QUANTIZE", [1, 8], "float32", "int8"),
        "t0 is float32; the NPU takes feature maps of int8, uint8, int16, int32 or int64, on Ethos-U85 also bool",
    ),
    "32 bits": (
        m.pair("MAXIMUM", [1, 8], [1, 8], "int16"),
        m.pair("MAXIMUM", [1, 8], [1, 8], "int32"),
        "t0 is int32, t1 is int32, t2 is int32; the NPU takes feature maps of 8 or 16 bits for this operator",
    ),
    "size that is not fixed": (
        m.values("RELU", [1, 4, 8], free=0),
        m.values("RELU", [1, 4, 8], free=1),
        "t0 has the shape 1x?x8, t1 has the shape 1x?x8; the NPU takes a size that is not fixed on the first axis only",
    ),
    "scalar": (
        m.pair("ADD", [1, 8], [1]),
        m.pair("ADD", [1, 8], []),
        "t1 is a scalar; the NPU takes feature maps with at least one axis",
    ),
    "computed weights": (
        m.dense(computed=True, bias=""),
        m.dense(computed=True, bias="", kind="int16"),
        "t1 is computed, t0 is int16; the NPU takes with computed weights: an int8 input, at most 65,536 inputs and "
        "outputs",
    ),
    "unknown operator": (
        m.values("TANH", [1, 8]),
        m.values("SQRT", [1, 8]),
        "SQRT does not run on ethos-u55",
    ),
}
"""What the Ethos-U55 takes, what is just beyond, and what is said of it."""


def placed(models: Sequence[m.Made], families: Sequence[Family] = FAMILIES) -> list[list[Any]]:
    """For every model and family the operators that Vela leaves; the error when it stops."""
    try:
        require("vela")
    except ToolError as error:
        missing(str(error))
    systems: dict[Family, System] = {}
    for family in families:
        npu = load_target(TARGETS[family]).npu
        assert npu is not None
        systems[family] = npu
    made = compile_models([Job(content, systems[f]) for _, content in models for f in families], time_limit_s=300)
    names = [[o.name for o in parse_model(r.model).operators] if not isinstance(r, ToolError) else str(r) for r in made]
    return [names[i : i + len(families)] for i in range(0, len(names), len(families))]


def disagreements(models: Sequence[m.Made]) -> list[str]:
    found = []
    for (text, content), row in zip(models, placed(models), strict=True):
        model = parse_model(content)
        for family, left in zip(FAMILIES, row, strict=True):
            said = refusals(model.operators[0], model, family)
            if (left == ON_NPU) != (not said):
                found.append(f"{family}: {text}: Vela {left}, rules {said}")
    return found


def test_limits_are_where_vela_has_them() -> None:
    assert disagreements([made for case in LIMITS.values() for made in case[:2]]) == []


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_said_beyond_a_limit(name: str) -> None:
    within, beyond, message = (LIMITS[name][0], LIMITS[name][1], LIMITS[name][2])
    assert refusals(parse_model(within[1]).operators[0], parse_model(within[1]), "ethos-u55") == []
    assert message in refusals(parse_model(beyond[1]).operators[0], parse_model(beyond[1]), "ethos-u55")


def test_random_operators_are_placed_as_the_rules_say() -> None:
    assert disagreements([m.random_model(seed) for seed in range(SEEDS)]) == []


def test_the_operators_are_those_of_vela() -> None:
    try:
        from ethosu import regor
    except ImportError:
        missing("vela")
    known: dict[Family, str] = {"ethos-u55": "EthosU55", "ethos-u65": "EthosU65", "ethos-u85": "EthosU85"}
    for family, name in known.items():
        theirs = {"ARG_MAX" if op == "ARGMAX" else op for op in regor.tflite_operator_constraints(name)}
        assert set(supported(family)) == theirs


def test_an_operator_of_another_family() -> None:
    model = parse_model(m.pair("ADD", [1, 8], [1, 8])[1])
    op = replace(model.operators[0], name="LESS")
    assert [str(r) for r in find_refusals(op, model, "ethos-u65")] == [
        "LESS does not run on ethos-u65; the NPU takes it on ethos-u85"
    ]


def test_every_rule_says_what_is_allowed() -> None:
    assert all(rule.allowed and not rule.allowed.endswith(".") for rule in RULES)
