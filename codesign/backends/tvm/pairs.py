"""A sum of two narrow tensors and its rescalings, as one sum of two products, proved over all pairs.

    y = R(A(a) + B(b))  ->  out.lo + clamp((ma * a + mb * b + c) >> shift, 0, out.count - 1)

A, B and R are Requants, one behind the other, per tensor; a and b have at most 8 bits, so that there are at most 2^16
pairs. Every one of them is evaluated with the operators themselves and met exactly. The factors have 32 bits and the
sum 64: between 2^16 pairs and a tie there is as little as 2^-16 of a step, more than single precision or 32 bits hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from codesign.backends.tvm.task import Task
from codesign.ir.graph import Node
from codesign.ir.ops import Add, Requant
from codesign.ir.types import IntArray, IntType

MOST_BITS = 8
SCALES = (1.0, *(1.0 + sign * 2.0**-n for n in range(24, 8, -2) for sign in (1, -1)))  # ties away from zero want > 1
_FAR = np.int64(1) << 50


@dataclass(frozen=True)
class Pair:
    """The tensors a and b, and the coefficients: ma, mb, c and shift."""

    a: str
    b: str
    multiplier_a: int
    multiplier_b: int
    offset: int
    shift: int


def pair_of(task: Task, node: Node) -> Pair | None:
    """The form of `node`, a Requant behind the sum of two rescaled tensors; None: it is no such, or not exact."""
    if not isinstance(node.op, Requant) or node.op.out.bits > MOST_BITS or node.op.out.step > 1:
        return None
    nodes = {n.name: n for n in task.nodes}
    total = nodes.get(node.inputs[0])
    if total is None or not isinstance(total.op, Add) or len(set(total.inputs)) < 2:
        return None
    first, second, last = _side(task, nodes, total.inputs[0]), _side(task, nodes, total.inputs[1]), _factor(task, node)
    if first is None or second is None or last is None:
        return None
    (a, one, slope_a), (b, other, slope_b) = first, second
    values_a, values_b = (_values(task.types[name].dtype) for name in (a, b))
    multiplier, shift = (task.consts[name] for name in node.inputs[1:])
    found = node.op.apply((one[:, None] + other[None, :]).reshape(-1, 1), multiplier, shift)
    index = found.reshape(one.size, other.size) - node.op.out.lo
    coefficients = _fit(index, values_a, values_b, slope_a * last, slope_b * last, node.op.out.count - 1)
    return None if coefficients is None else Pair(a, b, *coefficients)


def _values(dtype: IntType) -> IntArray:
    return dtype.lo + dtype.step * np.arange(dtype.count, dtype=np.int64)


def _factor(task: Task, node: Node) -> float | None:
    """multiplier / 2^shift of a Requant per tensor; None: per channel, or zero."""
    multiplier, shift = (task.consts[name] for name in node.inputs[1:])
    if multiplier.size > 1 or shift.size > 1 or not multiplier[0]:
        return None
    return math.ldexp(int(multiplier[0]), -int(shift[0]))


def _side(task: Task, nodes: dict[str, Node], name: str) -> tuple[str, IntArray, float] | None:
    """The narrow tensor that `name` is rescaled from, all its rescaled values, and the factor between them."""
    chain: list[Node] = []
    slope = 1.0
    while task.types[name].dtype.bits > MOST_BITS:
        node = nodes.get(name)
        factor = _factor(task, node) if node is not None and isinstance(node.op, Requant) else None
        if node is None or factor is None:
            return None
        chain.append(node)
        slope *= factor
        name = node.inputs[0]
    values = _values(task.types[name].dtype)
    for node in reversed(chain):
        assert isinstance(node.op, Requant)
        values = node.op.apply(values[:, None], *(task.consts[n] for n in node.inputs[1:]))[:, 0]
    return name, values, slope


def _fit(
    index: IntArray, a: IntArray, b: IntArray, slope_a: float, slope_b: float, top: int
) -> tuple[int, int, int, int] | None:
    """Coefficients whose shifted sum, limited to 0 … top, is `index` (a, b) for every pair; None: there are none."""
    largest = max(abs(slope_a), abs(slope_b))
    if not 2.0**-20 < largest < 2.0**20:
        return None
    shift = 30 - math.frexp(largest)[1]  # the factors have 30 bits
    for scale in SCALES:
        ma, mb = (round(math.ldexp(slope * scale, shift)) for slope in (slope_a, slope_b))
        x = (ma * a[:, None] + mb * b[None, :]).reshape(-1)
        smallest, biggest = np.full(top + 1, _FAR), np.full(top + 1, -_FAR)
        np.minimum.at(smallest, index.reshape(-1), x)
        np.maximum.at(biggest, index.reshape(-1), x)
        k, there = np.arange(top + 1) << shift, smallest < _FAR
        # The sum is at least k << shift where the index is k > 0, and below (k + 1) << shift where it is k < top.
        least = (k - smallest)[1:][there[1:]].max(initial=-_FAR)
        most = (k + (1 << shift) - 1 - biggest)[:-1][there[:-1]].min(initial=_FAR)
        if least <= most and least > -_FAR and most < _FAR:
            return ma, mb, int(least + most) // 2, shift
    return None
