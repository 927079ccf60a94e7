"""MAX_POOL_2D, AVERAGE_POOL_2D, MEAN, PAD, CONCATENATION, and Take as STRIDED_SLICE and RESIZE_NEAREST_NEIGHBOR."""

from __future__ import annotations

import numpy as np

from codesign.export.tflite.context import VALID, Export, activation_for, clamp_behind, padding_mode
from codesign.export.tflite.cover import Kernel
from codesign.export.tflite.steps import is_exact, is_rescale
from codesign.frontend.problems import Refusal
from codesign.frontend.tflite.params import NONE
from codesign.frontend.tflite.spatial import mean_rescale, nearest
from codesign.ir.ops import AvgPool2d, MaxPool2d, Pad, Reshape, Take, Transpose
from codesign.passes.rewrite import producer

_MOST_PIECES = 64


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
    rows = producer(graph, name)
    data = rows.inputs[0] if rows is not None and isinstance(rows.op, Reshape) else name
    steps = [step for step in kernel.chain if not isinstance(step.op, Reshape)]
    if x is None or out is None or not 1 <= len(steps) <= 2:
        return False
    before, n, after = graph.type(name).shape
    source = graph.type(data).shape
    axes = next((a for a in _spans(len(source)) if _cut(source, a) == (before, n, after)), None)
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
    shape = source[: axes[0]] + source[axes[1] :]
    output = export.result(kernel, shape or (1,))
    export.emit(kernel, "MEAN", [export.declare(data), indices], output, keep_dims=False)
    export.finish(kernel, output)
    return True


def _spans(rank: int) -> list[tuple[int, int]]:
    return [(start, end) for start in range(rank) for end in range(start + 1, rank + 1)]


def _cut(shape: tuple[int, ...], span: tuple[int, int]) -> tuple[int, int, int]:
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


def take(export: Export, kernel: Kernel) -> None:
    """One STRIDED_SLICE for equally spaced indices, RESIZE_NEAREST_NEIGHBOR for its repetitions, else joined slices."""
    assert kernel.base is not None
    op, (name,) = kernel.base.op, kernel.tensors
    assert isinstance(op, Take)
    storage, x = export.storage(name), export.declare(name)
    source, shape = export.graph.type(name).shape, export.graph.type(kernel.base.name).shape
    output = export.result(kernel, shape)
    pieces = _progressions(op.indices)
    if len(pieces) == 1:
        _slice(export, kernel, x, output, op.axis, pieces[0])
    elif (mode := _resize_mode(source[op.axis], op.indices)) is not None:
        _resize(export, kernel, x, output, op.axis, len(op.indices), mode)
    else:
        if len(pieces) > _MOST_PIECES:
            raise Refusal(
                f"a choice of elements in {len(pieces)} pieces", f"at most {_MOST_PIECES} equally spaced ones"
            )
        made = []
        for number, piece in enumerate(pieces):
            part = (*shape[: op.axis], len(piece), *shape[op.axis + 1 :])
            made.append(export.helper(f"{kernel.node.name}.part{number + 1}", part, storage))
            _slice(export, kernel, x, made[-1], op.axis, piece)
        export.emit(kernel, "CONCATENATION", made, output, axis=op.axis + 1, activation=NONE)
    export.finish(kernel, output)


def _progressions(indices: tuple[int, ...]) -> list[range]:
    """The indices as the fewest runs of one step that a greedy walk finds; a step is never 0."""
    runs: list[range] = []
    start = 0
    while start < len(indices):
        end = start + 1
        step = indices[end] - indices[start] if end < len(indices) and indices[end] != indices[start] else 1
        while end < len(indices) and indices[end] - indices[end - 1] == step:
            end += 1
        runs.append(range(indices[start], indices[end - 1] + (1 if step > 0 else -1), step))
        start = end
    return runs


def _slice(export: Export, kernel: Kernel, x: int, output: int, axis: int, piece: range) -> None:
    """STRIDED_SLICE; the end of a falling range that includes 0 is what the mask for it means."""
    size = export.file.shape(x)
    begin, end, step = [0] * len(size), list(size), [1] * len(size)
    begin[axis + 1], end[axis + 1], step[axis + 1] = piece.start, piece.stop, piece.step
    end_mask = sum(1 << a for a in range(len(size)) if a != axis + 1)
    if piece.stop < 0:
        end_mask |= 1 << (axis + 1)
        end[axis + 1] = 0
    name = export.file.name(output)
    numbers = [
        export.file.integers(f"{name}.{what}", v) for what, v in (("begin", begin), ("end", end), ("step", step))
    ]
    masks = {f"{m}_mask": 0 for m in ("begin", "ellipsis", "new_axis", "shrink_axis")}
    export.emit(kernel, "STRIDED_SLICE", [x, *numbers], output, end_mask=end_mask, **masks)


def _resize_mode(size: int, indices: tuple[int, ...]) -> tuple[bool, bool] | None:
    """(align_corners, half_pixel_centers) with which RESIZE_NEAREST_NEIGHBOR takes these indices along one axis."""
    for mode in ((False, False), (False, True), (True, False)):
        if nearest(size, len(indices), *mode) == indices:
            return mode
    return None


def _resize(
    export: Export, kernel: Kernel, x: int, output: int, axis: int, count: int, mode: tuple[bool, bool]
) -> None:
    """Along one axis, seen as the height of an image; the other side keeps its size, which every mode leaves alone."""
    storage, size = export.storage(kernel.tensors[0]), export.file.shape(x)[1:]
    before, inner, after = _cut(size, (axis, axis + 1))
    image = export.reshaped(kernel, x, (before, inner, after), storage, "image")
    made = export.helper(f"{kernel.node.name}.resized", (before, count, after), storage)
    sizes = export.file.integers(f"{kernel.node.name}.size", [before, count])
    export.emit(
        kernel, "RESIZE_NEAREST_NEIGHBOR", [image, sizes], made, align_corners=mode[0], half_pixel_centers=mode[1]
    )
    export.reshape(kernel, made, output)
