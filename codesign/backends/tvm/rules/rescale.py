"""How a rescaling in one of its forms is computed: an integer at an index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import tirx

from codesign.backends.tvm.affine import Affine
from codesign.backends.tvm.definition import Builder, Expr, Value, integer, kind_of, word
from codesign.backends.tvm.pairs import PairSum
from codesign.backends.tvm.requant import Form, HighMul, Levels, Narrow, Wide
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
        case Affine():
            return _limited(builder, _affine(builder, form, x), out)
        case HighMul():
            return _limited(builder, _high_mul(builder, form, x), out)
        case Narrow(op, multiplier, shift) | Wide(op, multiplier, shift):
            kind = "int32" if isinstance(form, Narrow) else "int64"
            return _defined(builder, op, multiplier.astype(kind), shift.astype(kind), x, kind)


def repeats_operand(form: Form) -> bool:
    """Whether the expression of a form holds its operand several times."""
    match form:
        case Levels(levels):
            return int(levels.shape[1]) > 1
        case HighMul() | Affine():
            return form.below is not None
        case Narrow() | Wide():
            return True


def _affine(builder: Builder, form: Affine, x: Value) -> Value:
    m, b = builder.constant("multiplier", form.multiplier), builder.constant("offset", form.offset)
    if form.below is None or form.pivot is None:
        return lambda index: (x(index).astype("float32") * m(channel(m, index)) + b(channel(b, index))).astype("int32")
    # Not a choice between the two: LLVM would gather from the table that each lane chooses.
    more, pivot = builder.constant("more", form.below - form.offset), builder.constant("pivot", form.pivot)

    def index_of(index: Sequence[Expr]) -> Expr:
        c, q = channel(m, index), x(index)
        added = tirx.Select(q < pivot(c).astype(kind_of(q)), more(c), tirx.const(0.0, "float32"))
        return (q.astype("float32") * m(c) + (b(c) + added)).astype("int32")

    return index_of


def _high_mul(builder: Builder, form: HighMul, x: Value) -> Value:
    m, b = builder.constant("multiplier", form.multiplier), builder.constant("offset", form.offset)
    r = builder.constant("right", form.right)
    doubling = builder.neon and form.left > 0  # SQDMULH, which LLVM knows by its saturation
    shift = 31 if doubling else 32
    largest = integer((1 << 31) - 1, "int64")

    def index_of(index: Sequence[Expr]) -> Expr:
        c, q = channel(m, index), x(index)
        wide = (q << integer(form.left - 32 + shift, "int32")).astype("int64") * m(c).astype("int64")
        high = wide >> integer(shift, "int64")
        total = (tirx.min(high, largest) if doubling else high).astype("int32") + b(c)
        if form.below is not None:  # the same difference for every channel
            difference = int(form.below[0]) - int(form.offset[0])
            total = total + (tirx.shift_right(q, integer(31, "int32")) & integer(difference, "int32"))
        return tirx.shift_right(total, r(c))

    return index_of


def summed(builder: Builder, form: PairSum, a: Value, b: Value, out: IntType) -> Value:
    """`form` applied to a and b."""
    first, second, offset = (tirx.const(float(c), "float32") for c in (form.first, form.second, form.offset))

    def value(index: Sequence[Expr]) -> Expr:
        total = second * b(index).astype("float32") + (first * a(index).astype("float32") + offset)
        if not builder.neon:
            y = tirx.nearbyint(total).astype("int32")
            return tirx.min(tirx.max(y, integer(out.lo, "int32")), integer(out.hi, "int32"))
        y = tirx.call_llvm_pure_intrin("float32", "llvm.roundeven", total).astype("int32")  # FCVTNS
        words = tirx.min(tirx.max(y, integer(-(1 << 15), "int32")), integer((1 << 15) - 1, "int32")).astype("int16")
        limited = tirx.min(tirx.max(words, integer(out.lo, "int16")), integer(out.hi, "int16"))  # behind SQXTN
        return limited.astype("int32")

    return value


def _limited(builder: Builder, index_of: Value, out: IntType) -> Value:
    top = out.count - 1

    def value(index: Sequence[Expr]) -> Expr:
        limited = tirx.max(index_of(index), integer(0, "int32"))
        if builder.neon and top < 1 << 8:  # SQXTUN, UQXTN: saturation costs nothing
            words = tirx.min(limited, integer((1 << 16) - 1, "int32")).astype("uint16")
            limited = tirx.min(words, integer(top, "uint16")).astype("uint8").astype("int32")
        else:
            limited = tirx.min(limited, integer(top, "int32"))
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
