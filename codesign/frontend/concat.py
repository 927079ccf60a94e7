"""Concatenation along the channels."""

from __future__ import annotations

import numpy as np

from codesign.frontend.context import Context, Item, OnnxNode
from codesign.frontend.draft import Value
from codesign.frontend.join import resolve
from codesign.frontend.problems import Refusal
from codesign.frontend.rational import Rationals, compact
from codesign.frontend.real import Real, Term
from codesign.frontend.shapes import as_image
from codesign.ir.ops import Concat, Requant, Rounding
from codesign.ir.types import IntType


def concat(ctx: Context, node: OnnxNode) -> list[Item]:
    """The inputs one after the other along the channels, each keeping its own scale; constants are folded."""
    if not any(isinstance(ctx.item(name), Real) for name in node.inputs):
        arrays = [ctx.constant(name, "an input") for name in node.inputs]
        return [np.concatenate(arrays, axis=int(node.get("axis", 0)))]
    reals = [resolve(ctx, ctx.real(name).settled(), node.layer) for name in node.inputs]
    rank = len(reals[0].shape) + 1
    if any(r.raw for r in reals):
        raise Refusal("a Concat with the unquantised input", "quantised inputs", "a QuantIdentity on the input")
    if int(node.get("axis", 0)) % rank != 1 or any(len(r.shape) + 1 != rank for r in reals):
        raise Refusal(f"a Concat along axis {node.get('axis')}", "axis 1, the channels")
    if rank == 2:
        reals = [r.reshaped(ctx.builder, (r.layout.size,), node.layer) for r in reals]
    else:
        reals = [as_image(ctx, r, rank - 2, node.layer) for r in reals]
    values = _one_type(ctx, [r.value for r in reals], node.layer)
    spread = [_spread(r) for r in reals]
    channels = sum(v.channels for v in values)
    shape = (*values[0].shape[:-1], channels)
    if any(v.shape[:-1] != shape[:-1] for v in values):
        raise Refusal(f"a Concat of {', '.join(str(v.shape) for v in values)}", "images of one size")
    bounds = tuple(np.concatenate([np.broadcast_to(getattr(v, k), v.channels) for v in values]) for k in ("lo", "hi"))
    y = ctx.builder.emit(
        Concat(), values, node.layer, shape, (bounds[0], bounds[1]), suffix="concat", dtype=values[0].dtype
    )
    a, b, lo, hi = (compact(np.concatenate([s[i] for s in spread])) for i in range(4))
    if rank == 2:
        starts = np.cumsum([0, *(r.layout.size for r in reals[:-1])])
        layout = np.concatenate([r.layout + s for r, s in zip(reals, starts, strict=True)])
    else:
        layout = np.arange(np.prod(shape)).reshape(shape).transpose(2, 0, 1)
        layout = layout.reshape(channels, -1) if rank == 3 else layout
    return [Real((Term(y, a),), b, lo, hi, layout)]


def _spread(real: Real) -> tuple[Rationals, ...]:
    """a, b, lo, hi, one per channel."""
    return tuple(np.broadcast_to(r, real.value.channels) for r in (real.only.a, real.b, real.lo, real.hi))


def _one_type(ctx: Context, values: list[Value], origin: str) -> list[Value]:
    """The values in one integer type, as the operator demands; widened by a multiplication by one where needed."""
    dtypes = {v.dtype for v in values}
    if len(dtypes) == 1 and None not in dtypes:
        return values
    common = IntType.smallest(min(int(v.lo.min()) for v in values), max(int(v.hi.max()) for v in values))
    one, zero = np.array([1]), np.array([0])
    return [
        v
        if v.dtype == common
        else ctx.builder.emit(
            Requant(common, Rounding.HALF_UP),
            [v],
            origin,
            v.shape,
            (v.lo, v.hi),
            helper="widen",
            consts={"multiplier": one, "shift": zero},
            dtype=common,
        )
        for v in values
    ]
