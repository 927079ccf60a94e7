"""Means as a sum and an exact division."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import AvgPool2d, Requant, Rounding, Threshold
from codesign.ir.ops.base import expect_image
from codesign.ir.types import IntArray, IntType
from codesign.passes.levels import fits
from codesign.passes.requant_to_threshold import MAX_BITS
from codesign.passes.rewrite import Edit, accepts, rewrite


def mean_to_sum(graph: Graph) -> Graph:
    """AvgPool2d(mean=True) whose windows all hold n pixels of the image -> the sum, then a division by n.

    The division rounds half away from zero. To at most 4 bits it is a Threshold, above a Requant, both exact. Left
    alone when n differs between windows, or the division needs a multiplier of more than 31 bits.
    """
    return rewrite(graph, _rule)


def _rule(node: Node, edit: Edit) -> Node | None:
    if not isinstance(node.op, AvgPool2d) or not node.op.mean:
        return None
    counts = node.op.counts(expect_image(edit.type(node.inputs[0])))
    n, x = int(counts.flat[0]), edit.type(node.inputs[0]).dtype
    out = edit.graph.type(node.name).dtype
    levels, division = _levels(out, n) if out.bits <= MAX_BITS else None, exact_division(x, n)
    summed = replace(node.op, mean=False, pad_value=0)
    if (counts != n).any() or (levels is None and division is None) or not accepts(summed, edit.args(node)):
        return None
    total = edit.before(node, "sum", summed, node.inputs[0])
    if levels is not None:
        return replace(node, op=Threshold(out), inputs=(total, edit.const(f"{node.name}.levels", levels)))
    assert division is not None
    constants = zip(("multiplier", "shift"), division, strict=True)
    made = [edit.const(f"{node.name}.{what}", np.array([value])) for what, value in constants]
    return replace(node, op=Requant(out, Rounding.HALF_UP), inputs=(total, *made))


def _levels(out: IntType, n: int) -> IntArray | None:
    """The smallest sums whose mean rounds to at least out.lo + 1, …: n*t - n//2 for t > 0, else n*t - (n-1)//2.

    A tie rounds up above zero and down below: half away from zero.
    """
    t = np.arange(out.lo + 1, out.hi + 1)
    levels: IntArray = (n * t - np.where(t > 0, n // 2, (n - 1) // 2))[None, :]
    return levels if levels.size and fits(levels) else None


def exact_division(x: IntType, n: int) -> tuple[int, int] | None:
    """(m, s) with floor(v*m / 2^s + 1/2) = round_half_away(v / n) for every sum v of n values of type x; None: no such.

    m = (2^s + e) / n with 0 < e <= n is a little above 2^s / n, which takes ties away from zero on both sides. Any v
    that is no tie is at least 1/(2n) away from one, and the error of v*m / 2^s is |v|*e / (n * 2^s): below 1/(2n)
    when 2^s > 2*|v|*e. The smallest such s is taken.
    """
    largest = n * max(-x.lo, x.hi)
    for shift in range(63):
        e = n - (1 << shift) % n
        if (1 << shift) > 2 * largest * e:
            m = ((1 << shift) + e) // n
            return (m, shift) if m < 1 << 31 else None
    return None
