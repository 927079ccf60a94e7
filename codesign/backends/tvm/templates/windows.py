"""Conv2d and Dense as sums over rows of bytes: what the templates of products share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tvm import te, tirx

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Builder, Expr, Value
from codesign.backends.tvm.rules.linear import bias_of
from codesign.backends.tvm.storage import Storage
from codesign.backends.tvm.task import Task
from codesign.ir.ops import Conv2d, Dense
from codesign.ir.types import IntArray

WIDEST_PATCH, MOST_PATCH_BYTES = 64, 256  # of a window that is copied: a row as one vector, all rows unrolled


@dataclass(frozen=True)
class Windows:
    """A product as windows over rows of bytes.

    rows, columns  output pixels          taps   (kernel rows, kernel columns that are not side by side)
    step           bytes between the windows of two neighbouring columns; rows_step: rows between two output rows
    tap_rows       rows between two taps; tap_bytes: bytes between two tap columns
    width          bytes of a window's row that lie side by side
    start          elements before the first window, from the beginning of the memory
    """

    rows: int
    columns: int
    taps: tuple[int, int]
    step: int
    rows_step: int
    tap_rows: int
    tap_bytes: int
    width: int
    start: int


def windows_of(task: Task) -> Windows | None:
    """The anchor's windows; None when they are not all in memory (a padding that no border holds), or it has groups."""
    anchor = task.anchor
    if anchor is None or not isinstance(anchor.op, Conv2d | Dense):
        return None
    storage, out = task.storage[anchor.inputs[0]], task.types[anchor.name].shape
    channels = storage.shape[-1]
    if isinstance(anchor.op, Dense):
        rows, columns = (out[0], out[1]) if len(out) == 3 else (1, int(np.prod(out[:-1], dtype=np.int64)))
        if len(out) > 3:
            return None
        return Windows(rows, columns, (1, 1), channels, 1, 1, channels, channels, storage.origin)
    op = anchor.op
    top, left, _, _ = op.padding
    if op.groups > 1 or not bordered(storage, op):
        return None
    _, kh, kw, _ = task.consts[anchor.inputs[1]].shape
    beside = op.dilation[1] == 1
    taps, width = ((kh, 1), kw * channels) if beside else ((kh, kw), channels)
    above, before = storage.border[0] - top, storage.border[1] - left
    start = above * storage.strides[0] + before * storage.strides[1]
    step, tap_bytes = op.stride[1] * channels, op.dilation[1] * channels
    return Windows(out[0], out[1], taps, step, op.stride[0], op.dilation[0], tap_bytes, width, start)


def bordered(storage: Storage, op: Conv2d) -> bool:
    """Whether the border of the input holds the padding of the convolution."""
    if not any(op.padding):
        return True
    wide = all(have >= need for have, need in zip(storage.border, op.padding, strict=True))
    return wide and storage.border_value == op.pad_value


def window_weights(task: Task, windows: Windows, group: int) -> IntArray:
    """The anchor's weights (O, tap rows, tap columns, width), the width filled with zeros to a multiple of `group`."""
    anchor = task.anchor
    assert anchor is not None
    weights = task.consts[anchor.inputs[1]]
    shaped = weights.reshape(len(weights), *windows.taps, windows.width)
    missing = -windows.width % group
    padded: IntArray = np.pad(shaped, ((0, 0), (0, 0), (0, 0), (0, missing)))
    return padded


def raw_bias(task: Task) -> IntArray:
    """What is to be added to sums of stored elements: the bias, and the offset of the storage times the weights."""
    anchor = task.anchor
    assert anchor is not None
    weights = task.consts[anchor.inputs[1]]
    bias = bias_of(task)
    total: IntArray = weights.reshape(len(weights), -1).sum(axis=1) * task.storage[anchor.inputs[0]].offset
    return total if bias is None else total + bias


def input_of(task: Task) -> str:
    anchor = task.anchor
    assert anchor is not None
    return anchor.inputs[0]


