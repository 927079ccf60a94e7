"""ArgMax and Softmax: along the last axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from tvm import te, tirx

from codesign.backends.tvm.definition import Builder, Expr, Value, integer, word
from codesign.ir.ops import ArgMax, Softmax
from codesign.ir.ops.classify import SUM_BITS
from codesign.ir.ops.fixed_point import doubling_high_mul, exp_on_negative_values, rounding_divide_by_pot

_MAX = (1 << 31) - 1


def classified(builder: Builder) -> Value:
    """The anchor's result."""
    anchor = builder.task.anchor
    assert anchor is not None
    return _argmax(builder) if isinstance(anchor.op, ArgMax) else _softmax(builder)


def _largest(builder: Builder, name: str) -> tuple[Value, te.Tensor]:
    x, type_ = builder.read(name), builder.task.types[name]
    k = te.reduce_axis((0, type_.channels), "k")
    return x, te.compute((*type_.shape[:-1], 1), lambda *i: te.max(x((*i[:-1], k)), axis=k), "largest")


def _argmax(builder: Builder) -> Value:
    anchor = builder.task.anchor
    assert anchor is not None
    name = anchor.inputs[0]
    x, largest = _largest(builder, name)
    type_ = builder.task.types[name]
    k = te.reduce_axis((0, type_.channels), "k")
    none = integer(type_.channels, "int32")

    def first(*index: Expr) -> Expr:
        place = index[:-1]
        equal = x((*place, k)) == largest(*place, integer(0, "int32"))
        return te.min(tirx.Select(equal, k, none), axis=k)

    found = te.compute((*type_.shape[:-1], 1), first, "first")
    return lambda index: found(*index)


def _softmax(builder: Builder) -> Value:
    """Softmax.evaluate, its exponentials from a table: they depend on the difference to the largest x alone."""
    anchor = builder.task.anchor
    assert anchor is not None
    assert isinstance(anchor.op, Softmax)
    op, name = anchor.op, anchor.inputs[0]
    x, largest = _largest(builder, name)
    type_ = builder.task.types[name]
    diff = -np.arange(type_.dtype.count, dtype=np.int64)
    inside = diff >= op.diff_min
    scaled = doubling_high_mul(np.where(inside, diff, 0) << op.left_shift, op.multiplier)
    exp = np.where(inside, exp_on_negative_values(scaled), 0)
    exps = builder.constant("exp", exp.astype(np.int32))
    terms = builder.constant("terms", rounding_divide_by_pot(exp, SUM_BITS).astype(np.int32))
    zero = integer(0, "int32")
    k = te.reduce_axis((0, type_.channels), "k")

    def below(place: tuple[Expr, ...], c: Expr) -> Expr:
        return largest(*place, zero) - x((*place, c))

    rows = (*type_.shape[:-1], 1)
    total = te.compute(rows, lambda *i: te.sum(terms(below(i[:-1], k)), axis=k), "total")

    # The leading zeros of the sum, 1 to 2^31 - 1: one for each power of two that it stays below.
    def zeros(*place: Expr) -> Expr:
        below = [(total(*place) < integer(1 << bit, "int32")).astype("int32") for bit in range(31)]
        return sum(below, start=integer(1, "int32")).astype("int64")

    headroom = te.compute(rows, zeros, "headroom")
    # Read from memory, as 64 bits: of a shift whose amount it can bound, TVM's analysis takes the largest for granted.
    exponents = te.compute(rows, lambda *i: integer(SUM_BITS + 31 - op.out.bits, "int64") - headroom(*i), "exponent")
    scale = _one_over(rows, lambda *i: total(*i).astype("int64") << headroom(*i))

    def value(index: Sequence[Expr]) -> Expr:
        *place, c = index
        at = (*place, zero)
        e = exps(below(tuple(place), c)).astype("int64")
        product = _high_mul(e, scale(*at))
        y = _divide_by_pot(product, exponents(*at)) + integer(op.out.lo, "int64")
        limited = tirx.min(tirx.max(y, integer(op.out.lo, "int64")), integer(op.out.hi, "int64"))
        return limited.astype(word(op.out))

    return value


def _high_mul(a: Expr, b: Expr) -> Expr:
    return tirx.min((a * b + integer(1 << 30, "int64")) >> integer(31, "int64"), integer(_MAX, "int64"))


def _divide_by_pot(x: Expr, exponent: Expr) -> Expr:
    one, zero = integer(1, "int64"), integer(0, "int64")
    mask = (one << exponent) - one
    up = (x & mask) > (mask >> one) + tirx.Select(x < zero, one, zero)
    return (x >> exponent) + tirx.Select(up, one, zero)


def _refined(better: Callable[..., Expr], x: te.Tensor) -> Callable[..., Expr]:
    return lambda *index: better(x, *index)


def _one_over(rows: tuple[int, ...], shifted: Callable[..., Expr]) -> te.Tensor:
    """`one_over_one_plus_x` of shifted - 2^31, per row, in 64-bit words; each step a stage of its own."""

    def shift_left(x: Expr, exponent: int) -> Expr:
        limited = tirx.max(x << integer(exponent, "int64"), integer(-(1 << 31), "int64"))
        return tirx.min(limited, integer(_MAX, "int64"))

    half = te.compute(rows, lambda *i: shifted(*i) >> integer(1, "int64"), "half")  # (a + 2^31) / 2
    x = te.compute(
        rows, lambda *i: integer(1515870810, "int64") + _high_mul(half(*i), integer(-1010580540, "int64")), "estimate"
    )

    def better(x: te.Tensor, *i: Expr) -> Expr:
        error = integer(1 << 29, "int64") - _high_mul(half(*i), x(*i))
        return x(*i) + shift_left(_high_mul(x(*i), error), 2)

    for step in range(3):
        x = te.compute(rows, _refined(better, x), f"estimate{step + 1}")
    return te.compute(rows, lambda *i: shift_left(x(*i), 1), "scale")
