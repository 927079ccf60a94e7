"""The end of the model: outputs without a quantiser, and the class that a classifier chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from codesign.frontend.absorb import meaning, orient, scale_channels
from codesign.frontend.context import Context, Item, OnnxNode
from codesign.frontend.draft import Value, interval
from codesign.frontend.join import resolve
from codesign.frontend.problems import Refusal
from codesign.frontend.rational import Rationals, constant, is_uniform, rationals
from codesign.frontend.real import Real
from codesign.ir.graph import Port
from codesign.ir.ops import ArgMax, Reshape
from codesign.ir.types import IntArray, Quant

# Comparisons that prove rounded scales of classes: about a second of arithmetic.
_COMPARISONS = 1_000_000


def softmax(ctx: Context, node: OnnxNode) -> list[Item]:
    """Refused: its result is not an integer function."""
    hint = "remove it: the class with the largest input also has the largest output"
    raise Refusal(f"a {node.op}", "logits as the output", hint)


def argmax(ctx: Context, node: OnnxNode) -> list[Item]:
    """The index of the largest real along the channels."""
    return [_argmax(ctx, node)]


def top_k(ctx: Context, node: OnnxNode) -> list[Item]:
    """TopK with k = 1, whose second output is the index of the largest; its first output must be unused."""
    k = int(ctx.constant(node.inputs[1], "k").reshape(-1)[0]) if len(node.inputs) > 1 else int(node.get("k", 1))
    if k != 1 or not node.get("largest", 1):
        raise Refusal(f"a TopK with k={k}", "k=1, the largest")
    if ctx.readers.get(node.outputs[0]):
        raise Refusal("a TopK whose values are used", "a TopK of which only the indices are used")
    index = _argmax(ctx, node)
    return [index, index]


def _argmax(ctx: Context, node: OnnxNode) -> Real:
    real = orient(ctx.builder, resolve(ctx, ctx.real(node.inputs[0]), node.layer).settled(), node.layer)
    axis = int(node.get("axis", -1 if node.op == "TopK" else 0))
    rank = len(real.shape) + 1
    if axis % rank != rank - 1 or int(np.prod(real.shape[:-1], dtype=np.int64)) != 1:
        raise Refusal(f"an {node.op} over axis {axis} of {rank}", "one over the classes of a vector")
    if node.get("select_last_index", 0):
        raise Refusal("an ArgMax that takes the last of equal elements", "select_last_index=0")
    if real.raw or real.is_clipped:
        raise Refusal("an ArgMax of a value that is not quantised or is clipped", "logits as a linear layer gives them")
    classes = real.layout.size
    real = real.reshaped(ctx.builder, (classes,), node.layer)
    if not (real.layout.reshape(-1) == np.arange(classes)).all():
        raise Refusal("an ArgMax over axes that were exchanged", "classes in order")
    x = real.value
    if not (is_uniform(real.only.a) and is_uniform(real.b)):
        factors, offsets = comparable(real.only.a, real.b, x)
        if x.adjustable and is_uniform(factors) and factors[0] == 1:
            x.add_bias(offsets)
        else:
            x = scale_channels(ctx.builder, x, factors, offsets, node.layer, "common")
    index = ctx.builder.emit(ArgMax(), [x], node.layer, (1,), interval(0, classes - 1), suffix="argmax")
    keep = node.op == "TopK" or node.get("keepdims", 1)
    layout = np.zeros((1,) * (rank - 1) if keep else (1,) * (rank - 2), dtype=np.int64)
    return Real.of(index, constant(1), constant(0), layout)


def comparable(a: Rationals, b: Rationals, x: Value) -> tuple[IntArray, IntArray]:
    """Integers (m, n) so that argmax(m q + n) is argmax(a q + b) for all integers q of `x`, ties included.

    Equal a: with f = b / a, q_i + floor(f_i) decides unless equal, and then the rank of the fractional part of f_i
    does: m = the number of different fractional parts, n_i = m * floor(f_i) + rank_i.
    Unequal a: both over the common denominator, or else rounded to the fewest bits that are proved to be enough.
    """
    classes = x.channels
    a, b = np.broadcast_to(a, classes), np.broadcast_to(b, classes)
    if is_uniform(a):
        ratios = [y / f for f, y in zip(a, b, strict=True)]
        floors = [r.numerator // r.denominator for r in ratios]
        parts = [r - n for r, n in zip(ratios, floors, strict=True)]
        ranks = {part: i for i, part in enumerate(sorted(set(parts)))}
        offsets = [len(ranks) * f + ranks[p] for f, p in zip(floors, parts, strict=True)]
        found = _fitting(x, [len(ranks)] * classes, offsets)
    else:
        denominator = lcm(*(v.denominator for v in (*a, *b)))
        m, n = ([int(v * denominator) for v in values] for values in (a, b))
        common = gcd(*m, *n)
        found = _fitting(x, [v // common for v in m], [v // common for v in n]) or _rounded(a, b, x)
    if found is None:
        hint = "one weight scale for the last layer, or no ArgMax in the model"
        raise Refusal("classes whose scales have no common 32-bit form", "one scale for all classes", hint)
    return found


def _fitting(x: Value, m: Sequence[int], n: Sequence[int]) -> tuple[IntArray, IntArray] | None:
    """The integers as arrays, unless m q + n needs more than 32 bits."""
    sizes = np.broadcast_to(np.maximum(np.abs(x.lo), np.abs(x.hi)), x.channels)
    if any(abs(f) * int(size) + abs(offset) >= 1 << 31 for f, size, offset in zip(m, sizes, n, strict=True)):
        return None
    return np.array(m, dtype=np.int64), np.array(n, dtype=np.int64)


def _rounded(a: Rationals, b: Rationals, x: Value) -> tuple[IntArray, IntArray] | None:
    """Rounded multiples of a and b with the fewest bits for which every pair of classes compares as it should.

    For classes i < j and every q_i, i is chosen over j up to the same q_j: floor((a_i q_i + b_i - b_j) / a_j).
    """
    lo, hi = np.broadcast_to(x.lo, a.size), np.broadcast_to(x.hi, a.size)
    pairs = [(i, j) for j in range(a.size) for i in range(j)]
    if sum(int(hi[i] - lo[i]) + 1 for i, _ in pairs) > _COMPARISONS:
        return None
    tables = {}
    for i, j in pairs:
        q = np.arange(lo[i], hi[i] + 1)
        table = (rationals(q) * a[i] + (b[i] - b[j])) / a[j]
        tables[i, j] = q, np.array([f.numerator // f.denominator for f in table], dtype=np.int64)
    for bits in range(4, 31):
        gain = Fraction(1 << bits) / max(a)
        m, n = ([round(v * gain) for v in values] for values in (a, b))
        found = _fitting(x, m, n) if min(m) > 0 else None
        if found and all(
            (np.clip((q * m[i] + n[i] - n[j]) // m[j], lo[j] - 1, hi[j]) == np.clip(f, lo[j] - 1, hi[j])).all()
            for (i, j), (q, f) in tables.items()
        ):
            return found
    return None


def output_port(ctx: Context, name: str, real: Real, quants: dict[str, Quant]) -> Port:
    """The port of a model output: the integers, with what they mean; a bias that is a whole number becomes one."""
    if real.raw:
        raise Refusal("an output that is the unquantised input", "a quantised output")
    real = orient(ctx.builder, resolve(ctx, real, name).settled(), name)
    if real.is_clipped:
        hint = "a QuantReLU, or the output without the ReLU or Clip"
        raise Refusal("an output that is clipped but not quantised", "a quantised output", hint)
    a, b = real.only.a, real.b
    value = real.value
    if (a == 0).any():
        raise Refusal("an output that is multiplied by 0", "a factor other than 0")
    ratios = b / a
    if value.adjustable and any(ratios) and all(r.denominator == 1 for r in ratios):
        value.add_bias(np.broadcast_to(np.array([int(r) for r in ratios], dtype=np.int64), value.channels))
        real = replace(real, b=constant(0))
    real = _in_order(ctx, name, real)
    quant = meaning(real.only.a, real.b)
    value = _own(ctx, name, real.value, quant, quants)
    quants[value.name] = quant
    ctx.layouts[value.name] = real.layout
    axes = _source_axes(real)
    return Port(value.name, None, () if axes == tuple(range(len(axes))) else axes)


def _own(ctx: Context, name: str, value: Value, quant: Quant, quants: Mapping[str, Quant]) -> Value:
    """The value, or a copy of it where it is an output already, or an input or shared value of another meaning."""
    known = [p.type.quant for p in ctx.builder.inputs if p.name == value.name and p.type]
    if value.shared:
        known += [d.quant for d in ctx.builder.drafts if d.value is value and d.quant]
    if value.name not in quants and all(other == quant for other in known):
        return value
    op = Reshape(value.shape)
    return ctx.builder.emit(op, [value], name, value.shape, (value.lo, value.hi), suffix="output", dtype=value.dtype)


def _in_order(ctx: Context, name: str, real: Real) -> Real:
    """The output in the user's shape where a reshape alone achieves it."""
    if (real.layout.reshape(-1) == np.arange(real.layout.size)).all():
        return real.reshaped(ctx.builder, real.shape or (1,), name)
    moved = _channels_last(real)
    if (moved.reshape(-1) == np.arange(moved.size)).all():
        return real.reshaped(ctx.builder, moved.shape, name)
    order = "flattens it channels first" if len(real.shape) == 1 else f"gives it as {real.shape} in another order"
    ctx.notes.append(f"output {name}: given as {real.value.shape} (channels last), the model {order}")
    return real


def _channels_last(real: Real) -> IntArray:
    """The layout of a tensor with channels, these moved last; of any other as it is."""
    return np.moveaxis(real.layout, 0, -1) if real.layout.ndim > 1 else real.layout


def _source_axes(real: Real) -> tuple[int, ...]:
    """source_axes of an output whose user's tensor has its channels first; () when it has the graph's order."""
    moved = _channels_last(real)
    if moved.shape == real.value.shape and (moved.reshape(-1) == np.arange(moved.size)).all() and moved.ndim > 1:
        rank = moved.ndim
        return (*range(1, rank), 0)
    return ()
