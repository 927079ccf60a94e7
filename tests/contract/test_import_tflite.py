"""One-operator TFLite models with random parameters: every tensor equals that of LiteRT's reference kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_models import Writer, reference

from codesign.export.tflite import export_tflite
from codesign.export.tflite.verify import differences
from codesign.frontend import import_model
from codesign.frontend.imported import Imported
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray
from codesign.testing.graphs import feeds

Rng = np.random.Generator
Make = Callable[[Writer, Rng], Sequence[int]]
FRAMES = 6


def exact(data: bytes, folder: Path, seed: int = 0, frames: int = FRAMES, again: bool = True) -> Imported:
    """Import the file and compare every tensor that the kernels compute, then the same of what it is exported to."""
    path = folder / "model.tflite"
    path.write_bytes(data)
    imported = import_model(path)
    graph = imported.graph
    inputs = feeds(graph, frames, seed)
    golden = graph.evaluate_all(*inputs)
    tensors = reference(data, *inputs)
    compared = 0
    for name, expected in tensors.items():
        if name in golden:
            found = golden[name]
            np.testing.assert_array_equal(found.reshape(frames, -1), expected.reshape(frames, -1), err_msg=name)
            compared += 1
    assert compared >= len(imported.probes) + len(graph.inputs) > 1
    if again:
        exported_again(graph, inputs, folder)
    return imported


def exported_again(graph: Graph, inputs: list[IntArray], folder: Path) -> None:
    """What was imported is exported to the same bits, in LiteRT and imported once more."""
    exported = export_tflite(graph)
    assert [row.name for row in differences(exported, graph, inputs) if row.mismatches] == []
    path = folder / "again.tflite"
    path.write_bytes(exported.content)
    again = exported.results(import_model(path).graph.evaluate(*exported.feeds(inputs)))
    for found, expected in zip(again, graph.evaluate(*inputs), strict=True):
        np.testing.assert_array_equal(found, expected)


def scale(rng: Rng, low: float = 0.01, high: float = 0.1) -> float:
    return float(rng.uniform(low, high))


def zero(rng: Rng) -> int:
    return int(rng.integers(-128, 128))


def constant(w: Writer, rng: Rng, shape: Sequence[int], scales: Any, axis: int = 0) -> int:
    data = rng.integers(-127, 128, shape)
    return w.tensor(shape, scales, 0, data=data, axis=axis)


def bias(w: Writer, rng: Rng, outputs: int, scales: Any, kind: str = "int32") -> int:
    return w.tensor((outputs,), scales, 0, kind=kind, data=rng.integers(-3000, 3000, outputs))


def convolution(
    depthwise: bool = False, activation: int = 0, same: bool = True, stride: tuple[int, int] = (1, 2),
    dilation: tuple[int, int] = (1, 1), per_channel: bool = True, multiplier: int = 1, channels: int = 3,
    groups: int = 1, wide: bool = False, kernel: tuple[int, int] = (3, 2), out: float = 0.8,
) -> Make:  # fmt: skip
    def make(w: Writer, rng: Rng) -> Sequence[int]:
        si, so = scale(rng), scale(rng, out, 1.5 * out)
        kind = "int16" if wide else "int8"
        outputs = channels * multiplier if depthwise else 4 * groups
        x = w.input((1, 7, 6, channels), si, 0 if wide else zero(rng), kind=kind)
        scales = rng.uniform(0.002, 0.05, outputs if per_channel else 1)
        shape = (1, *kernel, outputs) if depthwise else (outputs, *kernel, channels // groups)
        weight = constant(w, rng, shape, scales, 3 if depthwise else 0)
        inputs = [x, weight, bias(w, rng, outputs, scales * si, "int64" if wide else "int32")]
        oh, ow = (
            -(-n // s) if same else (n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip((7, 6), kernel, stride, dilation, strict=True)
        )
        y = w.tensor((1, oh, ow, outputs), so, 0 if wide else zero(rng), kind=kind)
        options = {
            "padding": 0 if same else 1, "strideH": stride[0], "strideW": stride[1],
            "dilationHFactor": dilation[0], "dilationWFactor": dilation[1], "fusedActivationFunction": activation,
        }  # fmt: skip
        if depthwise:
            w.op("DEPTHWISE_CONV_2D", inputs, [y], "DepthwiseConv2DOptions", depthMultiplier=multiplier, **options)
        else:
            w.op("CONV_2D", inputs, [y], "Conv2DOptions", **options)
        return [y]

    return make


def dense(
    per_channel: bool = False, wide: bool = False, activation: int = 0, shape: tuple[int, ...] = (1, 10),
    keep: bool = False, filter_zero: int = 0, with_bias: bool = True,
) -> Make:  # fmt: skip
    def make(w: Writer, rng: Rng) -> Sequence[int]:
        kind = "int16" if wide else "int8"
        si = scale(rng)
        x = w.input(shape, si, 0 if wide else zero(rng), kind=kind)
        scales = rng.uniform(0.002, 0.05, 5 if per_channel else 1)
        data = rng.integers(-127, 128, (5, 10))
        inputs = [x, w.tensor((5, 10), scales, filter_zero, data=data)]
        if with_bias:
            inputs.append(bias(w, rng, 5, scales * si, "int64" if wide else "int32"))
        rows = int(np.prod(shape)) // 10
        result = (*shape[:-1], 5) if keep else (rows, 5)
        y = w.tensor(result, scale(rng, 0.3, 0.9), 0 if wide else zero(rng), kind=kind)
        options = {"fusedActivationFunction": activation, "keepNumDims": keep}
        w.op("FULLY_CONNECTED", inputs, [y], "FullyConnectedOptions", **options)
        return [y]

    return make


def binary(
    op: str, activation: int = 0, wide: bool = False, other: tuple[int, ...] = (1, 4, 5, 3), const: bool = False,
    swapped: bool = False,
) -> Make:  # fmt: skip
    def make(w: Writer, rng: Rng) -> Sequence[int]:
        kind, shape = "int16" if wide else "int8", (1, 4, 5, 3)
        zeros = [0 if wide else zero(rng) for _ in range(3)]
        a = w.input(shape, scale(rng), zeros[0], kind=kind)
        if const:
            b = w.tensor(other, scale(rng), zeros[1], kind=kind, data=rng.integers(-128, 128, other))
        else:
            b = w.input(other, scale(rng), zeros[1], kind=kind)
        low = 2.0 if op == "MUL" and wide else 0.02
        y = w.tensor(shape, scale(rng, low, 5 * low), zeros[2], kind=kind)
        options = {"fusedActivationFunction": activation}
        if wide and op != "MUL":
            options["potScaleInt16"] = False
        w.op(op, [b, a] if swapped else [a, b], [y], f"{op.capitalize()}Options", **options)
        return [y]

    return make


def pool(op: str, activation: int = 0, same: bool = True, kind: str = "int8") -> Make:
    def make(w: Writer, rng: Rng) -> Sequence[int]:
        s, z = scale(rng), {"int8": zero(rng), "uint8": 128 + zero(rng)}.get(kind, 0)
        x = w.input((1, 7, 6, 3), s, z, kind=kind)
        y = w.tensor((1, 4, 6, 3) if same else (1, 3, 4, 3), s, z, kind=kind)
        options = {"padding": 0 if same else 1, "strideH": 2, "strideW": 1, "filterHeight": 3, "filterWidth": 3}
        w.op(op, [x], [y], "Pool2DOptions", fusedActivationFunction=activation, **options)
        return [y]

    return make


def mean(
    axes: Sequence[int], shape: tuple[int, ...], keep: bool, result: tuple[int, ...], same: bool = False,
    kind: str = "int8",
) -> Make:  # fmt: skip
    def make(w: Writer, rng: Rng) -> Sequence[int]:
        zeros = [0 if kind == "int16" else zero(rng) for _ in range(2)]
        s = scale(rng)
        x = w.input(shape, s, zeros[0], kind=kind)
        y = w.tensor(result, s if same else scale(rng), zeros[0] if same else zeros[1], kind=kind)
        w.op("MEAN", [x, w.ints(list(axes))], [y], "ReducerOptions", keepDims=keep)
        return [y]

    return make


def unary(
    op: str, out: tuple[float, int] | None = None, kinds: tuple[str, str] = ("int8", "int8"),
    given: float | None = None,
) -> Make:  # fmt: skip
    """An operator of one tensor and no options; `out`: scale and zero point it demands, `given`: its input's scale."""

    def make(w: Writer, rng: Rng) -> Sequence[int]:
        zeros = [0 if k == "int16" else int(rng.integers(0, 256)) if k == "uint8" else zero(rng) for k in kinds]
        x = w.input((1, 16, 16), given or scale(rng, 0.004, 0.1), zeros[0], kind=kinds[0])
        y = w.tensor((1, 16, 16), *(out or (scale(rng, 0.02, 0.2), zeros[1])), kind=kinds[1])
        w.op(op, [x], [y])
        return [y]

    return make


