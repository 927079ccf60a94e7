"""A sum of two values of at most 8 bits with rescalings before and behind it, TFLite's ADD above all, as one step.

    y = clamp(rint(mb * b + (ma * a + c)), lo, hi)      in single precision, rint with ties to even
    y = clamp((ma * a + mb * b + c) >> s, lo, hi)       in 32-bit integers

instead of five rescalings of up to 64 bits. A form is used where it is proved: for all of the at most 65,536 pairs
(a, b) it equals what the operators compute, in single precision whether the compiler fuses a product and its sum to
one rounding or not.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from codesign.ir.graph import Node
from codesign.ir.ops import Add, Arg, Requant, Threshold
from codesign.ir.types import IntArray, IntType, RealArray, TensorType

MOST_VALUES = 1 << 8
NEIGHBOURS = 12  # how far from the nearest single-precision slopes to look, in their last place
CANDIDATES = 100  # of them, the ones that leave the offset the most room, are tried
NEAR = 2.0**-6  # pairs further from a rounding boundary than this decide nothing
WHOLE_NEIGHBOURS = 4  # the same for whole slopes
_LEAST = 2.0**-14  # coefficients are 0 or at least so large: then sums of exact products need fewer than 53 bits
_MOST = 2.0**10


@dataclass(frozen=True, eq=False)
class PairSum:
    """y = clamp(rint(second * b + (first * a + offset)), out.lo, out.hi)."""

    first: np.float32
    second: np.float32
    offset: np.float32


@dataclass(frozen=True)
class WholeSum:
    """y = clamp((first * a + second * b + offset) >> right, out.lo, out.hi): no partial sum needs more than 32 bits."""

    first: int
    second: int
    offset: int
    right: int


@dataclass(frozen=True, eq=False)
class Pattern:
    """behind(add(sides[0](a), sides[1](b))): chains of rescalings of a whole tensor around one Add.

    a, b and the result have at most 8 bits; nothing else reads what is in between
    """

    a: str
    b: str
    sides: tuple[Sequence[Node], Sequence[Node]]
    add: Node
    behind: Sequence[Node]

    @property
    def nodes(self) -> list[Node]:
        """All of them, each behind what it reads."""
        return [*self.sides[0], *self.sides[1], self.add, *self.behind]

    @property
    def result(self) -> str:
        """The value that is computed."""
        return self.behind[-1].name

    def form(
        self, types: Mapping[str, TensorType], consts: Mapping[str, IntArray], integers: bool = False
    ) -> PairSum | WholeSum | None:
        """What computes it without the rescalings; None where no coefficients are exact.

        integers  whether 32-bit products are cheaper than conversions to single precision and back
        """
        terms, slopes = [], []
        for name, side in zip((self.a, self.b), self.sides, strict=True):
            dtype = types[name].dtype
            terms.append(_applied(side, np.arange(dtype.lo, dtype.hi + 1, dtype.step), types, consts))
            slopes.append(_slope(side, consts) * _slope(self.behind, consts))
        values = _applied(self.behind, terms[0][:, None] + terms[1][None, :], types, consts)
        ends = types[self.a].dtype, types[self.b].dtype, types[self.result].dtype
        return _form(*ends, values.tobytes(), (slopes[0], slopes[1]), integers)


def patterns(
    nodes: Sequence[Node], types: Mapping[str, TensorType], consts: Mapping[str, IntArray], kept: Container[str] = ()
) -> list[Pattern]:
    """The patterns among `nodes`; `kept` are values that others read."""
    made, readers = {node.name: node for node in nodes}, dict[str, list[Node]]()
    for node in nodes:
        for name in dict.fromkeys(node.inputs):
            readers.setdefault(name, []).append(node)

    def is_narrow(name: str) -> bool:
        return types[name].dtype.count <= MOST_VALUES

    def is_inner(name: str) -> bool:
        return len(readers.get(name, ())) == 1 and name not in kept

    def is_scalar(node: Node) -> bool:
        return isinstance(node.op, Requant | Threshold) and all(consts[name].shape[0] == 1 for name in node.inputs[1:])

    found = []
    for node in nodes:
        if not isinstance(node.op, Add) or len(set(node.inputs)) < 2:
            continue
        ends, sides = [], []
        for name in node.inputs:
            side: list[Node] = []
            while not is_narrow(name) and is_inner(name) and name in made and is_scalar(made[name]):
                side.insert(0, made[name])
                name = side[0].inputs[0]
            ends.append(name)
            sides.append(side)
        behind: list[Node] = []
        name = node.name
        while (not behind or not is_narrow(name)) and is_inner(name) and is_scalar(readers[name][0]):
            behind.append(readers[name][0])
            name = behind[-1].name
        narrow = bool(behind) and all(is_narrow(end) for end in (*ends, name)) and types[name].dtype.step == 1
        if narrow and any(sides) and ends[0] != ends[1]:
            found.append(Pattern(ends[0], ends[1], (sides[0], sides[1]), node, behind))
    return found


def _applied(
    chain: Sequence[Node], x: IntArray, types: Mapping[str, TensorType], consts: Mapping[str, IntArray]
) -> IntArray:
    """What the nodes compute from x (any shape)."""
    flat = x.reshape(-1, 1)
    for node in chain:
        constants = [consts[name] for name in node.inputs[1:]]
        args = [Arg(types[node.inputs[0]]), *(Arg(types[node.inputs[0]], value) for value in constants)]
        flat = np.asarray(node.op.evaluate([flat, *constants], args), dtype=np.int64)
    return flat.reshape(x.shape)


def _slope(chain: Sequence[Node], consts: Mapping[str, IntArray]) -> float:
    """How much the result grows with the operand, where nothing is limited."""
    factors = [[int(consts[name][0]) for name in n.inputs[1:]] for n in chain if isinstance(n.op, Requant)]
    return float(np.prod([multiplier / 2.0**shift for multiplier, shift in factors]))


@lru_cache(maxsize=256)  # every schedule that is tried asks again
def _form(
    a: IntType, b: IntType, out: IntType, values: bytes, slopes: tuple[float, float], integers: bool
) -> PairSum | WholeSum | None:
    x, y = (np.arange(dtype.lo, dtype.hi + 1, dtype.step) for dtype in (a, b))
    table = np.frombuffer(values, dtype=np.int64).reshape(len(x), len(y))
    whole = whole_sum(x, y, table, slopes, out) if integers else None
    return whole or pair_sum(x, y, table, slopes, out)


@dataclass(frozen=True, eq=False)
class _Close:
    """The pairs whose sum is close to where the result changes: they alone decide which coefficients are exact.

    lows, highs  whether the result is the smallest, the largest: smaller, larger sums give the same
    offset       about the middle of what may be added to the sum
    """

    a: RealArray
    b: RealArray
    values: IntArray
    lows: NDArray[np.bool_]
    highs: NDArray[np.bool_]
    offset: float


def _close(a: IntArray, b: IntArray, values: IntArray, slopes: tuple[float, float], out: IntType) -> _Close | None:
    """None: the slopes are too small or too large, or every pair gives the same."""
    if not (0 < abs(slopes[0]) < _MOST and 0 < abs(slopes[1]) < _MOST):
        return None
    grid_a, grid_b = (g.reshape(-1) for g in np.meshgrid(a.astype(np.float64), b.astype(np.float64), indexing="ij"))
    flat = values.reshape(-1)
    # The offsets that each pair allows with slopes: from values - 1/2 - linear to values + 1/2 - linear.
    linear = slopes[0] * grid_a + slopes[1] * grid_b
    least, most = (np.where(end, away, flat + half - linear) for end, away, half in (
        (flat == out.lo, -np.inf, -0.5), (flat == out.hi, np.inf, 0.5)
    ))  # fmt: skip
    near = (least > least.max() - NEAR) | (most < most.min() + NEAR)
    if not near.any() or not np.isfinite(least.max()) or not np.isfinite(most.min()):
        return None
    offset = float(least.max() + most.min()) / 2
    return _Close(grid_a[near], grid_b[near], flat[near], flat[near] == out.lo, flat[near] == out.hi, offset)


def whole_sum(a: IntArray, b: IntArray, values: IntArray, slopes: tuple[float, float], out: IntType) -> WholeSum | None:
    """Whole coefficients near `slopes`, with as many bits as fit, for every pair; None: none were found."""
    close = _close(a, b, values, slopes, out)
    if close is None:
        return None
    largest = 2 + abs(close.offset) + out.largest
    largest += sum(abs(slope) * float(np.abs(x).max()) for slope, x in zip(slopes, (a, b), strict=True))
    right = 30 - int(np.ceil(np.log2(largest)))  # one bit for products of numbers that lie apart from zero
    nearest = [round(slope * 2.0**right) for slope in slopes]
    away = range(-WHOLE_NEIGHBOURS, WHOLE_NEIGHBOURS + 1)
    best: list[tuple[float, WholeSum]] = []
    for first, second in ((nearest[0] + i, nearest[1] + j) for i in away for j in away):
        at = first * close.a + second * close.b  # below 2^53: exact
        least = np.where(close.lows, -np.inf, close.values * 2.0**right - at).max()
        most = np.where(close.highs, np.inf, (close.values + 1) * 2.0**right - 1 - at).min()
        if most >= least:
            best.append((float(most - least), WholeSum(first, second, int(least + most) // 2, right)))
    best.sort(key=lambda entry: -entry[0])
    return next((form for _, form in best[:CANDIDATES] if whole_holds(form, a, b, values, out)), None)


def whole_holds(form: WholeSum, a: IntArray, b: IntArray, values: IntArray, out: IntType) -> bool:
    """Whether the form gives `values` for every pair, and no sum of some of its terms needs more than 32 bits."""
    terms = form.first * a, form.second * b, np.array([form.offset - (out.lo << form.right)])
    if not 0 < form.right < 31 or sum(int(np.abs(term).max()) for term in terms) >= 1 << 31:
        return False
    return bool((whole(form, a[:, None], b[None, :], out) == values).all())


def whole(form: WholeSum, a: IntArray, b: IntArray, out: IntType) -> IntArray:
    """The form as a kernel computes it."""
    total: IntArray = (form.first * a + form.second * b + form.offset) >> form.right
    return np.clip(total, out.lo, out.hi)


def pair_sum(a: IntArray, b: IntArray, values: IntArray, slopes: tuple[float, float], out: IntType) -> PairSum | None:
    """Coefficients near `slopes` that give `values` (len(a), len(b)) for every pair; None: none were found."""
    close = _close(a, b, values, slopes, out)
    if close is None:
        return None
    best: list[tuple[float, PairSum]] = []
    for first, second in product(_around(slopes[0]), _around(slopes[1])):
        rest = close.values - float(first) * close.a - float(second) * close.b
        from_, to = np.where(close.lows, -np.inf, rest - 0.5).max(), np.where(close.highs, np.inf, rest + 0.5).min()
        best.append((float(to - from_), PairSum(first, second, np.float32((from_ + to) / 2))))
    best.sort(key=lambda entry: -entry[0])
    for width, form in best[:CANDIDATES]:
        if width > 0 and holds(form, a, b, values, out):
            return form
    return None


def _around(slope: float) -> list[np.float32]:
    """The single-precision numbers nearest to `slope`."""
    found = [np.float32(slope)]
    for away in (np.float32(-np.inf), np.float32(np.inf)):
        value = found[0]
        for _ in range(NEIGHBOURS):
            value = np.nextafter(value, away)
            found.append(value)
    return found


def holds(form: PairSum, a: IntArray, b: IntArray, values: IntArray, out: IntType) -> bool:
    """Whether the form gives `values` for every pair, for each way in which products and sums may be rounded."""
    coefficients = [abs(float(c)) for c in (form.first, form.second, form.offset)]
    if any(c and not _LEAST <= c <= _MOST * MOST_VALUES for c in coefficients):
        return False
    ways = ((False, False), (False, True), (True, False), (True, True))
    return all(bool((evaluate(form, a[:, None], b[None, :], out, fused) == values).all()) for fused in ways)


def evaluate(
    form: PairSum, a: IntArray, b: IntArray, out: IntType, fused: tuple[bool, bool] = (False, False)
) -> IntArray:
    """The form as a kernel computes it; fused: whether the first, the second product is added without a rounding."""
    inner = _multiply_add(form.first, a, np.asarray(form.offset), fused[0])
    total = _multiply_add(form.second, b, inner, fused[1])
    return np.clip(np.rint(total).astype(np.int64), out.lo, out.hi)


def _multiply_add(m: np.float32, x: IntArray, c: NDArray[np.float32], fused: bool) -> NDArray[np.float32]:
    exact: RealArray = float(m) * x.astype(np.float64)  # 24 bits by 9: no rounding, and none of the sum below
    term = exact if fused else exact.astype(np.float32).astype(np.float64)
    return (term + c.astype(np.float64)).astype(np.float32)
