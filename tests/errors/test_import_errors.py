"""What the importer says about models that it cannot take, word by word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import QONNX, model, node, quant

from codesign.errors import CodesignError, InputError, UnsupportedError
from codesign.frontend import gap, import_model
from codesign.frontend.onnx import HANDLERS, SUPPORTED, convert
from codesign.frontend.reference import OnnxSource

WEIGHT = np.ones((2, 2, 3, 3), dtype=np.float32)


def refusal(proto: Any, error: type[CodesignError] = UnsupportedError) -> list[str]:
    with pytest.raises(error) as caught:
        convert(proto, "net.onnx")
    assert type(caught.value) is error
    assert caught.value.exit_status == (3 if error is UnsupportedError else 2)
    return str(caught.value).split("\n")


def test_no_quantisers() -> None:
    (found,) = refusal(model([node("Relu", "x", "y")]))
    allowed = "Quant, BipolarQuant, QuantizeLinear or MultiThreshold nodes"
    hint = "train with quantised layers (brevitas.nn.QuantConv2d, QuantLinear, QuantReLU) and import that model"
    assert found == f"net.onnx: no quantisers: a floating-point model; allowed: {allowed}; try: {hint}"


@pytest.mark.parametrize(
    ("scale", "found", "allowed"),
    [
        (np.nan, "a scale of NaN or infinity", "finite scales above 0"),
        (np.inf, "a scale of NaN or infinity", "finite scales above 0"),
        (0.0, "a scale of 0.0", "scales above 0"),
        (-0.5, "a scale of -0.5", "scales above 0"),
    ],
)
def test_bad_scales(scale: float, found: str, allowed: str) -> None:
    (line,) = refusal(model([quant("x", "q"), quant("q", "y", "s")], s=np.float32(scale)), InputError)
    assert line == f"y: {found}; allowed: {allowed}; try: look for a layer that was never calibrated"


def test_bad_weights() -> None:
    w = np.full((2, 2, 3, 3), np.nan, dtype=np.float32)
    (line,) = refusal(model([quant("x", "q"), quant("w", "v"), node("Conv", "q v", "y")], w=w), InputError)
    expected = (
        "weights that hold NaN or infinity; allowed: finite values; try: look for a layer that diverged in training"
    )
    assert line == f"v: {expected}"


def test_every_unsupported_layer_is_listed_at_once() -> None:
    layers = [
        quant("x", "q"),
        node("Sigmoid", "q", "s"),
        node("Conv", "s w", "c"),
        quant("c", "d"),
        node("Elu", "d", "e"),
        node("MaxPool", "e", "p", kernel_shape=[2, 2], strides=[2, 2], dilations=[2, 2]),
        node("Softmax", "p", "y"),
    ]
    assert refusal(model(layers, w=WEIGHT * 0.3)) == [
        f"s: the operator Sigmoid; allowed: {SUPPORTED}",
        "c: weights that are not quantised; allowed: weights quantised to 1 to 8 bits; "
        "try: QuantConv2d or QuantLinear with a weight_quant, or a Quant node",
        f"e: the operator Elu; allowed: {SUPPORTED}",
        "p: a pooling with dilation (2, 2); allowed: dilation 1",
        "y: a Softmax; allowed: logits as the output; "
        "try: remove it: the class with the largest input also has the largest output",
    ]


def test_the_named_operators_are_supported() -> None:
    named = SUPPORTED.removesuffix(" and the quantisers").replace(" and", ",").split(", ")
    assert len(named) > 20
    assert set(named) <= set(HANDLERS)


def test_an_unknown_custom_operator() -> None:
    custom = helper.make_node("Magic", ["q"], ["y"], name="/block/Magic", domain="com.example")
    (line,) = refusal(model([quant("x", "q"), custom]))
    assert line == f"block: the operator Magic of com.example; allowed: {SUPPORTED}"


HINT = "; try: a quantiser (QuantIdentity, QuantReLU) before this layer"


@pytest.mark.parametrize(
    ("layers", "line"),
    [
        (
            [node("Conv", "x w", "c"), quant("c", "y")],
            "c: an input that is not quantised; allowed: a quantiser on the model's input" + HINT,
        ),
        (
            [quant("x", "q"), node("Relu", "q", "r"), node("Conv", "r w", "y")],
            "y: a ReLU or Clip without a quantiser before this layer; allowed: a quantised activation" + HINT,
        ),
        (
            [quant("x", "q"), node("Mul", "q per_channel", "m"), node("Conv", "m w", "y")],
            "y: an input with a scale per channel; allowed: one scale for the tensor" + HINT,
        ),
        (
            [quant("x", "q"), node("Mul", "q q", "y")],
            "y: Mul of two computed tensors; allowed: Mul by a constant",
        ),
        (
            [quant("x", "q"), quant("q", "y", bits="wide")],
            "y: an activation of 20 bits; allowed: 1 to 16 bits; try: a narrower quantiser",
        ),
        (
            [quant("x", "q"), quant("w", "v", bits="ten"), node("Conv", "q v", "y")],
            "y: weights of 10 bits; allowed: 1 to 8 bits; try: a narrower weight quantiser",
        ),
        (
            [quant("x", "q"), node("Add", "q half", "h"), node("Conv", "h w", "y", pads=[1, 1, 1, 1])],
            "y: padding of an input that has no integer for 0; allowed: an integer zero point, one for the tensor",
        ),
        (
            [quant("x", "q"), node("Relu", "q", "y")],
            "output y: an output that is clipped but not quantised; allowed: a quantised output; "
            "try: a QuantReLU, or the output without the ReLU or Clip",
        ),
        (
            [quant("x", "q"), node("AveragePool", "q", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
            "y: an average that leaves out the padding; allowed: no padding, or count_include_pad=1",
        ),
        (
            [quant("x", "q"), quant("x", "r", "half"), node("Add", "q r", "y")],
            "r: an input with two different quantisers; allowed: one quantiser for each input; "
            "try: share the quantiser",
        ),
        (
            [quant("x", "q", rounding_mode="FLOOR"), node("Conv", "q w", "y")],
            "q: an input quantiser that does not round to nearest, ties to even; "
            "allowed: a Quant node with rounding_mode ROUND; try: declare the input as integers (uint8)",
        ),
        (
            [quant("x", "q"), quant("q", "y", rounding_mode="STOCHASTIC")],
            "y: the rounding mode STOCHASTIC; "
            "allowed: ROUND, HALF_EVEN, FLOOR, CEIL, UP, DOWN, ROUND_TO_ZERO, HALF_UP, HALF_DOWN",
        ),
        (
            [quant("x", "q"), node("Transpose", "q", "y", perm=[1, 0, 2, 3])],
            "y: a Transpose by [1, 0, 2, 3]; allowed: a batch axis that stays first",
        ),
        (
            [quant("x", "q"), node("Add", "q pixels", "y")],
            "y: the addend that differs between pixels; allowed: one constant per channel",
        ),
        (
            [quant("x", "q"), node("Flatten", "q", "f"), node("TopK", "f two", "y")],
            "y: a TopK with k=2; allowed: k=1, the largest",
        ),
        (
            [quant("x", "q"), node("Conv", "q q", "y")],
            "y: weights that another layer computes; allowed: constant weights",
        ),
        (
            [
                quant("x", "q"),
                node("Cast", "q", "y", to=TensorProto.INT32),
                node("Div", "q half", "r"),
                node("Cast", "r", "z", to=6),
            ],
            "z: a Cast of real numbers to integers; allowed: a Quant or QuantizeLinear node",
        ),
    ],
)
def test_unsupported_constructs(layers: list[Any], line: str) -> None:
    consts = {
        "w": WEIGHT,
        "half": np.float32(0.5),
        "wide": np.float32(20),
        "ten": np.float32(10),
        "two": np.array([2]),
        "per_channel": np.array([1.0, 2.0], dtype=np.float32).reshape(1, 2, 1, 1),
        "pixels": np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4),
    }
    assert line in refusal(model(layers, **consts))


@pytest.mark.parametrize(
    ("layers", "line"),
    [
        (
            [quant("x", "q"), node("Relu", "lost", "y")],
            "y: reads 'lost', which nothing computes; allowed: tensors computed earlier",
        ),
        ([quant("x", "q"), node("Div", "q zero", "y")], "y: a division by zero; allowed: divisors other than 0"),
        (
            [quant("x", "q"), node("Add", "q nan", "y")],
            "y: the addend holds NaN or infinity; allowed: finite values; "
            "try: look for a layer that diverged in training",
        ),
        (
            [quant("x", "q"), node("Clip", "q four one", "y")],
            "y: a Clip from 4.0 to 1.0; allowed: min no greater than max",
        ),
        (
            [quant("x", "q"), node("BatchNormalization", "q c c c minus", "y")],
            "y: a variance that is not positive; allowed: variance + epsilon above 0",
        ),
        (
            [quant("x", "q"), node("BatchNormalization", "q one one one one", "y")],
            "y: constants of 1, 1, 1, 1 elements for 2 channels; allowed: one per channel",
        ),
        ([quant("x", "q", bits="half")], "q: a bit width of [0.5]; allowed: one integer"),
        (
            [quant("x", "q"), node("Reshape", "q target", "y")],
            "y: a Reshape of (1, 2, 4, 4) to [1, 5]; allowed: the same number of elements",
        ),
        (
            [quant("x", "q"), node("Quant", "q one", "y")],
            "y: a Quant node with 2 inputs; allowed: at least 4",
        ),
        (
            [node("MatMul", "x later", "y"), quant("y", "later")],
            "y: reads 'later', which is computed later: the nodes are not sorted, or form a cycle; "
            "allowed: nodes in the order of their computation",
        ),
        (
            [node("Quant", "x one huge four", "y")],
            "y: a zero point of 1e+38; allowed: one of at most 32 bits",
        ),
    ],
)
def test_broken_models(layers: list[Any], line: str) -> None:
    c = np.ones(2, dtype=np.float32)
    consts = {"nan": np.float32(np.nan), "c": c, "minus": -c, "half": np.float32(0.5), "target": np.array([1, 5])}
    consts["huge"] = np.float32(1e38)
    assert line in refusal(model(layers, **consts), InputError)


@pytest.mark.parametrize("place", ["scale", "zero point", "bit width"])
def test_parameters_of_a_quantiser_that_are_quantised(place: str) -> None:
    inputs = {"scale": "q p zero four", "zero point": "q one p four", "bit width": "q one zero p"}[place]
    (line,) = refusal(model([quant("one", "p"), quant("x", "q"), node("Quant", inputs, "y")]))
    what = "a bit width" if place == "bit width" else f"the {place}"
    assert line == f"y: {what} is itself quantised; allowed: a constant; try: export the model with a constant there"


@pytest.mark.parametrize(
    ("attribute", "line"),
    [
        (
            {"out_scale": 0.0},
            "an out_scale of 0; allowed: an out_scale other than 0; try: look for a layer that was never calibrated",
        ),
        (
            {"out_scale": float("nan")},
            "an out_scale of nan; allowed: a finite number; try: look for a layer that diverged in training",
        ),
        (
            {"out_bias": float("-inf")},
            "an out_bias of -inf; allowed: a finite number; try: look for a layer that diverged in training",
        ),
    ],
)
def test_bad_factors_of_thresholds(attribute: dict[str, float], line: str) -> None:
    layer = node("MultiThreshold", "q steps", "y", **attribute)
    layer.domain = "finn.custom_op.general"
    steps = np.array([[-1.5, 0.5]], dtype=np.float32)
    assert refusal(model([quant("x", "q"), layer], steps=steps), InputError) == [f"y: {line}"]


CAST = "; try: a Quant or QuantizeLinear node, which limits its values"


@pytest.mark.parametrize(
    ("to", "line"),
    [
        ("INT8", "integers from -256 to 254 in a Cast to INT8; allowed: -128 to 127" + CAST),
        ("UINT16", "integers from -256 to 254 in a Cast to UINT16; allowed: 0 to 65535" + CAST),
        ("INT4", "integers from -256 to 254 in a Cast to INT4; allowed: -8 to 7" + CAST),
        ("BOOL", "a Cast to BOOL; allowed: a type of integers or floating-point numbers"),
    ],
)
def test_casts_that_change_the_values(to: str, line: str) -> None:
    layers = [quant("x", "q", bits="eight"), node("Add", "q q", "d"), _cast("d", "y", to)]
    assert refusal(model(layers, eight=np.float32(8))) == [f"y: {line}"]


@pytest.mark.parametrize(("to", "largest"), [("FLOAT16", 2048), ("BFLOAT16", 256)])
def test_casts_to_short_floating_point_numbers(to: str, largest: int) -> None:
    allowed = f"allowed: FLOAT, or integers from -{largest} to {largest}; try: export the model in float32"
    consts = {"twelve": np.float32(12), "third": np.float32(0.3)}
    layers = [quant("x", "q", bits="twelve"), node("Add", "q q", "d"), _cast("d", "y", to)]
    assert refusal(model(layers, **consts)) == [f"y: a Cast to {to} that rounds; {allowed}"]
    layers = [quant("x", "q", "third"), _cast("q", "y", to)]
    assert refusal(model(layers, **consts)) == [f"y: a Cast to {to} that rounds; {allowed}"]
    convert(model([quant("x", "q"), _cast("q", "y", to)], **consts), "net.onnx")


def _cast(x: str, y: str, to: str) -> Any:
    return node("Cast", x, y, to=TensorProto.DataType.Value(to))


def test_dynamic_and_missing_axes() -> None:
    layers = [quant("x", "y")]
    line = "input x: an input of shape ({}); allowed: {}; try: {}"
    found = refusal(model(layers, shape=(1, 2, "height", "width")))
    fixed = ("fixed sizes but for the batch", "export with fixed sizes")
    assert found == [line.format("1, 2, height, width", *fixed)]
    assert refusal(model(layers, shape=(4,))) == [line.format("4", "(batch, …)", "export with a batch axis")]
    found = refusal(model(layers, elem=TensorProto.STRING))
    assert found == ["input x: an input of type STRING; allowed: FLOAT, UINT8 or INT8"]
    convert(model(layers, shape=("batch", 2, 4, 4)), "net.onnx")


def test_nine_bits_or_more_need_a_requant() -> None:
    bias = np.array([0.123, 0.456], dtype=np.float32)
    layers = [quant("x", "q"), node("Conv", "q w bias", "c"), quant("c", "y", "s", "ten")]
    (line,) = refusal(model(layers, w=WEIGHT, bias=bias, s=np.float32(0.7), ten=np.float32(10)))
    allowed = "up to 8 bits, or scales in a ratio of a power of two; try: a quantised bias, or a narrower activation"
    assert line == f"y: a quantiser to 10 bits that no multiplier and shift reproduce exactly; allowed: {allowed}"


def test_wide_accumulators() -> None:
    w = np.full((2, 2, 3, 3), 127, dtype=np.float32)
    wide = {"twelve": np.float32(12), "w": w, "v": np.full((1, 40000), 127, dtype=np.float32)}
    layers = [quant("x", "q", bits="twelve"), node("Flatten", "q", "f"), node("Gemm", "f v", "y", transB=1)]
    (line,) = refusal(model(layers, shape=(1, 40000), **wide))
    allowed = "values of at most 32 bits; try: narrower weights or activations"
    assert line == f"y: values from -10403840000 to 10398760000; allowed: {allowed}"


def test_a_graph_file_has_no_source_to_compare_with(tmp_path: Path) -> None:
    from codesign.ir.text import print_graph

    graph, _ = convert(model([quant("x", "q"), quant("q", "y", "two")], two=np.float32(2)), "net.onnx")
    path = tmp_path / "graph.txt"
    path.write_text(print_graph(graph))
    imported = import_model(path)
    assert imported.graph.digest() == graph.digest()
    with pytest.raises(InputError) as caught:
        gap(imported)
    allowed = "a Brevitas module, an ONNX file, or a TFLite file and LiteRT"
    expected = f"graph: no source model to compare with; allowed: {allowed}"
    assert str(caught.value) == expected


def test_a_source_model_that_cannot_be_evaluated() -> None:
    custom = helper.make_node("Magic", ["x"], ["y"], domain=QONNX)
    with pytest.raises(UnsupportedError) as caught:
        OnnxSource(model([custom])).evaluate(np.zeros((1, 2, 4, 4)))
    found = str(caught.value)
    assert found.startswith("source model: ONNX's evaluator cannot run it: ")
    assert found.endswith("; allowed: a model that onnx.reference evaluates")


def test_an_input_that_nothing_reads() -> None:
    proto = model([quant("x", "q"), quant("q", "y", "four")])
    proto.graph.input.append(helper.make_tensor_value_info("extra", TensorProto.FLOAT, (1, 3)))
    assert refusal(proto, InputError) == ["input extra: nothing reads it; allowed: inputs in use"]
