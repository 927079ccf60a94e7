"""Requant as RESCALE: the same function of every value that can occur, by proof, in the fewest operators."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from codesign.export.tosa import operators as t
from codesign.export.tosa.tables import looked_up, takes_table
from codesign.export.tosa.values import (
    UNIT,
    UNIT_LIMIT,
    UNIT_SHIFT,
    Lowering,
    Refused,
    Storage,
    Value,
    storage,
    stored,
    wide,
)
from codesign.export.tosa.writer import Dtype, Tensor, Writer
from codesign.frontend.requant import fit_requant
from codesign.ir.graph import Node
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


def requant(c: Lowering, node: Node) -> Value:
    """Requant -> RESCALE, with CLAMP where the result is narrower than its element type."""
    assert isinstance(node.op, Requant)
    return rescaled(c.writer, c.input(node), node.op, c.constant(node, 1), c.constant(node, 2))


def rescaled(
    w: Writer, x: Value, op: Requant, m: IntArray, s: IntArray, limits: tuple[int, int] | None = None
) -> Value:
    """The Requant `op` of x with multipliers m and shifts s, limited to lo … hi (of op.out, unless given).

    Raises Refused for numbers that no TOSA operator takes.
    """
    rows = max(m.size, s.size)
    m, s = (np.array(np.broadcast_to(v, rows)) for v in (m, s))
    if int(m.min()) < 0:
        x, m = _positive(w, x, m), np.abs(m)
    lo, hi = limits or (op.out.lo, op.out.hi)
    f = Scaling(op, m, s, np.full(rows, x.dtype.lo), np.full(rows, x.dtype.hi), lo, hi)
    if op.rounding is Rounding.HALF_EVEN:
        f = _half_up(f)
    if f.op.rounding is Rounding.HALF_EVEN and rows == 1 and takes_table(x.dtype, op.out):
        domain = np.arange(x.dtype.lo, x.dtype.hi + 1, x.dtype.step)
        return looked_up(w, x, np.clip(op.apply(domain, m, s), lo, hi)[None, :], op.out)
    x, f = _limited(w, x, f)
    if f.op.rounding is Rounding.HALF_EVEN:
        return _finished(w, _half_even(w, wide(w, x).tensor, f), f)
    return _scaled(w, x, f)


def _positive(w: Writer, x: Value, m: IntArray) -> Value:
    """-x in the channels whose multiplier is negative: the product x * m stays what it is."""
    if int(m.min()) == -_END or x.dtype.lo == -_END:
        found = f"a negative multiplier {m.min()} for values from {x.dtype.lo}"
        raise Refused(found, f"both above {-_END}, which has no counterpart in 32 bits")
    signs = t.per_channel(np.where(m < 0, -1, 1), m.size)
    largest = x.dtype.largest
    return Value(t.mul_const(w, wide(w, x).tensor, signs), IntType.smallest(-largest, largest))


def _half_up(f: Scaling) -> Scaling:
    """The same function with ties upwards, where one is proved: no tie matters, or another multiplier is equal."""
    as_up = replace(f, op=replace(f.op, rounding=Rounding.HALF_UP))
    if not _ties_matter(f):
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


def _ties_matter(f: Scaling) -> bool:
    """Whether rounding ties up instead of to even changes any result.

    With m = odd * 2^z a tie is an odd multiple of 2^(s - z - 1). Beyond the inputs of the smallest and largest result
    ties do not matter, and between these every tie has a result of its own: there are few, and each is evaluated.
    """
    first, last = _bounds(f)
    for m, s, a, b in zip(f.m.tolist(), f.s.tolist(), first.tolist(), last.tolist(), strict=True):
        step = s - ((m & -m).bit_length() - 1) if m else 0  # ties are 2^step apart
        if step < 1:
            continue
        half = 1 << (step - 1)
        ties = range(((a - half) >> step << step) + half, b + 1, 1 << step)
        if len(ties) > _MAX_TIES:
            return True
        x = np.array(ties, dtype=np.int64)
        up, even = (round_shift(x * m, np.array(s), r) for r in (Rounding.HALF_UP, Rounding.HALF_EVEN))
        limits = f.lo - f.op.zero_point, f.hi - f.op.zero_point
        if not np.array_equal(np.clip(up, *limits), np.clip(even, *limits)):
            return True
    return False


def _bounds(f: Scaling) -> tuple[IntArray, IntArray]:
    """Per row the largest x that gives `lo` and the smallest that gives `hi`, within least … most."""
    x = IntType.smallest(int(f.least.min()), int(f.most.max()))
    reached = requant_preimage(f.op, x, f.m, f.s, np.array([[f.lo + 1, f.hi]]))
    first = np.clip(reached[:, 0] - 1, f.least, f.most)
    return first, np.clip(reached[:, 1], first, f.most)


def _limited(w: Writer, x: Value, f: Scaling) -> tuple[Value, Scaling]:
    """x limited to where the result changes, when a RESCALE of all of x is not legal and of that part it may be."""
    if f.legal() is not None:
        return x, f
    first, last = _bounds(f)
    tensor = wide(w, x).tensor
    if (first > f.least).any():
        tensor = t.with_const(w, "MAXIMUM", tensor, t.per_channel(first, first.size))
    if (last < f.most).any():
        tensor = t.with_const(w, "MINIMUM", tensor, t.per_channel(last, last.size))
    return Value(tensor, x.dtype), replace(f, least=first, most=last)


def _scaled(w: Writer, x: Value, f: Scaling) -> Value:
    """A RESCALE to the element type of the result, zero point and saturation included, if there is such a one."""
    to, legal = storage(f.op.out), f.legal()
    zero_point = f.op.zero_point - to.offset
    fits = -128 <= zero_point <= 127 if to.dtype is Dtype.I8 else zero_point == to.offset == 0
    if legal is None or not fits:
        return _finished(w, _rounded(w, x, f), f)
    source = _source(w, x, f)
    m, s = legal if source.dtype is not Dtype.I48 else (f.m, f.s)
    zero_in = -x.offset if source.dtype is Dtype.I8 else 0
    made = t.rescale(w, source, to.dtype, *_merged(m, s), (zero_in, zero_point), f.double)
    return _clamped(w, made, f, to)


def _source(w: Writer, x: Value, f: Scaling) -> Tensor:
    """The tensor that a RESCALE reads: 48 bits go with multipliers of 16, and only 8 bits with an offset."""
    short = int(f.m.max()) < 1 << 15 and int(f.s.min()) >= 2 and not f.double
    if x.tensor.dtype is Dtype.I48 and short:
        return x.tensor
    direct = x.tensor.dtype is Dtype.I8 or (x.tensor.dtype is Dtype.I16 and not x.offset)
    return x.tensor if direct else wide(w, x).tensor


def _merged(m: IntArray, s: IntArray) -> tuple[IntArray, IntArray]:
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
        return t.rescale(w, source, Dtype.I32, *_merged(m, s), (zero_in, 0), f.double)
    shift = int(f.s.max())
    m = f.m << np.minimum(shift - f.s, 31)
    if f.double or int(m.max()) >= _END or max(map(abs, f.ends())) >= _END or (shift - f.s > 31).any():
        found = f"a multiplier of {f.m.max()} and a shift of {f.s.min()} for values from {x.dtype.lo} to {x.dtype.hi}"
        raise Refused(found, "a result that 32 bits hold before it is limited")
    return t.mul_const(w, wide(w, x).tensor, t.per_channel(m, m.size), shift)


def _half_even(w: Writer, x: Tensor, f: Scaling) -> Tensor:
    """U - e * (U mod 2): U rounds ties up, D down, and e = U - D is 1 for a tie, else 0. In 32 bits.

    D(x) = -U(-x). Without comparisons, which not every accelerator has.
    """
    reach = np.maximum(f.most, -f.least)
    both = replace(f, op=replace(f.op, rounding=Rounding.HALF_UP), least=-reach, most=reach)
    if int(reach.max()) >= _END:
        raise Refused(f"ties to even for values from {-_END}", f"values above {-_END}")
    dtype = IntType.smallest(-int(reach.max()), int(reach.max()))
    up = _rounded(w, Value(x, dtype), both)
    tie = t.elementwise(w, "ADD", up, _rounded(w, Value(t.mul_const(w, x, -1), dtype), both))
    even = t.mul_const(w, t.shift_right(w, up, 1, rounded=False), 2)
    return t.elementwise(w, "SUB", up, t.mul(w, tie, t.elementwise(w, "SUB", up, even)))


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
