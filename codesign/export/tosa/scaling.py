"""Requant as RESCALE: the same function of every value that can occur, by proof, in the fewest operators."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codesign.export.tosa import operators as t
from codesign.export.tosa.tables import looked_up, takes_table
from codesign.export.tosa.values import (
    UNIT,
    UNIT_LIMIT,
    UNIT_SHIFT,
    Refused,
    Storage,
    Value,
    storage,
    stored,
    wide,
)
from codesign.export.tosa.writer import Dtype, Tensor, Writer
from codesign.frontend.requant import fit_requant
from codesign.ir.ops import Requant, Rounding
from codesign.ir.ops.rescale import requant_preimage, round_shift
from codesign.ir.types import IntArray, IntType

_END = 1 << 31  # of 32-bit integers
_MAX_SHIFT = 62
_MAX_TIES = 1 << 17  # that are looked at one by one
_FIT_BITS = 8  # of a result for which another multiplier is looked for


@dataclass(frozen=True, eq=False)
class Scaling:
    """y = clamp(round(x * m / 2^s) + zero_point, lo, hi), m >= 0: rounding and zero_point those of `op`.

    m and s, and the range least … most of x, have one value per row: one row, or one per channel.
    """

    op: Requant
    m: IntArray
    s: IntArray
    least: IntArray
    most: IntArray
    lo: int
    hi: int

    @property
    def double(self) -> bool:
        """Whether a shift is so large that TFLite's rounding differs from HALF_UP."""
        return self.op.rounding is Rounding.TFLITE_DOUBLE and int(self.s.max()) > 31

    def ends(self) -> tuple[int, int]:
        """The range of round(x * m / 2^s); the function never decreases."""
        low = round_shift(self.least * self.m, self.s, self.op.rounding)
        high = round_shift(self.most * self.m, self.s, self.op.rounding)
        return int(low.min()), int(high.max())

    def legal(self) -> tuple[IntArray, IntArray] | None:
        """(m, s) of the same function that a RESCALE of 32 bits takes for all of least … most, None when there is none.

        Shifts are 2 … 62, values below 2^(s - 1), results and results plus zero point below 2^31.
        """
        magnitude = np.maximum(self.most, -self.least - 1)
        needed = np.array([max(2, int(v).bit_length() + 1) for v in magnitude])
        m, s = self.m, np.where(self.m == 0, np.maximum(self.s, needed), self.s)
        more = np.maximum(needed - s, 0)
        if max(map(abs, self.ends())) + abs(self.op.zero_point) >= _END or ((m << more) >= _END).any():
            return None
        if self.double and ((s <= 31) & (s + more > 31)).any():
            return None  # the shift would get the rounding constant that only larger ones have
        return m << more, s + more


def rescaled(
    w: Writer, x: Value, op: Requant, m: IntArray, s: IntArray, limits: tuple[int, int] | None = None
) -> Value:
    """The Requant `op` of x with multipliers m and shifts s, limited to lo … hi (of op.out, unless given).

    Raises Refused for numbers that no TOSA operator takes.
    """
    (lo, hi), (m, s), rows = limits or (op.out.lo, op.out.hi), _rows(m, s), max(m.size, s.size)
    table = rows == 1 and takes_table(x.dtype, op.out)
    if table and int(m.min()) < 0:
        return _as_table(w, x, op, m, s, lo, hi)
    if int(m.min()) < 0:
        x, m = _positive(w, x, m), np.abs(m)
    f = _over(x.dtype, op, m, s, lo, hi)
    if op.rounding is Rounding.HALF_EVEN:
        f = half_up(f)
    if f.op.rounding is Rounding.HALF_EVEN and table:
        return _as_table(w, x, op, m, s, lo, hi)
    if f.op.rounding is Rounding.HALF_EVEN:
        x, f = _evened(w, x, f)
    if f.legal() is None:
        x, f = _cut(w, x, f)
    return scaled(w, x, f)


def needs_ties(x: IntType, op: Requant, m: IntArray, s: IntArray) -> bool:
    """Whether ties of the Requant go to even, and no multiplier for ties upwards, nor a table, is the same function."""
    m, s = _rows(m, s)
    if op.rounding is not Rounding.HALF_EVEN or int(m.min()) < 0 or (m.size == 1 and takes_table(x, op.out)):
        return False
    return half_up(_over(x, op, m, s, op.out.lo, op.out.hi)).op.rounding is Rounding.HALF_EVEN


