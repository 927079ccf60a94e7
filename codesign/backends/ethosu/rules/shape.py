"""Rules for what moves values, and for reductions: paddings, slices, transposes, means, softmax, argmax."""

from __future__ import annotations

import itertools
import math

from codesign.backends.ethosu.rules.base import OLDER, Rule, View, nhwc, shape_text

_CONSTANTS = ("MEAN", "MIRROR_PAD", "PAD", "PADV2", "SLICE", "STRIDED_SLICE", "TRANSPOSE")
_AXIS = 1 << 16
_REDUCED = {"int8": 1 << 24, "uint8": 1 << 23, "int16": 1 << 16}
# The exchanges of H, W and C that the transposes of 8 and 16 bits do in one step, any size of N apart.
_IN_PLACE = ((1, 0, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0), (2, 0, 1))


def constant_parameters(v: View) -> str:
    """constant axes, paddings, sizes and permutations"""
    parameters = [t for t in map(v.input, range(1, len(v.op.inputs))) if t is not None]
    return ", ".join(f"{t.where} is computed" for t in parameters if t.data is None)


def padding_type(v: View) -> str:
    """paddings of int32: Vela 5.2 stops with an error at others"""
    paddings = v.input(1)
    return f"paddings of {paddings.kind}" if paddings is not None and paddings.kind != "int32" else ""


def same_scale(v: View) -> str:
    """the scale and zero point of the input: Vela 5.2 stops with an error at others"""
    ends = [(t.scale.tolist(), t.zero_point.tolist()) for t in (v.ifm, v.ofm) if t.scale.size]
    return f"{v.ofm.where} has another scale than {v.ifm.where}" if len(ends) == 2 and ends[0] != ends[1] else ""


def _permutation(v: View) -> tuple[int, ...]:
    values = v.input(1)
    return tuple(int(p) for p in values.data.reshape(-1)) if values is not None and values.data is not None else ()


def rank(v: View) -> str:
    """at most 8 axes"""
    return f"{len(v.ifm.shape)} axes" if len(v.ifm.shape) > 8 else ""


def transpose_16(v: View) -> str:
    """8 and 16 bits: H, W and C of at most 65,536, or the product of all axes but any two"""
    shape, permutation = v.ifm.shape, _permutation(v)
    if v.ifm.kind == "int32" or permutation == tuple(range(len(shape))) or not permutation:
        return ""
    missing = max(0, 3 - len(shape))
    shape = (1,) * missing + shape
    permutation = (*range(missing), *(p + missing for p in permutation))
    outer = len(shape) - 3
    moved = tuple(p - outer for p in permutation[outer:])
    simple = permutation[:outer] == tuple(range(outer)) and math.prod(shape[:outer]) == 1 and moved in _IN_PLACE
    rest = [shape[outer:]] if simple else list(itertools.combinations(shape, len(shape) - 2))
    fits = max(rest[0]) <= _AXIS if simple else max(map(math.prod, rest)) <= _AXIS
    return "" if fits else f"{shape_text(v.ifm.shape)} in the order {_permutation(v)}"


def transpose_32(v: View) -> str:
    """32 bits: at most four axes, C of at most 32,768 as it is; H and W exchanged with N of 1, H and W of at most
    65,536, C of at most 16,384; or W and C exchanged with N*H, W and C of at most 65,536"""
    shape, permutation = v.ifm.shape, _permutation(v)
    if v.ifm.kind != "int32" or not permutation:
        return ""
    found = f"{shape_text(shape)} in the order {permutation}"
    if len(shape) > 4:
        return found
    missing = 4 - len(shape)
    n, h, w, c = nhwc(shape)
    order = (*range(missing), *(p + missing for p in permutation))
    fits = {
        (0, 1, 2, 3): c <= 1 << 15,
        (0, 2, 1, 3): n == 1 and max(h, w) <= _AXIS and c <= 1 << 14,
        (0, 1, 3, 2): max(n * h, w, c) <= _AXIS,
    }.get(order, False)
    return "" if fits else found


def slice_stride(v: View) -> str:
    """steps of 1, over height and width of any positive size"""
    values = v.input(3)
    if values is None or values.data is None:
        return ""
    steps = [int(s) for s in values.data.reshape(-1)]
    others = [s for i, s in enumerate(steps) if i not in (len(steps) - 3, len(steps) - 2)]
    return f"steps of {steps}" if min(steps) < 1 or any(s != 1 for s in others) else ""


