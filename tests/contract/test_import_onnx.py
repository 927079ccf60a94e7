"""ONNX constructs that Brevitas does not write: each against the exact evaluation and ONNX's own evaluator."""

from __future__ import annotations

from typing import Any

import exact_onnx
import numpy as np
import pytest
from onnx import TensorProto
from onnx_models import model, node, quant

from codesign.frontend.gap import gap, random_inputs
from codesign.frontend.imported import Imported
from codesign.frontend.onnx import convert
from codesign.frontend.reference import OnnxSource
from codesign.ir.ops import Add, ArgMax, Conv2d, Requant, Threshold

RNG = np.random.default_rng(5)


def weights(*shape: int) -> Any:
    return RNG.integers(-3, 4, shape).astype(np.float32)


def imported(layers: list[Any], **more: Any) -> Imported:
    proto = model(layers, **more)
    graph, ctx = convert(proto, "net.onnx")
    return Imported(graph, OnnxSource(proto), tuple(ctx.notes), tuple(ctx.probes))


CHANNELS = (1, 2, 1, 1)
CONSTS: dict[str, Any] = {
    "half": np.float32(0.5),
    "third": np.float32(0.37),
    "two": np.float32(2),
    "w": weights(4, 2, 3, 3),
    "square": weights(2, 2, 3, 3),
    "v": weights(32, 3),
    "dense": weights(3, 32),
    "scale_c": np.array([0.31, -0.73], dtype=np.float32).reshape(CHANNELS),
    "offset_c": np.array([0.21, -0.4], dtype=np.float32).reshape(CHANNELS),
    "act_c": np.array([0.5, 0.8], dtype=np.float32).reshape(CHANNELS),
    "zero_c": np.array([1.0, -2.0], dtype=np.float32).reshape(CHANNELS),
    "bias3": np.array([0.3, -0.2, 0.15], dtype=np.float32),
    "steps": np.array([[-4.5, -0.5, 3.0]], dtype=np.float32),
    "steps_c": np.array([[-4.5, -0.5, 3.0], [-1.0, 0.0, 0.0]], dtype=np.float32),
    "eight": np.float32(8),
    "six": np.float32(6),
    "quarter": np.float32(0.25),
    "one_bit": np.float32(1),
    "flat": np.array([1, -1]),
    "pads": np.array([0, 0, 1, 0, 0, 0, 2, 1]),
    "rows": weights(3, 4),
}