def _rows(m: IntArray, s: IntArray) -> tuple[IntArray, IntArray]:
    """Both with one value per row."""
    m, s = np.broadcast_arrays(m, s)
    return m.copy(), s.copy()


def _over(x: IntType, op: Requant, m: IntArray, s: IntArray, lo: int, hi: int) -> Scaling:
    return Scaling(op, m, s, np.full(m.size, x.lo), np.full(m.size, x.hi), lo, hi)


def _as_table(w: Writer, x: Value, op: Requant, m: IntArray, s: IntArray, lo: int, hi: int) -> Value:
    """The function as a table of 256 entries."""
    domain = np.arange(x.dtype.lo, x.dtype.hi + 1, x.dtype.step)
    return looked_up(w, x, np.clip(op.apply(domain, m, s), lo, hi)[None, :], op.out)


def _positive(w: Writer, x: Value, m: IntArray) -> Value:
    """-x in the channels whose multiplier is negative: the product x * m stays what it is."""
    if int(m.min()) == -_END or x.dtype.lo == -_END:
        found = f"a negative multiplier {m.min()} for values from {x.dtype.lo}"
        raise Refused(found, f"both above {-_END}, which has no counterpart in 32 bits")
    signs = t.per_channel(np.where(m < 0, -1, 1), m.size)
    largest = x.dtype.largest
    return Value(t.mul_const(w, wide(w, x).tensor, signs), IntType.smallest(-largest, largest))


def half_up(f: Scaling) -> Scaling:
    """The same function with ties upwards, where one is proved: no tie matters, or another multiplier is equal."""
    as_up = replace(f, op=replace(f.op, rounding=Rounding.HALF_UP))
    if not _ties_matter(f).any():
        return as_up
    out = f.op.out
    if out.bits > _FIT_BITS or (f.lo, f.hi) != (out.lo, out.hi):
        return f
    x = IntType.smallest(int(f.least.min()), int(f.most.max()))
    levels = requant_preimage(f.op, x, f.m, f.s, np.arange(out.lo + 1, out.hi + 1)[None, :])
    zero = [np.zeros(len(levels), dtype=np.int64)]
    fit = fit_requant(levels, levels, out, f.op.zero_point, f.least, f.most, zero, (Rounding.HALF_UP,))
    if fit is None:
        return f
    m, s = (np.array(np.broadcast_to(v, f.m.shape)) for v in (fit.multiplier, fit.shift))
    return replace(as_up, m=m, s=s)


def _ties_matter(f: Scaling) -> NDArray[np.bool_]:
    """Per row whether rounding ties up instead of to even changes any result.

    With m / 2^s = o / 2^t, o odd, a tie is an odd multiple of 2^(t - 1). Beyond the inputs of the smallest and largest
    result ties do not matter, and between these every tie has a result of its own: there are few, each is evaluated.
    """
    _, distances = _reduced(f)
    first, last = _bounds(f)
    matter = np.zeros(f.m.shape, dtype=np.bool_)
    for row, (t_, a, b) in enumerate(zip(distances.tolist(), first.tolist(), last.tolist(), strict=True)):
        if t_ < 1 or f.m[row] == 0:
            continue
        half = 1 << (t_ - 1)
        ties = range(((a - half) >> t_ << t_) + half, b + 1, 1 << t_)
        matter[row] = len(ties) > _MAX_TIES or _differs(f, row, np.array(ties, dtype=np.int64))
    return matter


def _differs(f: Scaling, row: int, x: IntArray) -> bool:
    """Whether HALF_UP and HALF_EVEN give different results for any of x."""
    up, even = (round_shift(x * f.m[row], f.s[row : row + 1], r) for r in (Rounding.HALF_UP, Rounding.HALF_EVEN))
    limits = f.lo - f.op.zero_point, f.hi - f.op.zero_point
    return not np.array_equal(np.clip(up, *limits), np.clip(even, *limits))


def _reduced(f: Scaling) -> tuple[IntArray, IntArray]:
    """(o, t) with m / 2^s = o / 2^t and o odd; o is 1 for m = 0."""
    zeros = np.array([(int(m) & -int(m)).bit_length() - 1 if m else 0 for m in f.m])
    return np.maximum(f.m >> zeros, 1), f.s - zeros


