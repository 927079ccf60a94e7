"""What is off the NPU: the model meets the published layers, and operators and copies are counted one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import missing
from tflite_models import Writer

from codesign.backends.ethosu.cpu import NPU_COPIES, OffNpu, off_npu, rate_of, work
from codesign.backends.ethosu.vela import Compiled, Job, compile_model
from codesign.errors import ToolError
from codesign.frontend.tflite.schema import parse_model
from codesign.target import load_target
from codesign.toolchain import require

# MobileNetV2 at 224x224, int8, CMSIS-NN on the Cortex-M55 of an Alif E8: pytorch/executorch issue 17651, 3 March 2026.
# (height and width of the output, inputs, outputs, kernel, depthwise, cycles, largest ratio to the model)
PUBLISHED = [
    (112, 3, 32, 3, False, 13_754_047, 1.53),
    (112, 32, 32, 3, True, 13_715_766, 1.01),
    (112, 32, 16, 1, False, 4_915_937, 1.05),
    (112, 16, 96, 1, False, 24_249_462, 1.05),
    (56, 96, 96, 3, True, 10_286_711, 1.01),
    (56, 96, 24, 1, False, 2_791_555, 1.05),
    (56, 24, 144, 1, False, 10_329_014, 1.05),
    (56, 144, 144, 3, True, 15_319_785, 1.01),
]


def layer(size: int, inputs: int, outputs: int, kernel: int, depthwise: bool) -> bytes:
    w = Writer()
    shape = [1, kernel, kernel, outputs] if depthwise else [outputs, kernel, kernel, inputs]
    x, y = w.input([1, size, size, inputs]), w.tensor([1, size, size, outputs])
    weights = w.tensor(shape, data=np.ones(shape, np.int8))
    if depthwise:
        w.op("DEPTHWISE_CONV_2D", [x, weights], [y], "DepthwiseConv2DOptions", strideH=1, strideW=1, depthMultiplier=1)
    else:
        w.op("CONV_2D", [x, weights], [y], "Conv2DOptions", strideH=1, strideW=1)
    return w.model(y)


@pytest.mark.parametrize(("size", "inputs", "outputs", "kernel", "depthwise", "cycles", "ratio"), PUBLISHED)
def test_published_layers(
    size: int, inputs: int, outputs: int, kernel: int, depthwise: bool, cycles: int, ratio: float
) -> None:
    model = parse_model(layer(size, inputs, outputs, kernel, depthwise))
    op = model.operators[0]
    macs = size * size * outputs * kernel * kernel * (1 if depthwise else inputs)
    assert work(op, model) == macs
    rate = rate_of(op, model)
    predicted = (rate.per_mac * macs + rate.per_value * size * size * outputs) / 100
    assert 1 / ratio < cycles / predicted < ratio


def mixed() -> bytes:
    """RELU, SQRT (not for the NPU), TRANSPOSE, RESHAPE, DEQUANTIZE, RESHAPE of floats."""
    w = Writer()
    x, relu, root = (
        w.input([1, 8, 8, 4]),
        w.tensor([1, 8, 8, 4], name="net/relu"),
        w.tensor([1, 8, 8, 4], name="net/root"),
    )
    turned, flat = w.tensor([1, 4, 8, 8], name="net/turned;net/other"), w.tensor([1, 256], name="net/flat")
    real, rows = (w.tensor(s, None, kind="float32", name=n) for s, n in (([1, 256], "net/real"), ([64, 4], "net/rows")))
    w.op("RELU", [x], [relu])
    w.op("SQRT", [relu], [root])
    w.op("TRANSPOSE", [root, w.ints([0, 3, 1, 2])], [turned], "TransposeOptions")
    w.op("RESHAPE", [turned, w.ints([1, 256])], [flat], "ReshapeOptions", newShape=[1, 256])
    w.op("DEQUANTIZE", [flat], [real], "DequantizeOptions")
    w.op("RESHAPE", [real, w.ints([64, 4])], [rows], "ReshapeOptions", newShape=[64, 4])
    return w.model(rows)


def found(content: bytes) -> tuple[OffNpu, Compiled]:
    npu = load_target("ethos-u55-128").npu
    assert npu is not None
    try:
        require("vela")
    except ToolError as error:
        missing(str(error))
    compiled = compile_model(Job(content, npu))
    return off_npu(parse_model(content), compiled, "ethos-u55"), compiled


def test_operators_and_copies_one_by_one() -> None:
    result, compiled = found(mixed())
    assert [str(op) for op in result.operators[:2]] == [
        "net/root: SQRT runs on the CPU: 256 values, 256 bytes read, 256 written, about 23,220 cycles of a Cortex-M55 "
        "(SQRT does not run on ethos-u55)",
        "net/real: DEQUANTIZE runs on the CPU: 256 values, 256 bytes read, 1,024 written, about 2,322 cycles of a "
        "Cortex-M55 (DEQUANTIZE does not run on ethos-u55)",
    ]
    copy = result.operators[2]
    assert (copy.layer, copy.operator, copy.copy, copy.bytes_read, copy.cycles) == (
        "net/rows",
        "RESHAPE",
        True,
        1032,
        1024,
    )
    assert copy.reasons[0].startswith("net/real is float32, net/rows is float32; the NPU takes feature maps of int8")
    rows = [row for row in compiled.table("perf") if row["operator"] in NPU_COPIES]
    assert [c.cycles for c in result.copies] == [int(row["npu_cycles"]) for row in rows]
    moved = f"256 bytes read, 256 written, {result.copies[0].cycles:,} cycles of the NPU (Vela)"
    assert str(result.copies[0]) == f"net/turned: Transpose copies on the NPU: {moved}"
    assert result.cpu_cycles == 23_220 + 2_322 + 1_024
    assert result.copied_bytes == 1_024 + sum(c.bytes_written for c in result.copies)
    data: dict[str, Any] = result.to_data()
    assert [op["layer"] for op in data["cpu_operators"]] == ["net/root", "net/real", "net/rows"]
    assert data["cpu_cycles"] == result.cpu_cycles


def test_a_model_that_runs_on_the_npu_alone() -> None:
    w = Writer()
    x, y = w.input([1, 8, 8, 4]), w.tensor([1, 8, 8, 4])
    w.op("RELU", [x], [y])
    result, _ = found(w.model(y))
    assert result == OffNpu((), ())
