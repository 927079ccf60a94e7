"""How a rescaling in one of its forms is computed: an integer at an index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import tirx

from codesign.backends.tvm.definition import Builder, Expr, Value, integer, kind_of, word
from codesign.backends.tvm.pairs import Pair
from codesign.backends.tvm.requant import Affine, Form, HighMul, Levels, Narrow, Wide
from codesign.ir.ops import Requant, Rounding
from codesign.ir.types import IntArray, IntType


def channel(table: object, index: Sequence[Expr]) -> Expr:
    """Where a table with one entry, or one for each channel, is read."""
    return index[-1] if int(table.shape[0]) > 1 else integer(0, "int32")  # type: ignore[attr-defined]


def rescaled(builder: Builder, form: Form, x: Value, out: IntType) -> Value:
    """`form` applied to x."""
    match form:
        case Levels(levels):
            return _levels(builder, levels, x, out)
        case Affine(multiplier, offset):
            m, b = builder.constant("multiplier", multiplier), builder.constant("offset", offset)

            def index_of(index: Sequence[Expr]) -> Expr:
                c = channel(m, index)
                return (x(index).astype("float32") * m(c) + b(c)).astype("int32")

            return _limited(index_of, out)
        case HighMul(multiplier, offset, right, left):
            m, b = builder.constant("multiplier", multiplier), builder.constant("offset", offset)
            r = builder.constant("right", right)

            def index_of(index: Sequence[Expr]) -> Expr:
                c = channel(m, index)
                wide = (x(index) << integer(left, "int32")).astype("int64") * m(c).astype("int64")
                return tirx.shift_right((wide >> integer(32, "int64")).astype("int32") + b(c), r(c))

            return _limited(index_of, out)
        case Narrow(op, multiplier, shift) | Wide(op, multiplier, shift):
            kind = "int32" if isinstance(form, Narrow) else "int64"
            return _defined(builder, op, multiplier.astype(kind), shift.astype(kind), x, kind)


def summed(pair: Pair, a: Value, b: Value, out: IntType) -> Value:
    """`pair` applied to a and b."""

    first, second, offset, shift = (
        integer(v, "int64") for v in (pair.multiplier_a, pair.multiplier_b, pair.offset, pair.shift)
    )

    def index_of(index: Sequence[Expr]) -> Expr:
        total = a(index).astype("int64") * first + (b(index).astype("int64") * second + offset)
        return (total >> shift).astype("int32")

    return _limited(index_of, out)


def _limited(index_of: Value, out: IntType) -> Value:
    top = out.count - 1

    def value(index: Sequence[Expr]) -> Expr:
        limited = tirx.min(tirx.max(index_of(index), integer(0, "int32")), integer(top, "int32"))
        return limited + integer(out.lo, "int32")

    return value


def _levels(builder: Builder, levels: IntArray, x: Value, out: IntType) -> Value:
    # In 64 bits where a level is beyond the last value of 32 (never reached), or x is.
    kind = "int32" if levels.min() >= -(1 << 31) and levels.max() < 1 << 31 else "int64"
    table = builder.constant("levels", np.ascontiguousarray(levels.T).astype(kind))
    count = levels.shape[1]

    def value(index: Sequence[Expr]) -> Expr:
        c, q = (index[-1] if levels.shape[0] > 1 else integer(0, "int32")), x(index)
        total = integer(out.lo, "int32")
        for k in range(count):
            level = table(integer(k, "int32"), c)
            common = "int32" if kind_of(q) == kind == "int32" else "int64"
            reached = (q.astype(common) >= level.astype(common)).astype("int32")
            total = total + (reached * integer(out.step, "int32") if out.step > 1 else reached)
        return total

    return value


def _defined(builder: Builder, op: Requant, multiplier: IntArray, shift: IntArray, x: Value, kind: str) -> Value:
    """Requant by its definition (see `round_shift`), in words of `kind`."""
    m, s = builder.constant("multiplier", multiplier), builder.constant("shift", shift)
    zero, one = integer(0, kind), integer(1, kind)

    def value(index: Sequence[Expr]) -> Expr:
        product = x(index).astype(kind) * m(channel(m, index))
        amount = s(channel(s, index))
        quotient = product >> amount
        rest = product & ((one << amount) - one)
        half = tirx.shift_right(one << amount, one)
        if op.rounding is Rounding.HALF_EVEN:
            up = tirx.Select(rest + (quotient & one) > half, one, zero)
            y = quotient + tirx.Select(amount > zero, up, zero)
        else:
            total = rest + half
            if op.rounding is Rounding.TFLITE_DOUBLE and kind == "int64":
                nudge = tirx.Select(product >= zero, integer(1 << 30, kind), integer(-(1 << 30), kind))
                total = total + tirx.Select(amount > integer(31, kind), nudge, zero)
            y = quotient + (total >> amount)
        lo, hi = (integer(end - op.zero_point, kind) for end in (op.out.lo, op.out.hi))
        limited = tirx.min(tirx.max(y, lo), hi) + integer(op.zero_point, kind)
        return limited.astype(word(op.out))

    return value