def _bounds(f: Scaling) -> tuple[IntArray, IntArray]:
    """Per row the largest x that gives `lo` and the smallest that gives `hi`, within least … most."""
    x = IntType.smallest(int(f.least.min()), int(f.most.max()))
    reached = requant_preimage(f.op, x, f.m, f.s, np.array([[f.lo + 1, f.hi]]))
    first = np.clip(reached[:, 0] - 1, f.least, f.most)
    return first, np.clip(reached[:, 1], first, f.most)


def _cut(w: Writer, x: Value, f: Scaling) -> tuple[Value, Scaling]:
    """x limited to where the result changes: a RESCALE of that part may be legal where one of all of x is not."""
    first, last = _bounds(f)
    tensor = wide(w, x).tensor
    if (first > f.least).any():
        tensor = t.with_const(w, "MAXIMUM", tensor, t.per_channel(first, first.size))
    if (last < f.most).any():
        tensor = t.with_const(w, "MINIMUM", tensor, t.per_channel(last, last.size))
    return Value(tensor, x.dtype), replace(f, least=first, most=last)


def _evened(w: Writer, x: Value, f: Scaling) -> tuple[Value, Scaling]:
    """2^k * x - a, of which HALF_UP gives what HALF_EVEN gives of x.

    With m / 2^s = o / 2^t, o odd, a tie is x = 2^(t - 1) * (2j + 1) with j = x >> t, and HALF_UP makes an odd number of
    it when j + (o + 1) / 2 is odd: then a is to be 1. As 2^k >= o, taking 1 off brings a tie below itself, and takes
    nothing else across one: of any other x the parity may be whatever it is.
    """
    matter, (o, distance) = _ties_matter(f), _reduced(f)
    k = np.where(matter, [int(v - 1).bit_length() for v in o], 0)
    if not _holds(f.least << k, f.most << k):
        x, f = _cut(w, x, f)
    least, most = (f.least << k) - matter, f.most << k
    if not _holds(least, most):
        found = f"ties to even for values from {f.least.min()} to {f.most.max()} and a multiplier of {o.max()}"
        raise Refused(found, "products of less than 32 bits")
    tensor = wide(w, x).tensor
    rows = matter.size
    amount = t.channel_const(w, tensor, t.per_channel(np.where(matter, distance, 0), rows))
    number = t.shift_right(w, tensor, amount, rounded=False)
    more = (o + 1) // 2 & 1
    number = t.with_const(w, "ADD", number, t.per_channel(more, rows)) if more.any() else number
    even = t.mul_const(w, t.shift_right(w, number, 1, rounded=False), 2)
    odd = t.elementwise(w, "SUB", number, even)
    odd = odd if matter.all() else t.mul_const(w, odd, matter.astype(np.int64))
    scaled = t.mul_const(w, tensor, t.per_channel(np.int64(1) << k, rows)) if k.any() else tensor
    m, s = np.where(matter, o, f.m), np.where(matter, distance + k, f.s)
    up = replace(f.op, rounding=Rounding.HALF_UP)
    value = Value(t.elementwise(w, "SUB", scaled, odd), IntType.smallest(int(least.min()), int(most.max())))
    return value, replace(f, op=up, m=m, s=s, least=least, most=most)


def _holds(least: IntArray, most: IntArray) -> bool:
    """Whether 32 bits hold all of least … most, with room for the 1 that a parity may add."""
    return int(least.min()) >= -_END and int(most.max()) < _END - 1


def scaled(w: Writer, x: Value, f: Scaling) -> Value:
    """f of x: a RESCALE to the element type of the result, zero point and saturation included, if there is one."""
    to, legal = storage(f.op.out), f.legal()
    zero_point = f.op.zero_point - to.offset
    fits = -128 <= zero_point <= 127 if to.dtype is Dtype.I8 else zero_point == to.offset == 0
    if legal is None or not fits:
        return _finished(w, _rounded(w, x, f), f)
    source = _source(w, x, f)
    m, s = legal if source.dtype is not Dtype.I48 else (f.m, f.s)
    zero_in = -x.offset if source.dtype is Dtype.I8 else 0
    made = t.rescale(w, source, to.dtype, *merged(m, s), (zero_in, zero_point), f.double)
    return _clamped(w, made, f, to)


