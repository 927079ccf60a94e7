"""MaxPool2d and AvgPool2d."""

from __future__ import annotations

import numpy as np

from codesign.export.tosa import operators as t
from codesign.export.tosa.linear import MAX_BITS, convolved, fitted
from codesign.export.tosa.values import Lowering, Refused, Value, stored
from codesign.export.tosa.writer import Dtype
from codesign.ir.graph import Node
from codesign.ir.ops import AvgPool2d, Conv2d, MaxPool2d
from codesign.ir.ops.base import expect_image


def max_pool(c: Lowering, node: Node) -> Value:
    """MaxPool2d -> MAX_POOL2D."""
    assert isinstance(node.op, MaxPool2d)
    x, w = _narrow(c, node), c.writer
    source, window = fitted(w, x.tensor, node.op.kernel, node.op.stride, node.op.padding)
    return c.result(node, t.max_pool2d(w, source, window), x.offset)


def avg_pool(c: Lowering, node: Node) -> Value:
    """AvgPool2d -> DEPTHWISE_CONV2D with weights of 1; a mean -> AVG_POOL2D, its reciprocal proved exact."""
    assert isinstance(node.op, AvgPool2d)
    op, w, x = node.op, c.writer, _narrow(c, node)
    channels = x.tensor.shape[3]
    if not op.mean:
        sums = Conv2d(op.stride, op.padding, channels, pad_value=op.pad_value)
        ones = np.ones((channels, *op.kernel, 1), dtype=np.int64)
        return c.result(node, convolved(w, x, sums, ones, np.zeros(channels, dtype=np.int64)))
    counts = np.unique(op.counts(expect_image(c.graph.type(node.inputs[0]))))
    largest = x.dtype.largest
    if (x.tensor.dtype is Dtype.I16 and x.offset) or not all(_is_exact(int(n), largest) for n in counts):
        found = f"the mean of {counts.max()} values of type {x.dtype}"
        raise Refused(found, "a type other than u16, and sums that a reciprocal of 31 bits divides")
    source, window = fitted(w, x.tensor, op.kernel, op.stride, op.padding)
    return c.result(node, t.avg_pool2d(w, source, -x.offset, window), x.offset)


def _narrow(c: Lowering, node: Node) -> Value:
    x = c.shaped(node)
    if x.dtype.bits > MAX_BITS:
        raise Refused(f"an input of type {x.dtype}", f"at most {MAX_BITS} bits")
    return stored(c.writer, x)


def _is_exact(n: int, largest: int) -> bool:
    """Whether AVG_POOL2D rounds every sum of n values up to `largest` half away from zero, as AvgPool2d does.

    TOSA computes floor(v*m / 2^s + 1/2) with m = floor((2^30 + 1) * 2^k / n), s = 30 + k and 2^k the next power of two
    >= n. With e = n*m - 2^s > 0 the quotient v*m / 2^s lies away from zero of v / n by |v|*e / (n * 2^s). That takes
    ties away from zero, and moves nothing else over one as long as it is below 1 / (2n): see `exact_division`.
    """
    k = (n - 1).bit_length()
    m, s = ((1 << 30) + 1 << k) // n, 30 + k
    e = n * m - (1 << s)
    return e > 0 and 2 * n * largest * e < 1 << s and n * largest < 1 << (s - 1)
