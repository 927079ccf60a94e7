"""Layers that only move data, and the window geometry that convolution and pooling share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from codesign.frontend.context import Array, Context, Item, OnnxNode, QuantConst
from codesign.frontend.problems import Refusal, bad
from codesign.frontend.real import Real


@dataclass(frozen=True)
class Window:
    """Kernel, stride and dilation as (vertical, horizontal)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]


def _pair(values: Sequence[int]) -> tuple[int, int]:
    """(v, h) of one or two spatial axes; one axis lies along the width."""
    full = [1] * (2 - len(values)) + [int(v) for v in values]
    return full[0], full[1]


def spatial(node: OnnxNode, kernel: Sequence[int]) -> Window:
    """The window of a node."""
    ones = [1] * len(kernel)
    return Window(_pair(kernel), _pair(node.get("strides", ones)), _pair(node.get("dilations", ones)))


def padding_of(node: OnnxNode, window: Window, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right), from pads or auto_pad."""
    auto = str(node.get("auto_pad", "NOTSET"))
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        before, after = [], []
        for size, k, s, d in zip(shape[:2], window.kernel, window.stride, window.dilation, strict=True):
            total = max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)
            small, large = total // 2, total - total // 2
            before.append(small if auto == "SAME_UPPER" else large)
            after.append(large if auto == "SAME_UPPER" else small)
        return before[0], before[1], after[0], after[1]
    pads = [int(p) for p in node.get("pads", [])] if auto == "NOTSET" else []
    if not pads:
        return 0, 0, 0, 0
    if min(pads) < 0:
        raise Refusal(f"padding {pads}", "0 or more")
    half = len(pads) // 2
    (top, left), (bottom, right) = (
        ([0] * (2 - half) + pads[:half]),
        ([0] * (2 - half) + pads[half:]),
    )
    return top, left, bottom, right


def as_image(ctx: Context, real: Real, axes: int, origin: str) -> Real:
    """`real`, whose tensor is (C, H, W) or (C, L) in the model, over a graph tensor (H, W, C) or (1, L, C)."""
    if len(real.shape) != axes + 1:
        raise Refusal(
            f"an input of shape {real.shape}", "(channels, height, width)" if axes == 2 else "(channels, length)"
        )
    moved = np.moveaxis(real.layout, 0, -1)
    if not (moved.reshape(-1) == np.arange(moved.size)).all():
        raise Refusal("an input whose axes were exchanged", "(batch, channels, height, width)")
    shape = moved.shape if axes == 2 else (1, *moved.shape)
    return real.reshaped(ctx.builder, shape, origin)


def _apply(ctx: Context, node: OnnxNode, change: Callable[[Array], Array]) -> list[Item]:
    """The same change of shape on a computed tensor (its batch first) or on a constant."""
    item = ctx.item(node.inputs[0])
    if isinstance(item, Real):
        real = ctx.real(node.inputs[0])
        layout = change(real.layout[None])
        if layout.shape[:1] != (1,) or layout.ndim < 2:
            raise Refusal(f"{node.op} that moves the batch axis", "a batch axis that stays first")
        return [real.with_layout(layout[0])]
    if isinstance(item, QuantConst):
        scale = np.broadcast_to(item.scale, item.q.shape) if item.scale.size > 1 else None
        q = change(item.q)
        new = change(scale) if scale is not None else item.scale.reshape([1] * q.ndim)
        return [QuantConst(q, _squeezed(new), item.bits)]
    assert isinstance(item, np.ndarray)
    return [change(item)]


def _squeezed(scale: Array) -> Array:
    """Axes along which the scale does not vary, cut to length 1."""
    for axis, size in enumerate(scale.shape):
        first = scale.take([0], axis=axis)
        if size > 1 and (scale == first).all():
            scale = first
    return scale


def reshape(ctx: Context, node: OnnxNode) -> list[Item]:
    """Reshape to a constant shape; the batch stays first."""
    target = [int(n) for n in ctx.constant(node.inputs[1], "the shape").reshape(-1)]

    def change(x: Array) -> Array:
        shape = [x.shape[i] if n == 0 and i < x.ndim else n for i, n in enumerate(target)]
        if isinstance(ctx.item(node.inputs[0]), Real):
            # The exported batch size is one example; only its place matters.
            if shape[:1] == [ctx.batch] or shape[:1] == [-1]:
                shape[0] = 1
            if shape[:1] != [1]:
                raise Refusal(f"a Reshape to {target}", "a batch axis that stays first")
        try:
            return x.reshape(shape)
        except ValueError as error:
            raise bad(f"a Reshape of {x.shape} to {target}", "the same number of elements") from error

    return _apply(ctx, node, change)


def flatten(ctx: Context, node: OnnxNode) -> list[Item]:
    """All axes from `axis` on become one."""
    axis = int(node.get("axis", 1))
    return _apply(ctx, node, lambda x: x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), -1))


def transpose(ctx: Context, node: OnnxNode) -> list[Item]:
    """Another order of the axes; the batch stays first."""
    perm = node.get("perm")
    if isinstance(ctx.item(node.inputs[0]), Real) and (perm is None or perm[0] != 0):
        raise Refusal(f"a Transpose by {perm}", "a batch axis that stays first")
    return _apply(ctx, node, lambda x: x.transpose(perm))


def _axes(ctx: Context, node: OnnxNode) -> list[int] | None:
    """The axes of Squeeze and Unsqueeze: an attribute before opset 13, then an input."""
    name = ctx.optional(node, 1)
    given = ctx.constant(name, "the axes").reshape(-1).tolist() if name else node.get("axes")
    return None if given is None else [int(a) for a in given]


def squeeze(ctx: Context, node: OnnxNode) -> list[Item]:
    """Without axes of length 1."""
    axes = _axes(ctx, node)
    if axes is None:
        return _apply(ctx, node, lambda x: x.reshape([x.shape[0], *(n for n in x.shape[1:] if n != 1)]))
    return _apply(ctx, node, lambda x: np.squeeze(x, tuple(axes)))


def unsqueeze(ctx: Context, node: OnnxNode) -> list[Item]:
    """With new axes of length 1."""
    return _apply(ctx, node, lambda x: np.expand_dims(x, tuple(_axes(ctx, node) or ())))


def shape_of(ctx: Context, node: OnnxNode) -> list[Item]:
    """The shape of a tensor, the batch as it was exported."""
    item = ctx.item(node.inputs[0])
    if isinstance(item, Real):
        return [np.array([ctx.batch, *item.shape], dtype=np.int64)]
    return [np.array(item.q.shape if isinstance(item, QuantConst) else np.shape(ctx.constant(node.inputs[0], "it")))]
