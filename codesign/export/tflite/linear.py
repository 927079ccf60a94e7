"""Convolutions, matrix products, sums of windows, functions per channel: what TFLite computes as a rescaled sum."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from codesign.export.affine import Levels
from codesign.export.tflite.affine import Realisation, kernel_factors, realise, same_multiplier
from codesign.export.tflite.chain import Chain
from codesign.export.tflite.context import VALID, Export, activation_for, padding_mode
from codesign.export.tflite.cover import Kernel, clamp_of
from codesign.export.tflite.storage import Storage
from codesign.frontend.problems import Refusal
from codesign.frontend.tflite.params import NONE, rescale, rescale_wide
from codesign.ir.ops import AvgPool2d, Conv2d, Dense, Requant, Reshape, Rounding
from codesign.ir.ops.base import Padding
from codesign.ir.types import IntArray

_MOST_LEVELS = 1 << 8


@dataclass(frozen=True, eq=False)
class Sum:
    """acc[o] = bias[o] + sum of x * weight[o], as a convolution or a matrix product.

    weight   (outputs, height, width, inputs per group)
    groups   1; the channels, for a depthwise convolution; 0: a matrix product on the last axis
    """

    weight: IntArray
    bias: IntArray
    stride: tuple[int, int] = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    groups: int = 1
    dilation: tuple[int, int] = (1, 1)
    pad_value: int = 0

    @property
    def outputs(self) -> int:
        return int(self.weight.shape[0])

    @property
    def is_depthwise(self) -> bool:
        return self.groups > 1 and self.weight.shape[3] == 1


def sum_of(export: Export, kernel: Kernel) -> Sum:
    """The sum that a kernel's base computes."""
    assert kernel.base is not None
    op, graph = kernel.base.op, export.graph
    constants = [graph.consts[name].value for name in kernel.base.inputs if name in graph.consts]
    if isinstance(op, AvgPool2d):
        height, width, channels = graph.type(kernel.base.inputs[0]).shape
        # A window as large as the image has no use for a stride, and hardware has limits on it.
        rest = (
            height + op.padding[0] + op.padding[2] - op.kernel[0],
            width + op.padding[1] + op.padding[3] - op.kernel[1],
        )
        stride = (op.stride[0] if rest[0] else 1, op.stride[1] if rest[1] else 1)
        ones = np.ones((channels, *op.kernel, 1), dtype=np.int64)
        zeros = np.zeros(channels, dtype=np.int64)
        return Sum(ones, zeros, stride, op.padding, channels, pad_value=op.pad_value)
    weight = constants[0]
    bias = constants[1] if len(constants) > 1 else np.zeros(weight.shape[0], dtype=np.int64)
    if isinstance(op, Dense):
        return Sum(weight[:, None, None, :], bias, groups=0)
    assert isinstance(op, Conv2d)
    return Sum(weight, bias, op.stride, op.padding, op.groups, op.dilation, op.pad_value)


def linear(export: Export, kernel: Kernel) -> None:
    """The kernel of a Conv2d, a Dense or a sum of windows, with the chain behind it."""
    made = sum_of(export, kernel)
    assert kernel.base is not None
    x, storage = export.declare(kernel.tensors[0]), export.storage(kernel.tensors[0])
    if isinstance(kernel.base.op, AvgPool2d):
        x = export.reshaped(kernel, x, export.graph.type(kernel.base.inputs[0]).shape, storage, "rows")
    emit_sum(export, kernel, made, x, storage, export.graph.type(kernel.base.name).shape)