def _source(w: Writer, x: Value, f: Scaling) -> Tensor:
    """The tensor that a RESCALE reads: 48 bits go with multipliers of 16, and only 8 bits with an offset."""
    short = int(f.m.max()) < 1 << 15 and int(f.s.min()) >= 2 and not f.double
    if x.tensor.dtype is Dtype.I48 and short:
        return x.tensor
    return direct(w, x).tensor


def direct(w: Writer, x: Value) -> Value:
    """The same values as a RESCALE of 32 bits reads them: of 8 bits with any offset, else without one."""
    as_it_is = x.tensor.dtype is Dtype.I8 or (x.tensor.dtype is Dtype.I16 and not x.offset)
    return x if as_it_is else wide(w, x)


def merged(m: IntArray, s: IntArray) -> tuple[IntArray, IntArray]:
    """One multiplier and shift when all rows have the same."""
    same = (m == m[0]).all() and (s == s[0]).all()
    return (m[:1], s[:1]) if same else (m, s)


def _rounded(w: Writer, x: Value, f: Scaling) -> Tensor:
    """round(x * m / 2^s) in 32 bits: RESCALE, or MUL with a shift, which takes values of any size."""
    legal = f.legal()
    if legal is not None:
        source = _source(w, x, f)
        m, s = legal if source.dtype is not Dtype.I48 else (f.m, f.s)
        zero_in = -x.offset if source.dtype is Dtype.I8 else 0
        return t.rescale(w, source, Dtype.I32, *merged(m, s), (zero_in, 0), f.double)
    shift = int(f.s.max())
    m = f.m << np.minimum(shift - f.s, 31)
    if f.double or int(m.max()) >= _END or max(map(abs, f.ends())) >= _END or (shift - f.s > 31).any():
        found = f"a multiplier of {f.m.max()} and a shift of {f.s.min()} for values from {x.dtype.lo} to {x.dtype.hi}"
        raise Refused(found, "a result that 32 bits hold before it is limited")
    return t.mul_const(w, wide(w, x).tensor, t.per_channel(m, m.size), shift)


def _finished(w: Writer, rounded: Tensor, f: Scaling) -> Value:
    """clamp(rounded + zero_point, lo, hi) of 32 bits, in the element type of the result."""
    to, (low, high) = storage(f.op.out), f.ends()
    tensor = t.with_const(w, "ADD", rounded, f.op.zero_point) if f.op.zero_point else rounded
    low, high = low + f.op.zero_point, high + f.op.zero_point
    if max(abs(low), abs(high)) >= _END:
        raise Refused(f"results up to {max(abs(low), abs(high))} before they are limited", "at most 32 bits")
    if to.dtype is Dtype.I32 or (to.dtype is Dtype.I16 and to.offset) or max(abs(low), abs(high)) >= UNIT_LIMIT:
        if low < f.lo:
            tensor = t.with_const(w, "MAXIMUM", tensor, f.lo)
        if high > f.hi:
            tensor = t.with_const(w, "MINIMUM", tensor, f.hi)
        return stored(w, Value(tensor, f.op.out))
    zero_point = -to.offset if to.dtype is Dtype.I8 else 0
    made = t.rescale(w, tensor, to.dtype, UNIT, UNIT_SHIFT, (0, zero_point))
    return _clamped(w, made, f, to)


def _clamped(w: Writer, made: Tensor, f: Scaling, to: Storage) -> Value:
    """The result of a saturating RESCALE, limited to lo … hi where saturation and the values' range do not do it."""
    low, high = (end + f.op.zero_point - to.offset for end in f.ends())
    if to.dtype is Dtype.I32:
        if low < f.lo:
            made = t.with_const(w, "MAXIMUM", made, f.lo)
        if high > f.hi:
            made = t.with_const(w, "MINIMUM", made, f.hi)
        return Value(made, f.op.out)
    whole = IntType(8 if to.dtype is Dtype.I8 else 16, True)
    low, high = max(low, whole.lo), min(high, whole.hi)
    lo, hi = f.lo - to.offset, f.hi - to.offset
    if low < lo or high > hi:
        made = t.clamp(w, made, lo, hi)
    return Value(made, f.op.out, to.offset)