def are_bytes(task: Task, cpu: Cpu) -> bool:
    """Whether elements and weights are the bytes that the instruction takes, and no sum leaves 32 bits."""
    anchor = task.anchor
    assert anchor is not None
    storage, weights = task.storage[anchor.inputs[0]], task.consts[anchor.inputs[1]]
    operand = "uint8" if cpu.arch == "x86_64" else "int8"
    if storage.dtype != operand or weights.min() < -128 or weights.max() > 127:
        return False
    bound = 255 * int(np.abs(weights.reshape(len(weights), -1)).sum(axis=1).max()) + int(np.abs(raw_bias(task)).max())
    return bound < 1 << 31


def rows_of(builder: Builder, windows: Windows, width: int) -> Value:
    """The stored element at (row, column, tap row, tap column, byte < width); bytes behind a window's may be read."""
    task = builder.task
    storage, (kh, kw) = task.storage[input_of(task)], windows.taps
    row = storage.strides[0] if len(storage.shape) == 3 else windows.step * windows.columns
    height = (windows.rows - 1) * windows.rows_step + (kh - 1) * windows.tap_rows + 1
    length = (windows.columns - 1) * windows.step + (kw - 1) * windows.tap_bytes + width
    x = builder.view(input_of(task), (height, length), (row, 1), windows.start)

    def element(index: Sequence[Expr]) -> Expr:
        h, v, ky, kx, byte = index
        return x(h * windows.rows_step + ky * windows.tap_rows, v * windows.step + kx * windows.tap_bytes + byte)

    return element


def patched(task: Task, windows: Windows, group: int) -> list[bool]:
    """Whether copying windows side by side is worth trying, and whether it is not needed: of `operands`, for `choices`.

    It is needed where nothing may be read behind the rows of a window, and saves products with the zeros behind them.
    """
    readable = -windows.width % group <= task.storage[input_of(task)].tail
    taps = windows.taps[0] * windows.taps[1]
    saved = taps * -(-windows.width // group) - -(-taps * windows.width // group)
    small = windows.width <= WIDEST_PATCH and taps * windows.width <= MOST_PATCH_BYTES
    return [patches for patches in (False, True) if (small and (saved or not readable) if patches else readable)]


def padded_weights(task: Task, windows: Windows, group: int, patches: bool) -> IntArray:
    """The weights (O, tap rows, tap columns, width), the width filled with zeros to a multiple of `group`.

    patches  all bytes of a window are one tap
    """
    if not patches:
        return window_weights(task, windows, group)
    weights = window_weights(task, windows, 1)
    flat: IntArray = weights.reshape(len(weights), 1, 1, -1)
    padded: IntArray = np.pad(flat, ((0, 0), (0, 0), (0, 0), (0, -flat.shape[-1] % group)))
    return padded


def operands(builder: Builder, windows: Windows, group: int, patches: bool) -> tuple[IntArray, Value]:
    """`padded_weights`, and the elements at (row, column, tap row, tap column, byte).

    patches  all bytes of a window are copied side by side first, by the block "patch"
    """
    flat = padded_weights(builder.task, windows, group, patches)
    if not patches:
        return flat, rows_of(builder, windows, flat.shape[-1])
    (kh, kw), width = windows.taps, windows.width
    element = rows_of(builder, windows, width)
    taps = -(-flat.shape[-1] // width)  # the last ones again, to meet zero weights

    def copied(h: Expr, v: Expr, tap: Expr, j: Expr) -> Expr:
        known = tirx.min(tap, kh * kw - 1)
        return element((h, v, tirx.floordiv(known, kw), tirx.floormod(known, kw), j))

    patch = te.compute((windows.rows, windows.columns, taps, width), copied, "patch")
    return flat, lambda at: patch(at[0], at[1], tirx.floordiv(at[4], width), tirx.floormod(at[4], width))


def pixel(acc: te.Tensor, lanes: int) -> Value:
    """Sums (rows, columns, blocks, lanes) at an index of the output, which may have one, two or three axes."""

    def value(index: Sequence[Expr]) -> Expr:
        *place, o = index
        return acc(*[0, 0, *place][-2:], o // lanes, o % lanes)

    return value


def divisors(n: int, most: int) -> list[int]:
    """Of n, up to `most`."""
    return [d for d in range(1, min(n, most) + 1) if n % d == 0]
