"""Equal weights with unequal biases: what Vela 5.2 makes of them, and that such layers are refused."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from tflite_models import Writer

from codesign.backends.ethosu.audit import audit
from codesign.backends.ethosu.product import source
from codesign.backends.ethosu.twins import packed_of, twins
from codesign.backends.ethosu.vela import Job, compile_model
from codesign.errors import UnsupportedError
from codesign.frontend.tflite.importer import import_parsed
from codesign.frontend.tflite.schema import parse_model
from codesign.target import load_target
from codesign.testing.cases import CASES

Operator = Literal["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]
CHANNELS = 4
_OPTIONS = {
    "CONV_2D": ("Conv2DOptions", {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}),
    "DEPTHWISE_CONV_2D": (
        "DepthwiseConv2DOptions",
        {"strideH": 1, "strideW": 1, "depthMultiplier": 1, "dilationHFactor": 1, "dilationWFactor": 1},
    ),
    "FULLY_CONNECTED": ("FullyConnectedOptions", {}),
}


def pair(op: Operator, biases: tuple[int, int], scales: tuple[float, float] = (1.0, 1.0)) -> bytes:
    """Two layers of equal weights on one input, and their sum."""
    w = Writer()
    dense = op == "FULLY_CONNECTED"
    image = (1, CHANNELS) if dense else (1, 6, 5, CHANNELS)
    x = w.input(image, 1.0)
    rng = np.random.default_rng(1)
    shape = {"CONV_2D": (CHANNELS, 1, 1, CHANNELS), "DEPTHWISE_CONV_2D": (1, 1, 1, CHANNELS)}.get(op, (CHANNELS,) * 2)
    weights = rng.integers(-100, 100, shape).astype(np.int8)
    sums = []
    for number, (bias, scale) in enumerate(zip(biases, scales, strict=True)):
        given = w.tensor(shape, 0.01, name=f"w{number}", data=weights)
        data = np.arange(CHANNELS, dtype=np.int32) + bias
        added = w.tensor((CHANNELS,), 0.01, kind="int32", name=f"b{number}", data=data)
        y = w.tensor(image, scale, name=f"y{number}")
        table, options = _OPTIONS[op]
        w.op(op, [x, given, added], [y], table, **options)
        sums.append(y)
    total = w.tensor(image, 1.0, name="total")
    w.op("ADD", sums, [total], "AddOptions")
    return w.model(total)


@pytest.mark.parametrize("accelerator", ["ethos-u55-128", "ethos-u65-256", "ethos-u85-256"])
@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_vela_gives_both_the_biases_of_one(op: Operator, accelerator: str) -> None:
    """Should this fail with a newer Vela, the refusal can go."""
    content = pair(op, (0, 100))
    model = parse_model(content)
    system = load_target(accelerator).npu
    assert system is not None
    found = audit(compile_model(Job(content, system)), model, import_parsed(model, "pair"))
    assert any("biases differ" in text for text in found.differences)
    (refusal,) = twins(packed_of(model, ["y0", "y1", "total"]))
    assert str(refusal) == (
        "y1: weights and scales equal to those of y0, but other biases: Vela 5.2 gives both the same; "
        "allowed: weights or scales that differ; try: an FPGA target"
    )


@pytest.mark.parametrize(("biases", "scales"), [((0, 100), (1.0, 0.7)), ((7, 7), (1.0, 1.0))])
def test_other_scales_or_the_same_biases_are_exact(biases: tuple[int, int], scales: tuple[float, float]) -> None:
    content = pair("CONV_2D", biases, scales)
    model = parse_model(content)
    system = load_target("ethos-u55-128").npu
    assert system is not None
    assert twins(packed_of(model, ["y0", "y1", "total"])) == []
    assert not audit(compile_model(Job(content, system)), model, import_parsed(model, "pair")).differences


def test_neither_format_is_handed_to_vela() -> None:
    with pytest.raises(UnsupportedError, match=r"^threshold2: weights and scales equal to those of threshold1, "):
        source(CASES["add_bipolar"](), "ethos-u55")