def not_empty(v: View) -> str:
    """at least one value: Vela 5.2 stops with an error at none"""
    return f"{v.ofm.where} is {shape_text(v.ofm.shape)}" if math.prod(v.ofm.shape) == 0 else ""


def _reduced(v: View) -> tuple[list[int], tuple[int, int, int, int]]:
    """The reduced axes in (N, H, W, C), and that shape."""
    values, n = v.input(1), len(v.ifm.shape)
    axes = [int(a) % n for a in values.data.reshape(-1)] if values is not None and values.data is not None else []
    return [max(0, a + 4 - n) for a in axes], nhwc(v.ifm.shape)


def mean_batch(v: View) -> str:
    """a batch of one: the fourth axis from the end"""
    batch = v.ifm.shape[-4] if len(v.ifm.shape) > 3 else 1
    return f"a batch of {batch}" if batch > 1 else ""


def mean_depth(v: View) -> str:
    """a mean over the channels only where height, width or channels are 1"""
    axes, shape = _reduced(v)
    return shape_text(v.ifm.shape) if 3 in axes and min(shape[1:]) > 1 else ""


def mean_axis(v: View) -> str:
    """at most 4,096 values along an axis that is reduced"""
    axes, shape = _reduced(v)
    longest = max((shape[a] for a in axes), default=0)
    return f"{longest:,} values" if longest > 4096 else ""


def mean_type(v: View) -> str:
    """an input of int8, uint8 or int16"""
    return "" if v.ifm.kind in _REDUCED else f"{v.ifm.where} is {v.ifm.kind}"


def mean_size(v: View) -> str:
    """means of at most 16,777,216 values of int8, 8,388,608 of uint8, 65,536 of int16"""
    axes, shape = _reduced(v)
    count = math.prod(shape[a] for a in set(axes))
    return f"{count:,} values of {v.ifm.kind}" if count > _REDUCED.get(v.ifm.kind, count) else ""


def softmax_rows(v: View) -> str:
    """at most 65,536 rows in an image"""
    _, height, width, _ = nhwc(v.ifm.shape)
    return f"{height * width:,} rows" if height * width > _AXIS else ""


def softmax_depth(v: View) -> str:
    """at most 65,536 classes: Vela 5.2 stops with an error at more"""
    return f"{v.ifm.shape[-1]:,} classes" if v.ifm.shape and v.ifm.shape[-1] > _AXIS else ""


def argmax_depth(v: View) -> str:
    """at most 127 values along the axis"""
    return f"{v.ifm.shape[-1]:,} values" if v.ifm.shape and v.ifm.shape[-1] > 127 else ""


def argmax_axis(v: View) -> str:
    """the last axis"""
    values = v.input(1)
    axis = int(values.data.reshape(-1)[0]) if values is not None and values.data is not None else -1
    return f"axis {axis} of {len(v.ifm.shape)}" if axis not in (-1, len(v.ifm.shape) - 1) else ""


def argmax_batch(v: View) -> str:
    """a batch of one: Vela 5.2 stops with an error at more"""
    batch = nhwc(v.ifm.shape)[0]
    return f"a batch of {batch}" if batch > 1 else ""


RULES = (
    Rule(constant_parameters, _CONSTANTS),
    Rule(padding_type, ("PAD", "PADV2")),
    Rule(same_scale, ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")),
    Rule(rank, ("TRANSPOSE",)),
    Rule(transpose_16, ("TRANSPOSE",), OLDER),
    Rule(transpose_32, ("TRANSPOSE",), OLDER),
    Rule(slice_stride, ("STRIDED_SLICE",)),
    Rule(not_empty, ("SLICE", "STRIDED_SLICE")),
    Rule(mean_batch, ("MEAN",)),
    Rule(mean_depth, ("MEAN",)),
    Rule(mean_axis, ("MEAN",)),
    Rule(mean_type, ("MEAN",)),
    Rule(mean_size, ("MEAN",)),
    Rule(softmax_rows, ("SOFTMAX",)),
    Rule(softmax_depth, ("SOFTMAX",)),
    Rule(argmax_depth, ("ARG_MAX",), OLDER),
    Rule(argmax_axis, ("ARG_MAX",), OLDER),
    Rule(argmax_batch, ("ARG_MAX",), OLDER),
)