def turned(order: tuple[int, ...]) -> Make:
    """A TRANSPOSE between two layers: elsewhere it is only another order of the model's axes."""

    def make(w: Writer, rng: Rng) -> Sequence[int]:
        shape = (1, 3, 4, 5)[: len(order)]
        result = tuple(shape[axis] for axis in order)
        x, a = w.input(shape, scale(rng), zero(rng)), w.tensor(shape, 0.04, -7)
        y, z = w.tensor(result, 0.04, -7), w.tensor(result, 0.03, 5)
        w.op("RELU", [x], [a])
        w.op("TRANSPOSE", [a, w.ints(list(order))], [y])
        w.op("RELU", [y], [z])
        return [z]

    return make


def moved(
    op: str, shape: tuple[int, ...], result: tuple[int, ...], parameters: Sequence[Any], table: str = "",
    **options: Any,
) -> Make:  # fmt: skip
    """An operator that only moves values; its parameters are constants."""

    def make(w: Writer, rng: Rng) -> Sequence[int]:
        s, z = scale(rng), zero(rng)
        x = w.input(shape, s, z)
        y = w.tensor(result, s, z)
        w.op(op, [x, *(w.ints(p) for p in parameters)], [y], table, **options)
        return [y]

    return make


def padv2(w: Writer, rng: Rng) -> Sequence[int]:
    s, z = scale(rng), zero(rng)
    x, y = w.input((1, 4, 5, 3), s, z), w.tensor((1, 5, 5, 3), s, z)
    filler = w.tensor((1,), s, z, data=rng.integers(-128, 128, 1))
    w.op("PADV2", [x, w.ints([[0, 0], [0, 1], [0, 0], [0, 0]]), filler], [y])
    return [y]


