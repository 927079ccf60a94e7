"""What the importer says about operators and tensors of TFLite files that it cannot take, word by word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_tflite_errors import CONVERT, POOL, file_error
from tflite_models import Writer

from codesign.errors import UnsupportedError


def one(op: str, x: dict[str, Any], y: dict[str, Any], *constants: Any, table: str = "", **options: Any) -> Any:
    """A model of one operator; `x` and `y` change the tensors, constants are int32."""

    def make(w: Writer) -> bytes:
        a = w.input(**{"shape": (1, 4, 4, 2), "name": "x"} | x)
        b = w.tensor(**{"shape": (1, 4, 4, 2), "name": "y"} | y)
        w.op(op, [a, *(w.ints(c) for c in constants)], [b], table, **options)
        return w.model(b)

    return make


Fields = dict[str, Any] | None


def weighted(op: str = "CONV_2D", weight: Fields = None, bias: Fields = None, **o: Any) -> Any:
    """A convolution whose weight, bias or options are changed."""

    def make(w: Writer) -> bytes:
        x, y = w.input((1, 4, 4, 2), name="x"), w.tensor((1, 4, 4, 3), 0.5, name="y")
        defaults: dict[str, Any] = {"shape": (3, 1, 1, 2), "scale": 0.1, "data": np.ones((3, 1, 1, 2)), "name": "w"}
        inputs = [x, w.tensor(**defaults | (weight or {}))]
        defaults = {"shape": (3,), "scale": 0.005, "kind": "int32", "data": np.ones(3), "name": "b"}
        inputs.append(w.tensor(**defaults | (bias or {})))
        w.op(op, inputs, [y], "Conv2DOptions", **{"strideH": 1, "strideW": 1} | o)
        return w.model(y)

    return make


BAD: dict[str, tuple[Any, str]] = {
    "no scale": (
        one("RELU", {"scale": None}, {}),
        "input x: the tensor 'x' of type int8 without quantisation; allowed: a scale and a zero point",
    ),
    "scale per channel": (
        one("RELU", {}, {"scale": [0.1, 0.2]}),
        "y: the tensor 'y' with 2 scales and 2 zero points; allowed: one scale and one zero point for an activation",
    ),
    "zero points": (
        one("RELU", {}, {"zero": [1, 2]}),
        "y: the tensor 'y' with 1 scales and 2 zero points; allowed: one scale and one zero point for an activation",
    ),
    "scale of nan": (
        one("RELU", {}, {"scale": np.nan}), "y: the tensor 'y' with the scale nan; allowed: a finite scale above 0"
    ),
    "zero point": (
        one("RELU", {}, {"zero": 300}), "y: the tensor 'y' with the zero point 300; allowed: -128 to 127"
    ),
    "int16 with a zero point": (
        one("QUANTIZE", {"kind": "int16", "zero": 0}, {"kind": "int16", "zero": 3}),
        "y: the tensor 'y' with the zero point 3; allowed: 0",
    ),
    "weight scales": (
        weighted(weight={"scale": [0.1, 0.2]}),
        "y: the weight 'w' with 2 scales and 2 zero points; allowed: 1 or 3 of each, one for each output",
    ),
    "weight axis": (
        weighted(weight={"scale": [0.1, 0.2, 0.3], "axis": 3}),
        "y: the weight 'w' with scales along axis 3; allowed: axis 0, the outputs",
    ),
    "weight zero point": (
        weighted(weight={"zero": 5}), "y: the weight 'w' with the zero point 5; allowed: zero points of 0"
    ),
    "weight scale": (
        weighted(weight={"scale": -1.0}), "y: the weight 'w' with a scale of -1; allowed: finite scales, 0 or more"
    ),
    "weight shape": (
        weighted(weight={"shape": (3, 1, 1, 3), "data": np.ones((3, 1, 1, 3))}),
        "y: a weight of shape (3, 1, 1, 3) for 2 channels; allowed: channels divisible by its last axis",
    ),
    "depthwise shape": (
        weighted("DEPTHWISE_CONV_2D"),
        "y: a weight of shape (3, 1, 1, 2) for 2 channels; allowed: (1, height, width, channels * multiplier)",
    ),
    "bias size": (
        weighted(bias={"shape": (2,), "data": np.ones(2)}), "y: a bias of 2 elements; allowed: 3, one for each output"
    ),
    "stride": (weighted(strideH=0), "y: strides and dilations [0, 1, 1, 1]; allowed: 1 or more"),
    "result shape": (
        weighted(padding=0, strideH=2), "y: a result of shape (2, 4, 3), declared as (4, 4, 3); "
        "allowed: the shape that it computes",
    ),
    "softmax scale": (
        one("SOFTMAX", {}, {"scale": 0.1}, table="SoftmaxOptions", beta=1.0),
        "y: a SOFTMAX to scale 0.1, zero point 0; allowed: scale 1/256, zero point -128",
    ),
    "pool scale": (
        one("MAX_POOL_2D", {"scale": 0.1}, {"scale": 0.2}, table="Pool2DOptions", **POOL),
        "y: MAX_POOL_2D from scale 0.1, zero point 0 to 0.2, 0; allowed: one scale and zero point",
    ),
    "reshape": (
        one("RESHAPE", {}, {"shape": (1, 5)}, [1, 5]),
        "y: RESHAPE of (1, 4, 4, 2) to (1, 5); allowed: the same number of elements",
    ),
    "permutation": (
        one("TRANSPOSE", {}, {}, [0, 1, 1, 2]),
        "y: a permutation [0, 1, 1, 2]; allowed: every axis of (1, 4, 4, 2) once"
    ),
    "axis": (
        one("MEAN", {}, {"shape": (1, 4, 4)}, [7], table="ReducerOptions"),
        "y: axis 7 of shape (1, 4, 4, 2); allowed: -4 to 3",
    ),
    "slice": (
        one("SLICE", {}, {}, [0, 0, 3, 0], [1, 4, 4, 2]), "y: SLICE of elements 3 to 6 of 4; allowed: some, within it"
    ),
    "missing input": (
        one("PAD", {}, {}), "y: PAD without input 1; allowed: at least 2 inputs"
    ),
    "missing constant": (
        one("PAD", {}, {}, [1, 2]), "y: the padding of shape (2,) and type int32; allowed: 8 integers"
    ),
    "logistic of int16": (
        one("LOGISTIC", {"kind": "int16"}, {"kind": "int16"}),
        "y: LOGISTIC of int16 to the scale 0.05; allowed: 1/32768, the only one of its kernel",
    ),
}  # fmt: skip

UNSUPPORTED: dict[str, tuple[Any, str]] = {
    "int32": (
        one("MAX_POOL_2D", {"kind": "int32"}, {}, table="Pool2DOptions", **POOL),
        "input x: the tensor 'x' of type int32; allowed: int8 or int16 activations; " + CONVERT,
    ),
    "int16 weights": (
        weighted(weight={"kind": "int16"}), "y: the weight 'w' of type int16; allowed: int8"
    ),
    "computed weight": (
        weighted(weight={"data": None}), "y: the weight 'w' that is computed; allowed: a constant"
    ),
    "float bias": (
        weighted(bias={"kind": "float32"}), "y: the bias 'b' of type float32; allowed: constant int32"
    ),
    "fused tanh": (
        weighted(fusedActivationFunction=4),
        "y: the fused activation TANH; allowed: NONE, RELU, RELU_N1_TO_1 or RELU6",
    ),
    "mean of two axes apart": (
        one("MEAN", {}, {"shape": (1, 4)}, [1, 3], table="ReducerOptions"),
        "y: a MEAN over axes [0, 2] of (4, 4, 2); allowed: neighbouring axes",
    ),
    "pad channels": (
        one("PAD", {}, {"shape": (1, 4, 4, 3)}, [[0, 0], [0, 0], [0, 0], [0, 1]]),
        "y: a padding of [[0, 0], [0, 0], [0, 0], [0, 1]] around (1, 4, 4, 2); "
        "allowed: padding of height and width only",
    ),
    "slice masks": (
        one("STRIDED_SLICE", {}, {}, [0], [1], [1], table="StridedSliceOptions", ellipsisMask=1),
        "y: a STRIDED_SLICE with ellipsis_mask, new_axis_mask or offset; allowed: begin, end and shrink_axis masks",
    ),
    "softmax of int16": (
        one("SOFTMAX", {"kind": "int16"}, {"kind": "int16"}, table="SoftmaxOptions", beta=1.0),
        "y: a SOFTMAX of i16; allowed: int8",
    ),
    "hard swish of int16": (
        one("HARD_SWISH", {"kind": "int16"}, {"kind": "int16"}),
        "y: HARD_SWISH of int16 to int16; allowed: int8 to int8",
    ),
    "wider": (
        one("QUANTIZE", {}, {"kind": "int16"}), "y: a QUANTIZE of i8 to i16; allowed: a result that is no wider"
    ),
    "far larger": (
        one("RELU", {"scale": 1e6}, {"scale": 1e-6}), "y: a factor of 2^31 or more between two scales; "
        "allowed: a factor below 2^31",
    ),
    "batch moved": (
        one("TRANSPOSE", {}, {"shape": (4, 1, 4, 2)}, [1, 0, 3, 2]),
        "y: a TRANSPOSE (1, 0, 3, 2) of (1, 4, 4, 2), which moves the batch; allowed: 0 as the first axis"
    ),
    "shifted out": (
        one("RELU", {"scale": 1e6}, {"scale": 1e-2}),
        "y: values of type i8, shifted left by 27 bits; allowed: the 32 signed bits in which the reference kernel "
        "computes; try: an output scale that is not far smaller",
    ),
}  # fmt: skip


def test_real_numbers_inside_and_at_the_edges(tmp_path: Path) -> None:
    w = Writer()
    x = w.input((1, 4), None, kind="float32", name="x")
    a, b, c = w.tensor((1, 4), name="a"), w.tensor((1, 4), None, kind="float32", name="b"), w.tensor((1, 4), name="c")
    y = w.tensor((1, 4), None, kind="float32", name="y")
    w.op("QUANTIZE", [x], [a])
    w.op("DEQUANTIZE", [a], [b])
    w.op("TANH", [b], [y])
    w.op("QUANTIZE", [y], [c])
    w.op("LOGISTIC", [x], [w.tensor((1, 4), name="d")])
    integers = f"int8 or int16 activations; {CONVERT}"
    assert file_error(tmp_path, w.model(c), UnsupportedError).splitlines() == [
        "a: a QUANTIZE of the float32 tensor 'x'; allowed: integers, or a float32 input that nothing else reads",
        "b: a DEQUANTIZE inside the model, to 'b'; allowed: one whose result is only an output; "
        "try: a model that computes in integers throughout",
        f"d: LOGISTIC in float32; allowed: {integers}",
    ]


def test_power_of_two_sums_of_int16(tmp_path: Path) -> None:
    w = Writer()
    x, y = w.input((1, 4), 0.25, kind="int16"), w.tensor((1, 4), 0.5, kind="int16", name="y")
    w.op("ADD", [x, x], [y], "AddOptions")
    assert file_error(tmp_path, w.model(y), UnsupportedError) == (
        "y: ADD of int16 with power-of-two scales and pot_scale_int16; "
        "allowed: pot_scale_int16=false; try: convert again with a newer TensorFlow"
    )


def test_sums_to_a_scale_that_the_kernel_refuses(tmp_path: Path) -> None:
    w = Writer()
    x, y = w.input((1, 4), 100.0), w.tensor((1, 4), 1e-5, name="y")
    w.op("ADD", [x, x], [y], "AddOptions")
    expected = "y: ADD to the scale 1e-05; allowed: more than 0.000190735, which the kernel demands"
    assert file_error(tmp_path, w.model(y)) == expected


def test_hard_swish_to_a_scale_that_the_kernel_refuses(tmp_path: Path) -> None:
    w = Writer()
    x, y = w.input((1, 4), 1.0), w.tensor((1, 4), 0.001, name="y")
    w.op("HARD_SWISH", [x], [y])
    expected = "y: HARD_SWISH to the scale 0.001; allowed: at least 0.0078125, which the kernel demands"
    assert file_error(tmp_path, w.model(y)) == expected


def test_constants_that_differ_between_pixels(tmp_path: Path) -> None:
    w = Writer()
    x, y = w.input((1, 2, 2)), w.tensor((1, 2, 2), name="y")
    w.op("ADD", [x, w.tensor((1, 2, 2), data=np.arange(4))], [y], "AddOptions")
    expected = "y: ADD of a constant that differs between pixels; allowed: one number, or one per channel"
    assert file_error(tmp_path, w.model(y), UnsupportedError) == expected


def test_sums_beyond_32_bits(tmp_path: Path) -> None:
    w = Writer()
    x, y = w.input((1, 4)), w.tensor((1, 2), name="y")
    bias = w.tensor((2,), 0.1, kind="int32", data=np.full(2, 2**31 - 1))
    w.op("FULLY_CONNECTED", [x, w.tensor((2, 4), 0.1, data=np.ones((2, 4))), bias], [y], "FullyConnectedOptions")
    expected = "y: values of type u32; allowed: the 32 signed bits in which the reference kernel computes"
    assert file_error(tmp_path, w.model(y), UnsupportedError) == expected


@pytest.mark.parametrize("name", BAD)
def test_files_that_contradict_themselves(tmp_path: Path, name: str) -> None:
    make, expected = BAD[name]
    assert file_error(tmp_path, make(Writer())) == expected


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_supported(tmp_path: Path, name: str) -> None:
    make, expected = UNSUPPORTED[name]
    assert file_error(tmp_path, make(Writer()), UnsupportedError) == expected
