"""How a rescaling in one of its forms is computed: an integer at an index."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from tvm import te, tirx

from codesign.backends.tvm.affine import Affine
from codesign.backends.tvm.definition import Builder, Expr, Value, integer, kind_of, word
from codesign.backends.tvm.pairs import PairSum, WholeSum
from codesign.backends.tvm.requant import Form, HighMul, Levels, Narrow, Search, Wide
from codesign.ir.ops import Requant, Rounding
from codesign.ir.types import IntArray, IntType, TensorType


def channel(table: object, index: Sequence[Expr]) -> Expr:
    """Where a table with one entry, or one for each channel, is read."""
    return index[-1] if int(table.shape[0]) > 1 else integer(0, "int32")  # type: ignore[attr-defined]


def rescaled(builder: Builder, form: Form, x: Value, out: IntType) -> Value:
    """`form` applied to x."""
    match form:
        case Levels(levels):
            return _levels(builder, levels, x, out)
        case Search():
            return _searched(builder, form, x, out)
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
        case Narrow() | Wide() | Search():
            return True


def _searched(builder: Builder, form: Search, x: Value, out: IntType) -> Value:
    """Bisection, a stage for each bit: what has been found so far is read twice by the next."""
    rows, size = form.levels.shape
    kind = "int32" if form.levels.min() >= -(1 << 31) and form.never < 1 << 31 else "int64"
    table = builder.constant("levels", form.levels.astype(kind))
    shape = builder.task.types[builder.task.output].shape
    found: Value = lambda index: integer(0, "int32")  # noqa: E731

    def step(found: Value, bit: int) -> Value:
        def value(index: Sequence[Expr]) -> Expr:
            q, so_far = x(index), found(index)
            row = index[-1] if rows > 1 else integer(0, "int32")
            level = table(row, so_far + integer((1 << bit) - 1, "int32"))
            common = "int32" if kind_of(q) == kind == "int32" else "int64"
            reached = q.astype(common) >= level.astype(common)
            return so_far + tirx.Select(reached, integer(1 << bit, "int32"), integer(0, "int32"))

        return value

    for bit in reversed(range(int(size).bit_length())):
        found = builder.stage(step(found, bit), TensorType(shape, IntType(32, True)))
    total = found
    return lambda index: integer(out.lo, "int32") + total(index) * integer(out.step, "int32")


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
    common = form.common_right if builder.neon else None
    r = builder.constant("right", form.right) if common is None else None  # what is not read is no parameter
    added = _added(builder, form, b)
    doubling = builder.neon and form.left > 0  # SQDMULH, which LLVM knows by its saturation
    shift = 31 if doubling else 32
    largest = integer((1 << 31) - 1, "int64")

    def index_of(index: Sequence[Expr]) -> Expr:
        c, q = channel(m, index), x(index)
        wide = (q << integer(form.left - 32 + shift, "int32")).astype("int64") * m(c).astype("int64")
        high = wide >> integer(shift, "int64")
        total = (tirx.min(high, largest) if doubling else high).astype("int32") + added(c, q)
        return tirx.shift_right(total, r(c)) if r is not None else _shifted(total, common or 0)

    return index_of


def _added(builder: Builder, form: HighMul, offset: te.Tensor) -> Callable[[Expr, Expr], Expr]:
    """What HighMul adds to the product, by the channel and x."""
    if form.below is None or form.pivot is None:
        return lambda c, q: offset(c)
    differences = {int(d) for d in form.below.astype(np.int64) - form.offset}
    if len(differences) == 1 and not form.pivot.any():
        difference = integer(differences.pop(), "int32")
        return lambda c, q: offset(c) + (tirx.shift_right(q, integer(31, "int32")) & difference)
    below, pivot = builder.constant("below", form.below), builder.constant("pivot", form.pivot)
    return lambda c, q: tirx.Select(q < pivot(c), below(c), offset(c))


def summed(builder: Builder, form: PairSum | WholeSum, a: Value, b: Value, out: IntType) -> Value:
    """`form` applied to a and b."""
    if isinstance(form, WholeSum):
        return _limited(builder, _whole(form, a, b, out.lo), out)
    first, second, offset = (tirx.const(float(c), "float32") for c in (form.first, form.second, form.offset))

    def value(index: Sequence[Expr]) -> Expr:
        total = second * b(index).astype("float32") + (first * a(index).astype("float32") + offset)
        y = tirx.nearbyint(total).astype("int32")
        return tirx.min(tirx.max(y, integer(out.lo, "int32")), integer(out.hi, "int32"))

    return value


def _whole(form: WholeSum, a: Value, b: Value, lo: int) -> Value:
    first, second = integer(form.first, "int32"), integer(form.second, "int32")
    offset = integer(form.offset - (lo << form.right), "int32")
    return lambda index: _shifted(first * a(index) + second * b(index) + offset, form.right)


def _shifted(total: Expr, right: int) -> Expr:
    """total >> right, in 16 bits where the upper half of each word is enough: one instruction takes eight of them."""
    if right < 16:
        return tirx.shift_right(total, integer(right, "int32"))
    upper = tirx.shift_right(total, integer(16, "int32")).astype("int16")
    return tirx.shift_right(upper, integer(right - 16, "int16")) if right > 16 else upper


def _limited(builder: Builder, index_of: Value, out: IntType) -> Value:
    top = out.count - 1

    def value(index: Sequence[Expr]) -> Expr:
        y = index_of(index)
        limited = tirx.max(y, integer(0, kind_of(y)))
        if kind_of(y) == "int16":
            limited = tirx.min(limited, integer(top, "int16")).astype("uint8").astype("int32")
        elif builder.neon and top < 1 << 8:  # SQXTUN, UQXTN: saturation costs nothing
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