def concat(axis: int, shapes: Sequence[tuple[int, ...]], result: tuple[int, ...]) -> Make:
    def make(w: Writer, rng: Rng) -> Sequence[int]:
        s, z = scale(rng), zero(rng)
        inputs = [w.input(shape, s, z) for shape in shapes]
        y = w.tensor(result, s, z)
        w.op("CONCATENATION", inputs, [y], "ConcatenationOptions", axis=axis)
        return [y]

    return make


def split(w: Writer, rng: Rng) -> Sequence[int]:
    s, z = scale(rng), zero(rng)
    x = w.input((1, 4, 6, 3), s, z)
    parts = [w.tensor((1, 4, 2, 3), s, z) for _ in range(3)]
    w.op("SPLIT", [w.ints(2), x], parts, "SplitOptions", numSplits=3)
    return parts


def split_v(w: Writer, rng: Rng) -> Sequence[int]:
    s, z = scale(rng), zero(rng)
    x = w.input((1, 4, 6), s, z)
    parts = [w.tensor((1, 4, n), s, z) for n in (1, 3, 2)]
    w.op("SPLIT_V", [x, w.ints([1, -1, 2]), w.ints(-1)], parts, "SplitVOptions", numSplits=3)
    return parts


def softmax(beta: float, shape: tuple[int, ...]) -> Make:
    def make(w: Writer, rng: Rng) -> Sequence[int]:
        x = w.input(shape, scale(rng), zero(rng))
        y = w.tensor(shape, 1 / 256, -128)
        w.op("SOFTMAX", [x], [y], "SoftmaxOptions", beta=beta)
        return [y]

    return make


