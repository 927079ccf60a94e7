"""RESHAPE and its relatives, TRANSPOSE, CONCATENATION, and the slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codesign.frontend.problems import Refusal, bad
from codesign.frontend.tflite.context import Layer, frame, has_batch
from codesign.frontend.tflite.params import NONE
from codesign.ir.ops import Concat, Take, Transpose


def reshape(layer: Layer) -> None:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the same integers in the same order under the shape of the result."""
    layer.expect_same_scale()
    value, shape = layer.value(0), layer.result().shape
    if int(np.prod(shape)) != layer.type(value).size:
        raise bad(f"{layer.op.name} of {layer.tensor(0).shape} to {shape}", "the same number of elements")
    layer.same(value)


def transpose(layer: Layer) -> None:
    """TRANSPOSE: reference_ops::Transpose (internal/reference/transpose.h).

    Directly at an input or output of the model the graph keeps its order, and its port says which axes the model has.
    """
    layer.expect_same_scale()
    value, shape = layer.value(0), layer.tensor(0).shape
    order = layer.integers(1, "the permutation", len(shape))
    if sorted(order) != list(range(len(shape))):
        raise bad(f"a permutation {order}", f"every axis of {shape} once")
    moved = [axis for axis in order if shape[axis] != 1]
    if moved == sorted(moved):
        layer.same(value)
        return
    ctx, source, result = layer.ctx, layer.op.inputs[0], layer.op.outputs[0]
    if order[0] == 0 and shape[0] == 1 and ctx.readers[source] == 1:
        axes = tuple(axis - 1 for axis in order[1:])
        given = frame(layer.result().shape), frame(shape)
        if source in ctx.ports and source not in ctx.model.outputs:
            type_ = layer.type(value)
            permuted = replace(type_, shape=tuple(type_.shape[axis] for axis in axes))
            ctx.notes.append(_note("input", layer.tensor(0).where, "wanted", given))
            ctx.values[result] = ctx.add_input(source, permuted, axes)
            return
        if result in ctx.model.outputs and not ctx.readers.get(result):
            ctx.notes.append(_note("output", layer.result().where, "given", given[::-1]))
            ctx.values[result] = value
            ctx.output_axes[result] = tuple(int(axis) for axis in np.argsort(axes))
            return
    if has_batch(shape) and order[0] != 0:
        raise Refusal(f"a TRANSPOSE {tuple(order)} of {shape}, which moves the batch", "0 as the first axis")
    first = int(has_batch(shape))
    layer.final(Transpose(tuple(axis - first for axis in order[first:])), [value])


