"""Hypothesis strategies for valid integer graphs: every operator, every width, chains, branches and residuals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from codesign.ir.graph import Graph
from codesign.ir.ops import Add, ArgMax, AvgPool2d, Concat, MaxPool2d, OpError, Pad, Reshape, Rounding
from codesign.ir.types import BIPOLAR, IntArray, IntType
from codesign.testing.build import GraphBuilder

Pick = Callable[[int, int], int]


def int_types(max_bits: int = 32, bipolar: bool = True) -> st.SearchStrategy[IntType]:
    """Integer types of 1 to `max_bits` bits; narrow ones are as likely as wide ones."""
    plain = st.builds(IntType, st.one_of(st.integers(1, min(4, max_bits)), st.integers(1, max_bits)), st.booleans())
    return st.one_of(plain, st.just(BIPOLAR)) if bipolar else plain


def values(rng: np.random.Generator, dtype: IntType, shape: Sequence[int]) -> IntArray:
    """Values of `dtype`, its smallest and largest among them more often than chance would have it."""
    drawn = rng.integers(0, dtype.count, size=tuple(shape))
    edge = rng.random(tuple(shape))
    drawn = np.where(edge < 0.05, 0, np.where(edge > 0.95, dtype.count - 1, drawn))
    return dtype.lo + dtype.step * drawn


def feeds(graph: Graph, batch: int, seed: int) -> list[IntArray]:
    """A batch of integer inputs for `graph`."""
    rng = np.random.default_rng(seed)
    return [values(rng, graph.type(p.name).dtype, (batch, *graph.type(p.name).shape)) for p in graph.inputs]


@dataclass
class Walk:
    """A graph that grows by one random operator at a time from the value `current`.

    pick  chooses structure (kinds, sizes) from low to high, both included; values come from `rng`
    """

    pick: Pick
    rng: np.random.Generator
    build: GraphBuilder
    current: str

    @property
    def dtype(self) -> IntType:
        return self.build.type(self.current).dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.build.type(self.current).shape

    def weight_type(self, terms: int) -> IntType:
        """A type of weights whose sum with the current value stays below 31 bits."""
        room = 31 - self.dtype.bits - terms.bit_length()
        if room < 1:
            raise OpError("no room for weights")
        return BIPOLAR if self.pick(0, 4) == 0 else IntType(self.pick(1, min(room, 8)), bool(self.pick(0, 3)))

    def bias(self, outputs: int) -> IntArray | None:
        return self.rng.integers(-100, 101, outputs) if self.pick(0, 1) else None

    def padding(self, limit: int) -> tuple[int, int, int, int]:
        if self.pick(0, 1) == 0:
            return (0, 0, 0, 0)
        return self.pick(0, limit), self.pick(0, limit), self.pick(0, limit), self.pick(0, limit)


def _conv(w: Walk) -> str:
    height, width, channels = w.shape
    groups = (1, channels, 2)[w.pick(0, 2)]
    if channels % groups:
        raise OpError("channels that cannot be grouped")
    outputs = groups * w.pick(1, 2) if groups > 1 else w.pick(1, 5)
    kernel = w.pick(1, min(3, height)), w.pick(1, min(3, width))
    dtype = w.weight_type(kernel[0] * kernel[1] * channels // groups)
    weights = values(w.rng, dtype, (outputs, *kernel, channels // groups))
    stride, dilation = (w.pick(1, 2), w.pick(1, 2)), (w.pick(1, 4) // 4 + 1, w.pick(1, 4) // 4 + 1)
    pad_value = w.pick(max(w.dtype.lo, -3), min(w.dtype.hi, 3))
    return w.build.conv(
        w.current, weights, dtype, w.bias(outputs), stride, w.padding(2), groups, dilation, pad_value
    )  # fmt: skip


def _dense(w: Walk) -> str:
    inputs, outputs = w.shape[-1], w.pick(1, 6)
    dtype = w.weight_type(inputs)
    return w.build.dense(w.current, values(w.rng, dtype, (outputs, inputs)), dtype, w.bias(outputs))


def _threshold(w: Walk) -> str:
    out = BIPOLAR if w.pick(0, 4) == 0 else IntType(w.pick(1, 5), bool(w.pick(0, 1)))
    count = w.pick(1, out.count - 1)
    rows = w.shape[-1] if w.pick(0, 1) else 1
    margin = min(3, max(1, w.dtype.count // 16)) if w.dtype.bits < 31 else 0
    levels = np.sort(w.rng.integers(w.dtype.lo - margin, w.dtype.hi + margin + 1, (rows, count)), axis=1)
    return w.build.threshold(w.current, levels, out)


def _requant(w: Walk) -> str:
    out = IntType(w.pick(1, 10), bool(w.pick(0, 1)))
    rounding = list(Rounding)[w.pick(0, len(Rounding) - 1)]
    rows = w.shape[-1] if w.pick(0, 1) else 1
    # The multiplier brings the input's range to about the output's; small ones meet many ties.
    bits = w.pick(1, 31)
    magnitude = w.rng.integers(1 << (bits - 1), 1 << bits, rows)
    shift = np.clip(bits + w.dtype.bits - out.bits + w.rng.integers(-1, 3, rows), 0, 62)
    signs = w.rng.choice([-1, 1], rows, p=[0.2, 0.8]) if w.pick(0, 2) == 0 else 1
    zero_point = w.pick(out.lo, out.hi)
    return w.build.requant(w.current, (magnitude * signs).tolist(), shift.tolist(), out, rounding, zero_point)


def _add(w: Walk) -> str:
    others = [n for n, t in w.build.types.items() if t.shape == w.shape and t.dtype.bits < 31]
    if w.dtype.bits > 30 or not others:
        raise OpError("no second term")
    return w.build.node(Add(), w.current, others[w.pick(0, len(others) - 1)])


def _concat(w: Walk) -> str:
    others = [n for n, t in w.build.types.items() if t.shape[:-1] == w.shape[:-1] and t.dtype == w.dtype]
    return w.build.node(Concat(), w.current, *(others[w.pick(0, len(others) - 1)] for _ in range(w.pick(1, 2))))


def _pool(w: Walk) -> str:
    height, width, _ = w.shape
    kernel = w.pick(1, min(3, height)), w.pick(1, min(3, width))
    stride, padding = (w.pick(1, 3), w.pick(1, 3)), w.padding(min(kernel) - 1)
    if w.pick(0, 1):
        return w.build.node(MaxPool2d(kernel, stride, padding), w.current)
    pad_value = w.pick(max(w.dtype.lo, -3), min(w.dtype.hi, 3))
    return w.build.node(AvgPool2d(kernel, stride, padding, bool(w.pick(0, 1)), pad_value), w.current)


def _pad(w: Walk) -> str:
    return w.build.node(Pad(w.padding(2), w.pick(-3, 3)), w.current)


def _reshape(w: Walk) -> str:
    size = int(np.prod(w.shape))
    first = _divisor(w, size)
    second = _divisor(w, size // first)
    shapes = ((size,), (first, size // first), (first, second, size // first // second))
    return w.build.node(Reshape(shapes[w.pick(0, 2)]), w.current)


def _divisor(w: Walk, n: int) -> int:
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    return divisors[w.pick(0, len(divisors) - 1)]


STEPS: dict[str, Callable[[Walk], str]] = {
    "Conv2d": _conv,
    "Dense": _dense,
    "Threshold": _threshold,
    "Requant": _requant,
    "Add": _add,
    "Concat": _concat,
    "Pool": _pool,
    "Pad": _pad,
    "Reshape": _reshape,
}
_IMAGE_ONLY = {"Conv2d", "Pool", "Pad"}


@st.composite
def graphs(
    draw: st.DrawFn, steps: Sequence[str] = tuple(STEPS), max_nodes: int = 6, max_bits: int = 32, argmax: bool = True
) -> Graph:
    """A valid graph of up to `max_nodes` operators of the kinds `steps`, with one input and one or two outputs."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    build = GraphBuilder()
    image = draw(st.booleans())
    shape = [draw(st.integers(1, 7)), draw(st.integers(1, 7)), draw(st.integers(1, 5))] if image else []
    current = build.input(shape or [draw(st.integers(1, 12))], draw(int_types(max_bits)))
    # Structure comes from Hypothesis, so that failures shrink.
    walk = Walk(lambda low, high: draw(st.integers(low, high)), rng, build, current)
    return grow(walk, steps, max_nodes, argmax)


def grow(walk: Walk, steps: Sequence[str], max_nodes: int, argmax: bool) -> Graph:
    """The graph of a walk of up to `max_nodes` operators of the kinds `steps`, with one or two outputs."""
    build = walk.build
    for _ in range(walk.pick(1, max_nodes)):
        usable = [s for s in steps if s not in _IMAGE_ONLY or len(walk.shape) == 3]
        kind = usable[walk.pick(0, len(usable) - 1)]
        # A walk sometimes goes on from an older value: branches, and nodes that nobody reads.
        names = list(build.types)
        if walk.pick(0, 9) == 0:
            walk.current = names[walk.pick(0, len(names) - 1)]
            if kind in _IMAGE_ONLY and len(walk.shape) != 3:
                continue
        try:
            walk.current = STEPS[kind](walk)
        except OpError:
            continue  # too wide for 32 bits, or a window larger than the image
    if argmax and walk.pick(0, 5) == 0:
        walk.current = build.node(ArgMax(), walk.current)
    outputs = [walk.current]
    if len(build.nodes) > 1 and walk.pick(0, 4) == 0:
        outputs.append(build.nodes[walk.pick(0, len(build.nodes) - 1)].name)
    return build.graph(*dict.fromkeys(outputs))