RELU, RELU1, RELU6 = 1, 2, 3
SLICES = {"beginMask": 4, "endMask": 2, "shrinkAxisMask": 8}
MODELS: dict[str, Make] = {
    "conv": convolution(),
    "conv_valid": convolution(same=False, kernel=(2, 3), stride=(2, 2)),
    "conv_relu": convolution(activation=RELU),
    "conv_relu6": convolution(activation=RELU6, out=0.05),
    "conv_relu1": convolution(activation=RELU1, out=0.05),
    "conv_dilated": convolution(dilation=(2, 1), stride=(1, 1)),
    "conv_grouped": convolution(groups=2, channels=4),
    "conv_per_tensor": convolution(per_channel=False),
    "conv_upscaled": convolution(out=0.00002),
    "conv_int16": convolution(wide=True, out=0.001),
    "conv_int16_relu": convolution(wide=True, out=0.001, activation=RELU),
    "depthwise": convolution(depthwise=True),
    "depthwise_multiplier": convolution(depthwise=True, multiplier=3, activation=RELU6, out=0.1),
    "depthwise_one_channel": convolution(depthwise=True, multiplier=4, channels=1),
    "depthwise_valid": convolution(depthwise=True, same=False, dilation=(1, 2), stride=(1, 1)),
    "depthwise_per_tensor": convolution(depthwise=True, per_channel=False),
    "depthwise_int16": convolution(depthwise=True, wide=True, out=0.001),
    "dense": dense(),
    "dense_relu": dense(activation=RELU),
    "dense_per_channel": dense(per_channel=True),
    "dense_filter_zero_point": dense(filter_zero=3),
    "dense_without_bias": dense(with_bias=False),
    "dense_rows": dense(shape=(1, 3, 10)),
    "dense_rows_kept": dense(shape=(1, 3, 10), keep=True),
    "dense_of_image": dense(shape=(1, 2, 5, 1)),
    "dense_int16": dense(wide=True),
    **{f"{op.lower()}": binary(op) for op in ("ADD", "SUB", "MUL")},
    **{f"{op.lower()}_relu6": binary(op, activation=RELU6) for op in ("ADD", "SUB", "MUL")},
    **{f"{op.lower()}_int16": binary(op, wide=True) for op in ("ADD", "SUB", "MUL")},
    **{f"{op.lower()}_broadcast": binary(op, other=(1, 1, 1, 3)) for op in ("ADD", "SUB", "MUL")},
    **{f"{op.lower()}_first_broadcast": binary(op, other=(1, 4, 1, 3), swapped=True) for op in ("ADD", "SUB", "MUL")},
    **{f"{op.lower()}_number": binary(op, other=(1,), const=True) for op in ("ADD", "SUB", "MUL")},
    **{f"{op.lower()}_channels": binary(op, other=(3,), const=True, swapped=True) for op in ("ADD", "SUB", "MUL")},
    "average_pool": pool("AVERAGE_POOL_2D"),
    "average_pool_valid": pool("AVERAGE_POOL_2D", same=False),
    "average_pool_relu6": pool("AVERAGE_POOL_2D", activation=RELU6),
    "average_pool_uint8": pool("AVERAGE_POOL_2D", kind="uint8"),
    "average_pool_int16": pool("AVERAGE_POOL_2D", kind="int16"),
    "max_pool": pool("MAX_POOL_2D"),
    "max_pool_valid_relu": pool("MAX_POOL_2D", activation=RELU, same=False),
    "max_pool_int16": pool("MAX_POOL_2D", kind="int16"),
    "mean_image": mean((1, 2), (1, 5, 7, 3), False, (1, 3)),
    "mean_image_kept": mean((1, 2), (1, 5, 7, 3), True, (1, 1, 1, 3)),
    "mean_image_same_scale": mean((1, 2), (1, 5, 7, 3), True, (1, 1, 1, 3), same=True),
    "mean_large": mean((1, 2), (1, 32, 33, 2), False, (1, 2)),
    "mean_rows": mean((1,), (1, 6, 4), False, (1, 4)),
    "mean_channels": mean((-1,), (1, 6, 5), False, (1, 6)),
    "mean_width": mean((2,), (1, 3, 6, 4), False, (1, 3, 4)),
    "mean_one_element": mean((1,), (1, 1, 4), False, (1, 4)),
    "mean_int16": mean((1, 2), (1, 5, 7, 3), False, (1, 3), kind="int16"),
    "quantize": unary("QUANTIZE"),
    "quantize_from_uint8": unary("QUANTIZE", kinds=("uint8", "int8")),
    "quantize_to_uint8": unary("QUANTIZE", kinds=("int8", "uint8")),
    "quantize_from_int16": unary("QUANTIZE", kinds=("int16", "int8")),
    "quantize_within_int16": unary("QUANTIZE", kinds=("int16", "int16")),
    "relu": unary("RELU"),
    "relu6": unary("RELU6"),
    "relu_n1_to_1": unary("RELU_N1_TO_1"),
    "hard_swish": unary("HARD_SWISH"),
    "logistic": unary("LOGISTIC", (1 / 256, -128)),
    "tanh": unary("TANH", (1 / 128, 0)),
    **{
        f"{op.lower()}_int16_{name}": unary(op, (2**-15, 0), ("int16", "int16"), given)
        for op in ("LOGISTIC", "TANH")
        for name, given in {"power_of_two": 2**-12, "fine": 1.3e-4, "coarse": 2**-9, "coarsest": 0.01}.items()
    },
    "padv2": padv2,
    "softmax": softmax(1.0, (1, 12)),
    "softmax_rows": softmax(0.7, (1, 5, 9)),
    "reshape": moved("RESHAPE", (1, 4, 6), (1, 3, 8), [[1, 3, 8]]),
    "squeeze": moved("SQUEEZE", (1, 1, 1, 8), (1, 8), [], "SqueezeOptions", squeezeDims=[1, 2]),
    "expand_dims": moved("EXPAND_DIMS", (1, 8), (1, 1, 8), [1]),
    "transpose_of_ones": moved("TRANSPOSE", (1, 4, 1, 6), (1, 1, 4, 6), [[0, 2, 1, 3]]),
    "transpose": turned((0, 3, 1, 2)),
    "transpose_rows": turned((0, 2, 1)),
    "pad": moved("PAD", (1, 4, 5, 3), (1, 7, 6, 3), [[[0, 0], [1, 2], [0, 1], [0, 0]]]),
    "pad_rows": moved("PAD", (1, 4, 3), (1, 7, 3), [[[0, 0], [1, 2], [0, 0]]]),
    "resize": moved("RESIZE_NEAREST_NEIGHBOR", (1, 3, 4, 2), (1, 7, 10, 2), [[7, 10]], "ResizeNearestNeighborOptions"),
    "resize_corners": moved(
        "RESIZE_NEAREST_NEIGHBOR", (1, 3, 4, 2), (1, 7, 10, 2), [[7, 10]], "ResizeNearestNeighborOptions",
        alignCorners=True,
    ),
    "resize_half_pixels": moved(
        "RESIZE_NEAREST_NEIGHBOR", (1, 5, 4, 2), (1, 3, 9, 2), [[3, 9]], "ResizeNearestNeighborOptions",
        halfPixelCenters=True,
    ),
    "strided_slice": moved(
        "STRIDED_SLICE", (1, 6, 7, 3), (1, 3, 4, 2), [[0, 1, 6, 0], [1, 6, -9, 2], [1, 2, -2, 1]], "StridedSliceOptions"
    ),
    "strided_slice_masks": moved(
        "STRIDED_SLICE", (1, 6, 7, 3), (1, 5, 4), [[0, 1, 3, -2], [1, 3, 4, 2], [1, 1, 1, 1]], "StridedSliceOptions",
        **SLICES,
    ),
    "slice": moved("SLICE", (1, 6, 7, 3), (1, 2, 5, 3), [[0, 1, 2, 0], [1, 2, -1, 3]]),
    "split": split,
    "split_v": split_v,
    "concat": concat(3, [(1, 4, 5, 2), (1, 4, 5, 3)], (1, 4, 5, 5)),
    "concat_rows": concat(1, [(1, 4, 5, 2), (1, 1, 5, 2)], (1, 5, 5, 2)),
    "concat_columns": concat(-2, [(1, 4, 1, 2), (1, 4, 2, 2), (1, 4, 5, 2)], (1, 4, 8, 2)),
}  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_is_equal(name: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng([seed, len(name)])
    w = Writer()
    # TFLite's mean of uint8 rounds what int8 cannot hold; tests/errors has the sentence that refuses to export it.
    exact(w.model(*MODELS[name](w, rng)), tmp_path, seed, again=name != "average_pool_uint8")
