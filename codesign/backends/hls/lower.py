"""From the integer graph to the layers of an HLS project: one rule per operator, every width derived from the types."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from codesign.backends.hls.layers import Flatten, Integer, Layer, Linear, Network, Table, Word, stored, weight_word
from codesign.ir.graph import Graph, Node
from codesign.ir.ops import (
    Add,
    ArgMax,
    AvgPool2d,
    Concat,
    Conv2d,
    Dense,
    Lookup,
    MaxPool2d,
    Mul,
    Pad,
    Requant,
    Reshape,
    Rounding,
    Softmax,
    Take,
    Threshold,
)
from codesign.ir.ops.base import padded_type
from codesign.ir.ops.classify import SUM_BITS
from codesign.ir.ops.fixed_point import doubling_high_mul, exp_on_negative_values
from codesign.ir.types import IntArray, IntType, TensorType
from codesign.passes import HLS_PIPELINE, run_passes
from codesign.schedule import IoType

PORT = "x_in"
"""The name of the input in every project."""

MAX_READERS = 7
"""hls4ml clones a stream at most seven times."""

_ROUNDING = {Rounding.HALF_UP: 0, Rounding.HALF_EVEN: 1, Rounding.TFLITE_DOUBLE: 2}


@lru_cache(maxsize=8)
def prepare(graph: Graph) -> Graph:
    """The graph in the form that the layers have, every pass exact: padding apart, means as sums, thresholds."""
    return run_passes(graph, HLS_PIPELINE)


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """Each name as an identifier of C++ that no other shares, and without the `__` of the names of helper layers.

    hls4ml does not tell upper from lower case, and `input` and the port's `x_in` are taken.
    """
    found: dict[str, str] = {}
    taken = {"input", PORT}
    for name in names:
        base = re.sub(r"[\W_]+", "_", name, flags=re.ASCII).strip("_").lower() or "layer"
        base = f"l_{base}" if base[0].isdigit() else base
        text, number = base, 2
        while text in taken:
            text, number = f"{base}_{number}", number + 1
        taken.add(text)
        found[name] = text
    return found


@lru_cache(maxsize=8)
def lower(graph: Graph, io: IoType, xnor: bool = True) -> Network:
    """The layers of a graph as it was imported; `check` has accepted every node of the prepared one.

    xnor  whether products of -1 and +1 may be counted equal bits
    """
    prepared = prepare(graph)
    port = prepared.inputs[0].name
    names = identifiers(node.name for node in prepared.nodes)
    layer_of: dict[str, str] = {port: PORT}
    layers: list[Layer] = []
    for node in prepared.nodes:
        sources = tuple(layer_of[name] for name in prepared.data_inputs(node))
        made = _RULES[type(node.op)](_Context(prepared, node, names[node.name], sources, io, xnor))
        if made and isinstance(made[0], Linear) and not made[0].is_conv:
            before = next((la for la in layers if la.name == sources[0]), None)
            if isinstance(before, Flatten):
                made = [replace(made[0], input=before.input)]
        layers += made
        layer_of[node.name] = made[-1].name if made else sources[0]
    # Nodes beside the output are gone (remove_dead); a Reshape in last place computes nothing, and what was lowered
    # behind the output is left out.
    output = layer_of[prepared.outputs[0].name]
    while isinstance(layers[-1], Flatten) or layers[-1].name != output:
        if layers[-1].name == output:
            output = layers[-1].inputs[0]
        layers.pop()
    first = TensorType(prepared.type(port).shape, prepared.type(port).dtype)
    return Network(PORT, first, tuple(layers), prepared.type(prepared.outputs[0].name))


class _Context:
    """A node with what a rule asks about it."""

    def __init__(self, graph: Graph, node: Node, name: str, sources: tuple[str, ...], io: IoType, xnor: bool) -> None:
        self.graph, self.node, self.name, self.sources, self.io, self.xnor = graph, node, name, sources, io, xnor
        self.types = [graph.type(n) for n in graph.data_inputs(node)]
        self.x = self.types[0]
        self.out = graph.type(node.name)

    def const(self, index: int) -> IntArray:
        """The values of an input that is a constant."""
        return self.graph.consts[self.node.inputs[index]].value

    def integer(
        self,
        function: str,
        constants: Mapping[str, int | bool],
        widths: Mapping[str, int] | None = None,
        tables: tuple[Table, ...] = (),
        base: str = "integer_config",
        name: str = "",
        sources: tuple[str, ...] = (),
        x: TensorType | None = None,
        out: TensorType | None = None,
    ) -> Integer:
        """A layer of codesign_layers.h with the constants that all of them have."""
        x, out = x or self.x, out or self.out
        common: dict[str, int | bool] = {"n_beats": x.size // x.channels, "n_chan": x.channels}
        common |= {"in_bipolar": x.dtype.bipolar, "out_bipolar": out.dtype.bipolar}
        return Integer(
            name or self.name, self.node.name, self.node.where, sources or self.sources, out, function,
            {**common, **constants}, widths or {}, x, tables, base,  # type: ignore[arg-type]
        )  # fmt: skip


def signed_bits(*types: IntType) -> int:
    """Bits of a signed integer that holds every value of the types."""
    return max(t.bits if t.signed and not t.bipolar else t.bits + 1 for t in types)


def _bits_of(*values: int) -> int:
    """Bits of a signed integer that holds the values."""
    return signed_bits(IntType.smallest(min(values), max(values)))


def _table(name: str, values: IntArray, dtype: IntType | None = None) -> Table:
    """Constants in the narrowest word that holds them, or in that of `dtype`."""
    dtype = dtype or IntType.smallest(int(values.min()), int(values.max()))
    return Table(name, stored(values, dtype), Word.of(dtype))


def _linear(c: _Context) -> list[Layer]:
    op, weights = c.node.op, c.const(1)
    bias = c.const(2) if len(c.node.inputs) == 3 else None
    if isinstance(op, Conv2d) and op.groups > 1:
        return [_depthwise(c, op, weights, bias)]
    dtype = c.graph.consts[c.node.inputs[1]].type.dtype
    word, product = weight_word(weights, dtype, c.x.dtype, c.xnor and bias is None)
    order = (1, 2, 3, 0) if isinstance(op, Conv2d) else (1, 0)
    values = (weights.transpose(order) + 1) // 2 if word.xnor else weights.transpose(order)
    stride = op.stride if isinstance(op, Conv2d) else (1, 1)
    return [
        Linear(
            c.name, c.node.name, c.node.where, c.sources, c.out, np.ascontiguousarray(values), word, bias, product,
            c.x, stride,
        )
    ]  # fmt: skip


def _window(c: _Context, kernel: tuple[int, int], stride: tuple[int, int]) -> dict[str, int | bool]:
    return {
        "in_height": c.x.shape[0], "in_width": c.x.shape[1], "kernel_h": kernel[0], "kernel_w": kernel[1],
        "stride_h": stride[0], "stride_w": stride[1], "out_height": c.out.shape[0], "out_width": c.out.shape[1],
    }  # fmt: skip


def _depthwise(c: _Context, op: Conv2d, weights: IntArray, bias: IntArray | None) -> Layer:
    """Weights (C, KH, KW, 1) become (KH, KW, C): the channels of a pixel side by side."""
    channels, kh, kw, _ = weights.shape
    taps = np.ascontiguousarray(weights[..., 0].transpose(1, 2, 0))
    start = np.zeros(channels, dtype=np.int64) if bias is None else bias
    tables = (_table("weight", taps), _table("bias", start))
    return c.integer(
        "depthwise", _window(c, (kh, kw), op.stride),
        {"value_t": signed_bits(c.x.dtype), "acc_t": signed_bits(c.out.dtype)}, tables, "window_config",
    )  # fmt: skip


def _pool(c: _Context) -> list[Layer]:
    op = c.node.op
    assert isinstance(op, MaxPool2d | AvgPool2d)
    if isinstance(op, AvgPool2d) and op.mean:
        return _mean(c, op)
    widths = {"value_t": signed_bits(c.x.dtype), "acc_t": signed_bits(c.out.dtype)}
    function = "maximum_of_window" if isinstance(op, MaxPool2d) else "sum_of_window"
    if c.io == "io_stream" and op.stride == op.kernel:
        function = function.replace("window", "block")  # cheaper, and no window of registers to unroll
    return [c.integer(function, _window(c, op.kernel, op.stride), widths, base="window_config")]


def _mean(c: _Context, op: AvgPool2d) -> list[Layer]:
    """A mean of windows of unequal size: zeros around the image, the sum, divided by the pixels inside the image."""
    made: list[Layer] = []
    height, width, channels = c.x.shape
    top, left, bottom, right = op.padding
    image, sources = c.x, c.sources
    if any(op.padding):
        dtype = padded_type(c.x.dtype, 0)
        image = TensorType((height + top + bottom, width + left + right, channels), dtype)
        constants: dict[str, int | bool] = {
            "in_height": height, "in_width": width, "top": top, "left": left,
            "out_height": image.shape[0], "out_width": image.shape[1], "pad_value": 0,
        }  # fmt: skip
        widths = {"value_t": signed_bits(c.x.dtype, dtype)}
        pad = c.integer("pad_image", constants, widths, base="pad_config", name=f"{c.name}__zeros", out=image)
        made, sources = [pad], (pad.name,)
    counts = op.counts((height, width, channels)).reshape(-1)
    area = op.kernel[0] * op.kernel[1]
    window = _window(c, op.kernel, op.stride) | {"in_height": image.shape[0], "in_width": image.shape[1]}
    largest = area * (image.dtype.largest + 1)
    widths = {"value_t": signed_bits(image.dtype), "acc_t": _bits_of(-largest, largest)}
    tables = (_table("counts", counts),)
    return [*made, c.integer("mean_of_window", window, widths, tables, "window_config", sources=sources, x=image)]


def _threshold(c: _Context) -> list[Layer]:
    """Levels beyond the range of x are brought to just outside of it: they stay unreached, or always reached."""
    op = c.node.op
    assert isinstance(op, Threshold)
    x = c.x.dtype
    levels = np.clip(c.const(1), x.lo, x.hi + 1)
    constants = {"n_levels": levels.shape[1], "n_rows": levels.shape[0], "lo": op.out.lo, "step": op.out.step}
    widths = {"value_t": _bits_of(x.lo, x.hi + 1), "count_t": signed_bits(op.out)}
    return [c.integer("threshold", constants, widths, (_table("levels", levels),))]


def _requant(c: _Context) -> list[Layer]:
    op = c.node.op
    assert isinstance(op, Requant)
    multiplier, shift = c.const(1), c.const(2)
    largest = c.x.dtype.largest * int(np.abs(multiplier).max()) + (1 << int(shift.max())) + (1 << 30)
    constants = {
        "n_multipliers": len(multiplier), "n_shifts": len(shift), "rounding": _ROUNDING[op.rounding],
        "zero_point": op.zero_point, "lo": op.out.lo, "hi": op.out.hi,
    }  # fmt: skip
    # The zero point is added after the shift and fits into the bit that the sum keeps free, or is wider itself.
    wide = max(largest.bit_length() + 2, _bits_of(op.zero_point) + 1, signed_bits(op.out) + 1)
    widths = {"value_t": signed_bits(c.x.dtype), "wide_t": wide}
    return [c.integer("requantise", constants, widths, (_table("multiplier", multiplier), _table("shift", shift)))]


def _lookup(c: _Context) -> list[Layer]:
    op, table = c.node.op, c.const(1)
    assert isinstance(op, Lookup)
    constants = {"n_rows": table.shape[0], "n_entries": table.shape[1], "lo": c.x.dtype.lo}
    return [c.integer("lookup", constants, {}, (_table("table", table, op.out),))]


def _pair(c: _Context) -> list[Layer]:
    function = "integer_add" if isinstance(c.node.op, Add) else "integer_multiply"
    widths = {"value_t": signed_bits(*(t.dtype for t in c.types), c.out.dtype)}
    return [c.integer(function, {"other_bipolar": c.types[1].dtype.bipolar}, widths)]


def _concat(c: _Context) -> list[Layer]:
    """Two inputs at a time, as hls4ml has it; one input alone is that input."""
    made: list[Layer] = []
    source, x = c.sources[0], c.types[0]
    for index, (other, type_) in enumerate(zip(c.sources[1:], c.types[1:], strict=True), start=2):
        last = index == len(c.sources)
        out = TensorType((*x.shape[:-1], x.channels + type_.channels), x.dtype)
        name = c.name if last else f"{c.name}__{index}"
        constants = {"n_other": type_.channels}
        made.append(c.integer("concatenate_channels", constants, name=name, sources=(source, other), x=x, out=out))
        source, x = name, out
    return made


def _pad(c: _Context) -> list[Layer]:
    op = c.node.op
    assert isinstance(op, Pad)
    top, left, _, _ = op.padding
    constants: dict[str, int | bool] = {
        "in_height": c.x.shape[0], "in_width": c.x.shape[1], "top": top, "left": left,
        "out_height": c.out.shape[0], "out_width": c.out.shape[1], "pad_value": op.value,
    }  # fmt: skip
    widths = {"value_t": signed_bits(c.x.dtype, c.out.dtype)}
    return [c.integer("pad_image", constants, widths, base="pad_config")]


def _take(c: _Context) -> list[Layer]:
    """Which pixel and which channel each element comes from."""
    op = c.node.op
    assert isinstance(op, Take)
    shape = c.x.shape
    pixels = np.arange(c.x.size // c.x.channels).reshape(shape[:-1] or (1,))
    channels = np.arange(c.x.channels)
    if op.axis == len(shape) - 1:
        channels = channels[list(op.indices)]
    else:
        pixels = np.take(pixels, op.indices, axis=op.axis)
    return [_gather(c, pixels.reshape(-1), channels)]


def _gather(c: _Context, pixels: IntArray, channels: IntArray) -> Layer:
    constants = {"n_out_beats": len(pixels), "n_out_chan": len(channels)}
    return c.integer("gather", constants, {}, (_table("pixels", pixels), _table("channels", channels)))


def _reshape(c: _Context) -> list[Layer]:
    """hls4ml's Reshape: of an array always, of a stream where Dense layers follow, which gather its pixels."""
    if c.io == "io_parallel":
        return [Flatten(c.name, c.node.name, c.node.where, c.sources, c.out, c.x)]
    users = c.graph.users(c.node.name)
    is_output = c.node.name in {port.name for port in c.graph.outputs}
    if len(c.out.shape) == 1 and all(isinstance(user.op, Dense) for user in users) and not (is_output and users):
        return [Flatten(c.name, c.node.name, c.node.where, c.sources, c.out, c.x)]
    if c.out.channels == c.x.channels:
        return []  # pixel for pixel the same
    constants = {"n_out_beats": c.out.size // c.out.channels, "n_out_chan": c.out.channels}
    return [c.integer("repack", constants)]


def _argmax(c: _Context) -> list[Layer]:
    return [c.integer("argmax_channels", {})]


def _softmax(c: _Context) -> list[Layer]:
    """The exponential of every difference to the largest element that can occur, as the golden evaluation has it."""
    op, x = c.node.op, c.x.dtype
    assert isinstance(op, Softmax)
    difference = -x.step * np.arange(x.count)
    inside = difference >= op.diff_min
    scaled = doubling_high_mul(np.where(inside, difference, 0) << op.left_shift, op.multiplier)
    exps = np.where(inside, exp_on_negative_values(scaled), 0)
    constants = {
        "lo": op.out.lo, "hi": op.out.hi, "out_bits": op.out.bits, "sum_bits": SUM_BITS, "n_entries": x.count,
    }  # fmt: skip
    return [c.integer("softmax_channels", constants, {}, (_table("exps", exps),))]


_RULES: dict[type, Callable[[_Context], list[Layer]]] = {
    Conv2d: _linear, Dense: _linear, MaxPool2d: _pool, AvgPool2d: _pool, Threshold: _threshold, Requant: _requant,
    Lookup: _lookup, Add: _pair, Mul: _pair, Concat: _concat, Pad: _pad, Take: _take, Reshape: _reshape,
    ArgMax: _argmax, Softmax: _softmax,
}  # fmt: skip