def _note(end: str, name: str, what: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> str:
    return f"{end} {name}: {what} as {shapes[0]}, the model has {shapes[1]}; its TRANSPOSE is left to the application"


def concatenation(layer: Layer) -> None:
    """CONCATENATION of tensors of one scale: reference_ops::Concatenation (reference/concatenation.h).

    Along another axis than the last the tensors are seen as rows of everything behind that axis.
    """
    if layer.option("activation") != NONE:
        raise Refusal("a CONCATENATION with a fused activation", "none")
    shape = layer.result().shape
    axis = layer.axis(layer.option("axis"), shape)
    if axis < 0:
        raise Refusal("a CONCATENATION along the batch", "any other axis")
    values = []
    for i, _ in enumerate(layer.op.inputs):
        layer.expect_same_scale(i)
        value = layer.value(i)
        part = layer.type(value).shape
        if len(part) != len(frame(shape)):
            raise bad(f"an input of shape {layer.tensor(i).shape} for a result of {shape}", "as many axes")
        values.append(layer.reshaped(value, (*part[:axis], int(np.prod(part[axis:]))), f"rows{i + 1}"))
    if axis == len(frame(shape)) - 1:
        layer.final(Concat(), values)
    else:
        layer.same(layer.emit(Concat(), values, "joined"))


def strided_slice(layer: Layer) -> None:
    """STRIDED_SLICE: reference_ops::StridedSlice (internal/strided_slice_logic.h). Masks: begin, end, shrink_axis."""
    shape = layer.tensor(0).shape
    masks = [layer.option(f"{name}_mask") for name in ("begin", "end", "shrink_axis", "ellipsis", "new_axis")]
    begin_mask, end_mask, shrink, *others = masks
    if any(others) or layer.option("offset"):
        raise Refusal("a STRIDED_SLICE with ellipsis_mask, new_axis_mask or offset", "begin, end and shrink_axis masks")
    begins, ends, steps = (layer.integers(i, w) for i, w in ((1, "the begin"), (2, "the end"), (3, "the strides")))
    if not len(begins) == len(ends) == len(steps) <= len(shape) or 0 in steps:
        raise bad(
            f"a slice from {begins} to {ends} by {steps} of {shape}", "one of each per axis, strides other than 0"
        )
    picks = []
    for axis, size in enumerate(shape):
        if axis >= len(begins):
            picks.append(range(size))
        elif shrink >> axis & 1:
            first = 0 if begin_mask >> axis & 1 else begins[axis]
            picks.append(range(first + size if first < 0 else first, (first + size if first < 0 else first) + 1))
        else:
            begin = None if begin_mask >> axis & 1 else begins[axis]
            end = None if end_mask >> axis & 1 else ends[axis]
            picks.append(range(*slice(begin, end, steps[axis]).indices(size)))
    _take(layer, 0, picks, 0)


def slice_(layer: Layer) -> None:
    """SLICE: `size` elements from `begin` on, -1 for all that follow."""
    shape = layer.tensor(0).shape
    begins, sizes = (layer.integers(i, what, len(shape)) for i, what in ((1, "the begin"), (2, "the size")))
    ends = [n if size == -1 else b + size for n, b, size in zip(shape, begins, sizes, strict=True)]
    _take(layer, 0, [range(b, e) for b, e in zip(begins, ends, strict=True)], 0)


def split(layer: Layer) -> None:
    """SPLIT into equal parts along an axis, which is the first input."""
    count = len(layer.op.outputs)
    axis, shape = layer.integers(0, "the axis of SPLIT", 1)[0], layer.tensor(1).shape
    layer.axis(axis, shape)
    size = shape[axis % len(shape)]
    if not count or size % count:
        raise bad(f"a SPLIT of {size} into {count} parts", "parts of one size")
    _split(layer, 1, axis % len(shape), [size // count] * count)


def split_v(layer: Layer) -> None:
    """SPLIT_V into parts of given sizes, of which one may be -1: the rest."""
    sizes, shape = layer.integers(1, "the sizes of SPLIT_V", len(layer.op.outputs)), layer.tensor(0).shape
    axis = layer.integers(2, "the axis of SPLIT_V", 1)[0]
    layer.axis(axis, shape)
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = shape[axis % len(shape)] - sum(sizes) - 1
    if sum(sizes) != shape[axis % len(shape)] or min(sizes, default=0) < 1:
        raise bad(f"a SPLIT_V of {shape[axis % len(shape)]} into {sizes}", "sizes that add up to the axis")
    _split(layer, 0, axis % len(shape), sizes)


def _split(layer: Layer, index: int, axis: int, sizes: list[int]) -> None:
    shape, start = layer.tensor(index).shape, 0
    for result, size in enumerate(sizes):
        picks = [range(start, start + size) if a == axis else range(n) for a, n in enumerate(shape)]
        _take(layer, index, picks, result)
        start += size


def _take(layer: Layer, index: int, picks: list[range], result: int) -> None:
    """The elements with these indices along every axis of an input, batch included, as one of the results."""
    value, shape = layer.value(index), layer.tensor(index).shape
    layer.expect_same_scale(index, result)
    for pick, size in zip(picks, shape, strict=True):
        if not len(pick) or min(pick) < 0 or max(pick) >= size:
            raise bad(
                f"{layer.op.name} of elements {pick.start} to {pick[-1] if pick else pick.stop} of {size}",
                "some, within it",
            )
    if has_batch(shape):
        picks = picks[1:]
    wanted = [(a, p) for a, p in enumerate(picks) if p != range(layer.type(value).shape[a])]
    for axis, pick in wanted:
        value = layer.emit(Take(axis, tuple(pick)), [value], f"part{result + 1}.axis{axis}")
    layer.same(value, result)