NETS: dict[str, list[Any]] = {
    "sign": [quant("x", "q"), node("Conv", "q square", "c"), node("Sign", "c", "s"), node("Conv", "s square1", "y")],
    "scale_per_channel": [quant("x", "q"), node("Conv", "q square", "c"), quant("c", "y", "act_c")],
    "negative_scale": [
        quant("x", "q"),
        node("Mul", "q scale_c", "m"),
        node("Add", "m offset_c", "a"),
        quant("a", "y", "third"),
    ],
    "pool_negative_scale": [
        quant("x", "q"),
        node("Mul", "q scale_c", "m"),
        node("MaxPool", "m", "p", kernel_shape=[2, 2]),
        quant("p", "y", "third"),
    ],
    "shared_and_negated": [
        quant("x", "q"),
        node("Conv", "q square", "c"),
        node("Mul", "c scale_c", "m"),
        quant("m", "r"),
        quant("c", "s", "two"),
        node("Concat", "r s", "y", axis=1),
    ],
    "zero_factor": [
        quant("x", "q"),
        node("Mul", "q gate", "m"),
        node("Add", "m offset_c", "a"),
        quant("a", "y", "third"),
    ],
    "subtract_from_constant": [
        quant("x", "q"),
        node("Sub", "half q", "m"),
        node("Neg", "m", "n"),
        quant("n", "y", "third"),
    ],
    "difference": [
        quant("x", "q"),
        node("Conv", "q square", "c", pads=[1, 1, 1, 1]),
        node("Sub", "c q", "d"),
        quant("d", "y", "two"),
    ],
    "pads": [quant("x", "q"), node("Pad", "q pads two", "p"), node("Conv", "p square", "c"), quant("c", "y", "two")],
    "asymmetric_pads": [
        quant("x", "q"),
        node("Conv", "q w", "c", pads=[0, 1, 2, 0], strides=[2, 1]),
        quant("c", "y", "two"),
    ],
    "same_upper": [
        quant("x", "q"),
        node("Conv", "q w", "c", auto_pad="SAME_UPPER", strides=[3, 2]),
        quant("c", "y", "two"),
    ],
    "same_lower": [
        quant("x", "q"),
        node("Conv", "q w", "c", auto_pad="SAME_LOWER", strides=[2, 2]),
        quant("c", "y", "two"),
    ],
    "padding_of_an_average": [
        quant("x", "q"),
        node("AveragePool", "q", "p", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        quant("p", "y", "third"),
    ],
    "mean": [quant("x", "q"), node("ReduceMean", "q", "m", axes=[2, 3], keepdims=0), quant("m", "y", "third")],
    "matmul": [
        quant("x", "q"),
        node("Reshape", "q flat", "f"),
        node("MatMul", "f v", "m"),
        node("Add", "m bias3", "a"),
        quant("a", "y", "two"),
    ],
    "gemm_alpha_beta": [
        quant("x", "q"),
        node("Flatten", "q", "f"),
        node("Gemm", "f dense bias3", "g", transB=1, alpha=0.5, beta=2.0),
        quant("g", "y", "two"),
    ],
    "rows": [quant("x", "q"), node("MatMul", "q rows_t", "m"), quant("m", "y", "two")],
    "floor": [quant("x", "q"), node("Conv", "q w", "c"), quant("c", "y", "two", rounding_mode="FLOOR")],
    "ceil_unsigned": [
        quant("x", "q"),
        node("Conv", "q w", "c"),
        quant("c", "y", "two", rounding_mode="CEIL", signed=0),
    ],
    "half_up_narrow": [
        quant("x", "q"),
        node("Conv", "q w", "c"),
        quant("c", "y", "two", rounding_mode="HALF_UP", narrow=1),
    ],
    "one_bit_signed": [quant("x", "q"), node("Conv", "q w", "c"), node("Quant", "c one zero one_bit", "y", signed=1)],
    "one_bit_unsigned": [quant("x", "q"), node("Conv", "q w", "c"), node("Quant", "c two zero one_bit", "y", signed=0)],
    "requantised": [quant("x", "q"), quant("q", "r", "third"), quant("r", "y", "half")],
    "exact_sum_without_quantiser": [
        quant("x", "q"),
        node("Mul", "q third", "t"),
        quant("t", "r", "half"),
        node("Add", "q r", "y"),
    ],
    "trunc_signed_floor": [
        quant("x", "q"),
        node("AveragePool", "q", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Trunc", "p quarter zero six one four", "y", rounding_mode="FLOOR", signed=1),
    ],
    "cast_identity_dropout": [
        quant("x", "q"),
        node("Cast", "q", "c", to=TensorProto.FLOAT),
        node("Identity", "c", "i"),
        node("Dropout", "i", "d"),
        quant("d", "y", "two"),
    ],
    "weights_of_a_transposed_constant": [
        quant("x", "q"),
        node("Flatten", "q", "f"),
        quant("dense", "d"),
        node("Transpose", "d", "t", perm=[1, 0]),
        node("MatMul", "f t", "y"),
    ],
}
CONSTS |= {
    "square1": weights(2, 2, 1, 1),
    "gate": np.array([0.0, 0.4], dtype=np.float32).reshape(CHANNELS),
    "rows_t": weights(4, 3),
}


@pytest.mark.parametrize("name", NETS)
def test_golden_equals_the_exact_evaluation(name: str) -> None:
    net = imported(NETS[name], **CONSTS)
    inputs = random_inputs(net.graph, 6)
    tensors = exact_onnx.run(model(NETS[name], **CONSTS), *(exact_onnx.exact(x) for x in inputs))
    feeds = net.graph.quantise_inputs(*inputs)
    (real,) = net.graph.dequantise_outputs(net.graph.evaluate(*feeds))
    expected = tensors["y"].astype(np.float64)
    np.testing.assert_allclose(real.reshape(expected.shape), expected, rtol=1e-9, atol=1e-9)
    golden = net.graph.evaluate_all(*feeds)
    assert net.probes
    for probe in net.probes:
        flat = tensors[probe.tensor].reshape(len(inputs[0]), -1)
        ordered = np.empty_like(flat)
        ordered[:, probe.layout.reshape(-1)] = flat
        integers = (ordered.reshape(-1, *net.graph.type(probe.node).shape) - probe.b) / probe.a
        assert (integers == golden[probe.node]).all(), probe.layer


@pytest.mark.parametrize("name", NETS)
def test_onnx_evaluator_agrees(name: str) -> None:
    rows = gap(imported(NETS[name], **CONSTS), count=8)
    # The evaluator computes in float32, so that a tie of an inexact scale may fall on either side.
    assert all(row.mismatch_rate <= 0.02 and row.max_diff <= 1 for row in rows), rows


def test_a_decreasing_channel_of_a_private_convolution_negates_its_weights() -> None:
    layers = [quant("x", "q"), node("Conv", "q square", "c"), node("Mul", "c scale_c", "m"), quant("m", "y")]
    graph = imported(layers, **CONSTS).graph
    assert [type(n.op) for n in graph] == [Conv2d, Requant]
    sign = np.array([1, -1]).reshape(2, 1, 1, 1)
    assert (graph.consts["c.weight"].value == CONSTS["square"].transpose(0, 2, 3, 1) * sign).all()


def test_a_decreasing_channel_of_a_shared_convolution_gets_a_depthwise_negation() -> None:
    graph = imported(NETS["shared_and_negated"], **CONSTS).graph
    (helper,) = (n for n in graph if n.name == "r.negate")
    assert isinstance(helper.op, Conv2d)
    assert graph.consts["r.negate.weight"].value.reshape(-1).tolist() == [1, -1]
    assert (graph.consts["c.weight"].value == CONSTS["square"].transpose(0, 2, 3, 1)).all()


def test_a_quantiser_that_changes_nothing_costs_nothing() -> None:
    layers = [quant("x", "q"), quant("q", "r"), node("MaxPool", "r", "p", kernel_shape=[2, 2]), quant("p", "y")]
    graph = imported(layers).graph
    assert [n.name for n in graph] == ["p"]


def test_equal_scales_are_added_without_rescaling() -> None:
    layers = [
        quant("x", "q"),
        node("Conv", "q square", "c", pads=[1, 1, 1, 1]),
        quant("c", "r"),
        node("Add", "q r", "y"),
    ]
    graph = imported(layers, **CONSTS).graph
    assert [type(n.op) for n in graph] == [Conv2d, Requant, Add]


def test_integer_inputs_are_taken_as_they_are() -> None:
    layers = [
        node("Cast", "x", "f", to=1),
        node("Div", "f scale", "d"),
        node("Sub", "d half", "s"),
        quant("s", "y", "third"),
    ]
    net = imported(layers, elem=TensorProto.UINT8, scale=np.float32(255), **CONSTS)
    assert str(net.graph.type("x")) == "u8[4,4,2]"
    assert isinstance(net.graph.nodes[0].op, (Requant, Threshold))
    pixels = np.arange(256).astype(np.float32).reshape(8, 2, 4, 4)
    tensors = exact_onnx.run(model(layers, scale=np.float32(255), **CONSTS), exact_onnx.exact(pixels))
    (y,) = net.graph.evaluate(*net.graph.quantise_inputs(pixels.astype(np.int64)))
    assert (y.transpose(0, 3, 1, 2) == tensors["y"] / exact_onnx.exact(CONSTS["third"])).all()


def test_arithmetic_before_the_input_quantiser_becomes_its_meaning() -> None:
    layers = [node("Mul", "x two", "m"), node("Sub", "m one", "s"), quant("s", "y", "quarter")]
    net = imported(layers, **CONSTS)
    quantiser = net.graph.type("x").quant
    assert quantiser is not None
    assert (quantiser.scale, quantiser.zero_point) == ((0.125,), (-4.0,))
    x = np.linspace(-1, 2, 64).reshape(2, 2, 4, 4)
    expected = np.clip(np.rint((2 * x - 1) / 0.25), -8, 7)
    feeds = net.graph.quantise_inputs(x)
    assert (feeds[0].transpose(0, 3, 1, 2) == expected).all()
    assert (net.graph.dequantise_outputs(net.graph.evaluate(*feeds))[0] == expected / 4).all()


def test_a_bipolar_input_with_an_offset() -> None:
    layers = [node("Sub", "x third", "m"), node("BipolarQuant", "m two", "y")]
    net = imported(layers, **CONSTS)
    x = np.linspace(-1, 2, 64).reshape(2, 2, 4, 4)
    assert (net.graph.quantise_inputs(x)[0].transpose(0, 3, 1, 2) == np.where(x >= np.float32(0.37), 1, -1)).all()
    (real,) = net.source.evaluate(x) if net.source else ()
    assert (np.abs(real) == 2).all()


def test_channels_last_models_keep_their_axes() -> None:
    layers = [
        quant("x", "q"),
        node("Transpose", "q", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t w", "c"),
        quant("c", "r", "two"),
        node("Transpose", "r", "y", perm=[0, 2, 3, 1]),
    ]
    net = imported(layers, shape=(1, 6, 5, 2), **CONSTS)
    assert net.graph.type("x").shape == (6, 5, 2)
    assert net.graph.inputs[0].source_axes == ()
    assert net.graph.outputs[0].source_axes == ()
    assert [type(n.op) for n in net.graph] == [Conv2d, Requant]
    assert all(row.mismatches == 0 for row in gap(net, count=4))


@pytest.mark.parametrize("op", ["ArgMax", "TopK"])
@pytest.mark.parametrize(("scale", "bias"), [("one", "bias3"), ("per_class", "bias8")])
def test_the_chosen_class_is_exact(op: str, scale: str, bias: str) -> None:
    last = [node("ArgMax", "a", "y", axis=1)]
    if op == "TopK":
        last = [node("TopK", "a k", "values", axis=-1)]
        last[0].output.append("y")
    layers = [
        quant("x", "q"),
        node("Flatten", "q", "f"),
        node("MatMul", "f v", "m"),
        node("Mul", f"m {scale}", "n"),
        node("Add", f"n {bias}", "a"),
        *last,
    ]
    consts = CONSTS | {
        "k": np.array([1]),
        "per_class": np.array([0.5, 0.75, 1.25], dtype=np.float32),
        "bias8": np.array([0.25, -0.125, 0.5], dtype=np.float32),
    }
    net = imported(layers, **consts)
    assert isinstance(net.graph.nodes[-1].op, ArgMax)
    x = random_inputs(net.graph, 200)
    tensors = exact_onnx.run(model(layers[:-1], output="a", **consts), exact_onnx.exact(x[0]))
    (y,) = net.graph.evaluate(*net.graph.quantise_inputs(*x))
    assert y.reshape(-1).tolist() == [max(range(3), key=lambda i: row[i]) for row in tensors["a"]]


def test_finns_thresholds_per_channel_and_with_an_offset() -> None:
    layers = [
        quant("x", "q"),
        node("Conv", "q square", "c"),
        node("MultiThreshold", "c steps_c", "t", out_scale=0.5, out_bias=-1.0, out_dtype="INT3"),
        node("Conv", "t square1", "y"),
    ]
    for layer in layers:
        if layer.op_type == "MultiThreshold":
            layer.domain = "finn.custom_op.general"
    net = imported(layers, **CONSTS)
    assert all(row.mismatches == 0 for row in gap(net, count=16))
    assert net.graph.consts["t.levels"].value.tolist()[1][-2:] == [0, 0]


def test_ceil_mode_pools_the_rest_of_the_image() -> None:
    layers = [quant("x", "q"), node("MaxPool", "q", "y", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)]
    net = imported(layers, shape=(1, 2, 5, 7))
    assert net.graph.type("y").shape == (3, 4, 2)
    assert all(row.mismatches == 0 for row in gap(net, count=8))


def test_a_rounded_sum_is_reported() -> None:
    layers = [
        quant("x", "q", "a"),
        node("Conv", "q square", "c", pads=[1, 1, 1, 1]),
        quant("c", "r", "b", "eight"),
        node("Add", "q r", "y"),
    ]
    consts = CONSTS | {"a": np.float32(0.1234567), "b": np.float32(0.7654321)}
    net = imported(layers, **consts)
    (note,) = net.notes
    assert note.startswith("y: the ratio of two scales was rounded to integers, by at most ")
    assert float(note.split()[-3]) < 1e-12
    assert all(row.mismatches == 0 for row in gap(net, count=8)[:-1])


def test_a_scale_per_channel_may_enter_a_depthwise_convolution() -> None:
    layers = [
        quant("x", "q"),
        node("Mul", "q scale_c", "m"),
        node("Conv", "m deep", "c", group=2),
        quant("c", "y", "half"),
    ]
    consts = CONSTS | {"deep": weights(4, 1, 2, 2)}
    net = imported(layers, **consts)
    inputs = random_inputs(net.graph, 6)
    tensors = exact_onnx.run(model(layers, **consts), *(exact_onnx.exact(x) for x in inputs))
    (y,) = net.graph.evaluate(*net.graph.quantise_inputs(*inputs))
    assert (y.transpose(0, 3, 1, 2) == tensors["y"] * 2).all()


def test_a_shape_computed_in_the_file_is_folded() -> None:
    layers = [
        quant("x", "q"),
        node("Shape", "q", "s"),
        node("Gather", "s first", "n"),
        node("Unsqueeze", "n first_axis", "u"),
        node("Concat", "u rest", "t", axis=0),
        node("Reshape", "q t", "f"),
        node("MatMul", "f v", "y"),
    ]
    more = {"first": np.array(0), "first_axis": np.array([0]), "rest": np.array([-1])}
    net = imported(layers, **CONSTS, **more)
    assert net.graph.type("y").shape == (3,)
    assert all(row.mismatches == 0 for row in gap(net, count=8))


def test_the_gap_takes_samples_in_either_order_of_axes_and_integers() -> None:
    layers = [quant("x", "q", "half"), node("Conv", "q square", "c"), quant("c", "y", "two")]
    net = imported(layers, **CONSTS)
    real = np.random.default_rng(1).normal(size=(8, 2, 4, 4)) * 3
    (integers,) = net.graph.quantise_inputs(real)
    expected = gap(net, real)
    assert [row.mismatches for row in expected] == [0, 0, 0]
    assert gap(net, real.transpose(0, 2, 3, 1)) == expected
    assert gap(net, integers) == expected
    assert [row.elements for row in gap(net, real[0])] == [32, 8, 8]