def per_channel(export: Export, kernel: Kernel, channels: int) -> None:
    """A function of one value, per channel, as a depthwise convolution of one pixel."""
    (name,) = kernel.tensors
    storage, type_ = export.storage(name), export.graph.type(name)
    ones, zeros = np.ones((channels, 1, 1, 1), dtype=np.int64), np.zeros(channels, dtype=np.int64)
    shape = type_.shape if len(type_.shape) == 3 else (type_.size // channels, 1, channels)
    image = export.reshaped(kernel, export.declare(name), shape, storage, "image")
    emit_sum(export, kernel, Sum(ones, zeros, groups=channels), image, storage, shape)


def emit_sum(
    export: Export, kernel: Kernel, made: Sum, x: int, storage: Storage, shape: tuple[int, ...],
    reach: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """The operator for a sum of the tensor x and the kernel's chain; `shape` is that of the sum.

    reach  the values of x; None: those of the type of the kernel's only tensor
    """
    out = export.storage(kernel.node.name)
    low, high = made.weight.min(), made.weight.max()
    if low < -128 or high > 127:
        raise Refusal(f"weights from {low} to {high}", "at most 8 bits")
    if out.kind == "int16" and storage.kind == "int8":
        x, storage = _cast(export, kernel, x, storage)
    if out.kind == "int8" and storage.kind == "int16":
        out = Storage("int16", out.offset - out.zero_point, out.scale, 0)  # QUANTIZE then adds the zero point
    dtype = export.graph.type(kernel.tensors[0]).dtype
    lo, hi = reach or (dtype.lo, dtype.hi)
    if any(made.padding) and made.pad_value != storage.zero:
        x = export.padded(kernel, x, storage, made.padding, made.pad_value + storage.offset)
        lo, hi = min(lo, made.pad_value), max(hi, made.pad_value)
        made = replace(made, padding=(0, 0, 0, 0))
    made = replace(made, bias=made.bias + storage.zero * made.weight.reshape(made.outputs, -1).sum(axis=1))
    found, activation = _realised(export, kernel, made, storage, out, (lo - storage.zero, hi - storage.zero))
    _write(export, kernel, made, x, storage, found, activation, shape, out)


def _cast(export: Export, kernel: Kernel, x: int, storage: Storage) -> tuple[int, Storage]:
    """The stored integers in 16 bits, where a zero point can only be 0."""
    wide = Storage("int16", storage.offset, storage.scale, 0)
    made = export.helper(f"{kernel.node.name}.wide", export.file.shape(x)[1:], wide)
    export.emit(kernel, "CAST", [x], made, in_data_type=9, out_data_type=7)
    return made, wide


def _realised(
    export: Export, kernel: Kernel, made: Sum, x: Storage, out: Storage, reach: tuple[int, int]
) -> tuple[Realisation, int]:
    """Weight factors, bias and scales with which the kernel equals the chain, and the fused activation.

    The sum of the stored integers less their zero point, A, runs over `reach`; the graph's sum is A + made.bias.
    """
    chain = Chain.of(export.graph, kernel.chain, made.outputs)
    exact = _own_rescaling(export, kernel, chain, made, x, out)
    if exact is not None:
        return exact
    flat = made.weight.reshape(made.outputs, -1)
    ends = np.sort(np.stack([flat * reach[0], flat * reach[1]]), axis=0)
    if any(made.padding):  # a pixel outside the image adds nothing
        ends = np.stack([np.minimum(ends[0], 0), np.maximum(ends[1], 0)])
    lo, hi = ends[0].sum(axis=1), ends[1].sum(axis=1)
    if int(np.abs(np.stack([lo, hi])).max()) >= 1 << 31:
        raise Refusal(f"sums up to {max(-lo.min(), hi.max())}", "sums of at most 32 bits")
    if not chain.steps:
        return _identity(made, x, out, lo, hi), NONE
    if chain.out.bits > 8:
        raise Refusal("a rescaling to 16 bits that is not that of the kernels", "sums as they are, or TFLite's own")
    levels, activation = _levels(chain, made.bias, lo, hi, out)
    largest = np.abs(flat).max(axis=1)
    found = realise(levels, np.maximum(1, 127 // np.maximum(largest, 1)), x.params, out.params, made.groups == 0)
    if found.failed.size:
        export.approximate(kernel, found.failed.size, made.outputs)
    return replace(found, factor=found.factor * chain.sign), activation


def _identity(made: Sum, x: Storage, out: Storage, lo: IntArray, hi: IntArray) -> Realisation:
    """The sum as it is: a factor so close to 1 that the largest sums stay the same, and with them all smaller ones."""
    by_tensor = made.groups == 0
    scale = np.array([out.scale / x.scale]).astype(np.float32).astype(np.float64)
    real = (kernel_factors(x.params, scale, out.params, by_tensor)).tolist()
    by = rescale_wide(real) if out.kind == "int16" else rescale(real)
    bias = made.bias + out.offset - out.zero_point  # the kernel adds the zero point, the graph the offset
    ends = np.concatenate([lo + bias, hi + bias])
    if not (by(ends) == ends).all():
        raise Refusal("a sum whose scale no 32-bit multiplier carries as 1", "scales of a common size")
    return Realisation(np.ones(made.outputs, dtype=np.int64), bias, scale)


def _own_rescaling(
    export: Export, kernel: Kernel, chain: Chain, made: Sum, x: Storage, out: Storage
) -> tuple[Realisation, int] | None:
    """Where the chain is the kernel's own rescaling, multiplier by multiplier; else None."""
    if not chain.steps:
        return None
    wide = out.kind == "int16"
    first = chain.steps[0]
    behind = [node for node in kernel.chain if not isinstance(node.op, Reshape)][1:]
    clamps = [clamp_of(export.graph, node) for node in behind]
    rounding = Rounding.HALF_UP if wide else Rounding.TFLITE_DOUBLE
    if not isinstance(first.op, Requant) or first.op.rounding is not rounding or None in clamps:
        return None
    if first.op.zero_point + out.offset != out.zero_point:
        return None
    scale = None
    multiplier, shift = first.constants
    for per_tensor in (True, False) if made.groups == 0 else (False,):
        if scale is None:
            scale = same_multiplier(multiplier, shift, x.params, out.params, per_tensor)
    if scale is None:
        return None
    limits = [c for c in clamps if c is not None] or [(first.op.out.lo, first.op.out.hi)]
    low, high = max(c[0] for c in limits) + out.offset, min(c[1] for c in limits) + out.offset
    try:
        activation, _, _ = activation_for(out, low, high, exactly=True)
    except Refusal:
        return None
    return Realisation(np.ones(made.outputs, dtype=np.int64), made.bias, scale), activation


def _levels(chain: Chain, bias: IntArray, lo: IntArray, hi: IntArray, out: Storage) -> tuple[Levels, int]:
    """The chain as levels of the kernel's sum, in stored integers, and the fused activation that helps most."""
    # In u = sign * t every function rises; t = A + bias runs from lo + bias to hi + bias.
    ends = np.sort(np.stack([chain.sign * (lo + bias), chain.sign * (hi + bias)]), axis=0)
    values = np.stack([chain(chain.sign * ends[0]), chain(chain.sign * ends[1])])
    least, most = int(values.min()), int(values.max())
    step = chain.out.step
    targets = np.arange(least, most + step + 1, step)
    if targets.size > _MOST_LEVELS + 1:
        raise Refusal(f"{targets.size - 1} levels", f"at most {_MOST_LEVELS}")
    inner = chain.levels(targets[1:-1], ends[0], ends[1])
    at = np.concatenate([ends[0][:, None], inner, ends[1][:, None] + 1], axis=1)
    if step > 1:  # what lies between two values must never come out either
        targets = np.sort(np.concatenate([targets, targets[1:] - 1]))
        at = np.repeat(at, 2, axis=1)[:, 1:]
    activation, low, high = activation_for(out, least + out.offset, most + out.offset, exactly=False)
    # Back from u to sign * A, which is what the kernel sums up when its weights carry the sign.
    shift = (chain.sign * bias)[:, None]
    return Levels(at - shift, targets + out.offset, ends[0] - shift[:, 0], ends[1] - shift[:, 0], low, high), activation


def _write(
    export: Export, kernel: Kernel, made: Sum, x: int, storage: Storage, found: Realisation, activation: int,
    shape: tuple[int, ...], out: Storage,
) -> None:  # fmt: skip
    """CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED, to a tensor as `out` says; the kernel's value may have 8 bits."""
    name, file = kernel.node.name, export.file
    scale = found.scale if found.scale.size in (1, made.outputs) else found.scale[:1]
    weight = made.weight * found.factor.reshape(-1, 1, 1, 1)
    if weight.min() < -128 or weight.max() > 127:
        raise Refusal("weights of -128 in a channel that falls where its input rises", "weights from -127 to 127")
    bias = found.bias
    kind = "int64" if storage.kind == "int16" else "int32"
    if kind == "int32" and int(np.abs(bias).max()) >= 1 << 31:
        raise Refusal(f"a bias of {bias[np.abs(bias).argmax()]}", "at most 32 bits")
    axis = 0
    if made.groups == 0:
        weight, operator = weight[:, 0, 0, :], "FULLY_CONNECTED"
        options: dict[str, int] = {"keep_num_dims": len(shape) > 1}
    else:
        if scale.size == 1 and made.outputs > 1:
            scale = np.repeat(scale, made.outputs)
        options = {
            "stride_h": made.stride[0], "stride_w": made.stride[1],
            "dilation_h": made.dilation[0], "dilation_w": made.dilation[1],
        }  # fmt: skip
        size = file.shape(x)[1:]
        mode = padding_mode(size, made.weight.shape[1:3], made.stride, made.dilation, made.padding)
        if mode is None:
            x = export.padded(kernel, x, storage, made.padding, storage.zero_point)
        options["padding"] = VALID if mode is None else mode
        operator = "CONV_2D"
        if made.is_depthwise:
            operator, axis, weight = "DEPTHWISE_CONV_2D", 3, weight.transpose(3, 1, 2, 0)
            options["depth_multiplier"] = made.outputs // made.groups
    w = file.tensor(f"{name}.weight", weight.shape, "int8", scale, 0, axis, weight.astype(np.int8))
    bias_scale = (np.float32(storage.scale) * scale.astype(np.float32)).astype(np.float32)
    b = file.tensor(f"{name}.bias", bias.shape, kind, bias_scale, 0, 0, bias.astype(kind))
    output = export.result(kernel, shape)
    narrower = export.storage(name).kind != out.kind
    sums = export.helper(f"{name}.wide", shape, out) if narrower else output
    export.emit(kernel, operator, [x, w, b], sums, activation=activation, **options)
    if narrower:
        export.emit(kernel, "QUANTIZE", [sums], output)
    export.finish(kernel, output)
