"""MAX_POOL_2D, AVERAGE_POOL_2D, MEAN, PAD, CONCATENATION, RESHAPE and TRANSPOSE."""

from __future__ import annotations

import numpy as np

from codesign.export.tflite.context import VALID, Export, activation_for, clamp_behind, padding_mode
from codesign.export.tflite.cover import Kernel
from codesign.export.tflite.steps import is_exact, is_rescale
from codesign.frontend.problems import Refusal
from codesign.frontend.tflite.params import NONE
from codesign.frontend.tflite.spatial import mean_rescale
from codesign.ir.ops import AvgPool2d, MaxPool2d, Pad, Reshape, Transpose


def pool(export: Export, kernel: Kernel) -> None:
    """MAX_POOL_2D and AVERAGE_POOL_2D, with a clamp behind them as a fused activation."""
    assert kernel.base is not None
    op, (name,) = kernel.base.op, kernel.tensors
    assert isinstance(op, MaxPool2d | AvgPool2d)
    storage, x = export.storage(name), export.declare(name)
    mode = padding_mode(export.file.shape(x)[1:], op.kernel, op.stride, (1, 1), op.padding)
    if mode is None and isinstance(op, AvgPool2d):
        raise Refusal(f"a mean with padding {op.padding}", "the padding SAME of TFLite, or none")
    if isinstance(op, AvgPool2d) and storage.offset and min(export.graph.type(name).dtype.lo, storage.offset) < 0:
        found = f"a mean of values that are stored {storage.offset:+d}, where ties round the other way"
        raise Refusal(found, "values whose stored integers have the same sign")
    if mode is None:  # what never wins: the smallest integer
        x = export.padded(kernel, x, storage, op.padding, storage.params.dtype.lo)
    clamp = clamp_behind(export, kernel)
    activation = NONE
    if clamp is not None:
        activation = activation_for(storage, clamp[0] + storage.offset, clamp[1] + storage.offset, exactly=True)[0]
    output = export.result(kernel, export.graph.type(kernel.base.name).shape)
    options = {
        "padding": VALID if mode is None else mode, "stride_w": op.stride[1], "stride_h": op.stride[0],
        "filter_width": op.kernel[1], "filter_height": op.kernel[0], "activation": activation,
    }  # fmt: skip
    export.emit(kernel, "MAX_POOL_2D" if isinstance(op, MaxPool2d) else "AVERAGE_POOL_2D", [x], output, **options)
    export.finish(kernel, output)


def mean(export: Export, kernel: Kernel) -> bool:
    """MEAN, where a sum over neighbouring axes is rescaled as its kernel does; else False, and nothing is written."""
    assert kernel.base is not None
    graph, node = export.graph, kernel.base
    op = node.op
    assert isinstance(op, AvgPool2d)
    (name,) = kernel.tensors
    x, out = export.storages.get(name), export.storages.get(kernel.node.name)
    steps = [step for step in kernel.chain if not isinstance(step.op, Reshape)]
    if x is None or out is None or not 1 <= len(steps) <= 2:
        return False
    rows, source = graph.type(node.inputs[0]).shape, graph.type(name).shape
    n = rows[1]
    axes = next((a for a in _spans(len(source)) if cut(source, a) == rows), None)
    if axes is None or (op.kernel, op.stride, op.padding) != ((1, n), (1, n), (0, 0, 0, 0)):
        return False
    by = mean_rescale(x.scale, out.scale, n)
    dtype = graph.type(kernel.node.name).dtype
    centred = is_exact(graph, steps[0], 1, -n * x.zero) if len(steps) == 2 else not x.zero
    if not centred or not is_rescale(graph, steps[-1], by, out.zero):
        return False
    if dtype.hi - dtype.lo != (1 << out.params.dtype.bits) - 1:
        return False
    indices = export.file.integers(f"{kernel.node.name}.axes", [a + 1 for a in range(*axes)])
    kept = (*source[: axes[0]], *[1] * (axes[1] - axes[0]), *source[axes[1] :])
    keep_dims = kept == graph.type(kernel.node.name).shape
    shape = kept if keep_dims else source[: axes[0]] + source[axes[1] :]
    output = export.result(kernel, shape or (1,))
    export.emit(kernel, "MEAN", [export.declare(name), indices], output, keep_dims=keep_dims)
    export.finish(kernel, output)
    return True


def _spans(rank: int) -> list[tuple[int, int]]:
    return [(start, end) for start in range(rank) for end in range(start + 1, rank + 1)]


def cut(shape: tuple[int, ...], span: tuple[int, int]) -> tuple[int, int, int]:
    """Elements before, in and behind a span of axes."""
    start, end = span
    return int(np.prod(shape[:start])), int(np.prod(shape[start:end])), int(np.prod(shape[end:]))


def pad(export: Export, kernel: Kernel) -> None:
    """PAD or PADV2."""
    assert kernel.base is not None
    op, storage = kernel.base.op, export.storage(kernel.node.name)
    assert isinstance(op, Pad)
    output = export.result(kernel, export.graph.type(kernel.base.name).shape)
    export.pad(kernel, export.declare(kernel.tensors[0]), output, storage, op.padding, op.value + storage.offset)
    export.finish(kernel, output)


def concat(export: Export, kernel: Kernel) -> None:
    """CONCATENATION along the last axis."""
    assert kernel.base is not None
    shape = export.graph.type(kernel.base.name).shape
    output = export.result(kernel, shape)
    export.emit(
        kernel, "CONCATENATION", [export.declare(n) for n in kernel.tensors], output, axis=len(shape), activation=NONE
    )  # fmt: skip
    export.finish(kernel, output)


def reshape(export: Export, kernel: Kernel) -> None:
    """RESHAPE."""
    export.reshape(kernel, export.declare(kernel.tensors[0]), export.declare(kernel.node.name))


def transpose(export: Export, kernel: Kernel) -> None:
    """TRANSPOSE, the batch staying first."""
    assert kernel.base is not None
    assert isinstance(kernel.base.op, Transpose)
    output = export.result(kernel, export.graph.type(kernel.base.name).shape)
    order = export.file.integers(f"{kernel.node.name}.order", [0, *(axis + 1 for axis in kernel.base.op.axes)])
    export.emit(kernel, "TRANSPOSE", [export.declare(kernel.tensors[0]), order], output)
    export.finish(kernel, output)
