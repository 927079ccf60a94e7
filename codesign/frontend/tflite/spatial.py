"""AVERAGE_POOL_2D, MAX_POOL_2D, MEAN, PAD and RESIZE_NEAREST_NEIGHBOR."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codesign.frontend.problems import Refusal, bad
from codesign.frontend.tflite.context import Layer, frame
from codesign.frontend.tflite.params import Rescale, away, quantize_multiplier
from codesign.ir.ops import AvgPool2d, MaxPool2d, Pad, Rounding, Take
from codesign.ir.ops.base import Padding

_SAME, _VALID = 0, 1


def padding_of(layer: Layer, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int] = (1, 1)) -> Padding:
    """(top, left, bottom, right) of SAME or VALID: ComputePaddingHeightWidth (kernels/padding.h).

    SAME: ceil(size / stride) outputs; the odd pixel goes behind the image.
    """
    if layer.option("padding") == _VALID:
        return (0, 0, 0, 0)
    before, after = [], []
    for size, k, s, d in zip(layer.tensor(0).shape[1:3], kernel, stride, dilation, strict=True):
        total = max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)
        before.append(total // 2)
        after.append(total - total // 2)
    return (before[0], before[1], after[0], after[1])


def average_pool(layer: Layer) -> None:
    """AVERAGE_POOL_2D: reference_integer_ops::AveragePool (integer_ops/pooling.h).

    The mean of the pixels inside the image, rounded half away from zero; the scale does not change.
    """
    _pool(layer, mean=True)


def max_pool(layer: Layer) -> None:
    """MAX_POOL_2D: reference_integer_ops::MaxPool (integer_ops/pooling.h)."""
    _pool(layer, mean=False)


def _pool(layer: Layer, mean: bool) -> None:
    value = layer.image()
    layer.expect_same_scale()
    kernel = layer.option("filter_height"), layer.option("filter_width")
    stride = layer.option("stride_h"), layer.option("stride_w")
    if min(*kernel, *stride) < 1:
        raise bad(f"a window of {kernel} and a stride of {stride}", "1 or more")
    padding = padding_of(layer, kernel, stride)
    op = AvgPool2d(kernel, stride, padding, mean=True) if mean else MaxPool2d(kernel, stride, padding)
    limits, dtype = layer.limits(), layer.out.dtype
    if limits == (dtype.lo, dtype.hi):
        layer.final(op, [value])
    else:
        layer.clamped_result(layer.emit(op, [value], "unlimited"), limits)


def mean(layer: Layer) -> None:
    """MEAN over neighbouring axes: reference_ops::QuantizedMeanOrSum (internal/reference/reduce.h).

    y = clamp((sum - n * zero_x) * factor + zero_y). n goes into the multiplier: m / 2^31 * 2^e of s_x / s_y becomes
    floor(m * 2^k / n) with the exponent e - k, k the largest number for which 2^k <= n.
    """
    value, x = layer.x()
    shape = layer.tensor(0).shape
    axes = sorted({layer.axis(a, shape) for a in layer.integers(1, "the axes of MEAN")} - {-1})
    inner = layer.type(value).shape
    if not axes or axes != list(range(axes[0], axes[-1] + 1)):
        raise Refusal(f"a MEAN over axes {axes} of {inner}", "neighbouring axes")
    before, after = inner[: axes[0]], inner[axes[-1] + 1 :]
    n = int(np.prod([inner[a] for a in axes]))
    image = layer.reshaped(value, (int(np.prod(before)), n, int(np.prod(after))), "rows")
    total = layer.emit(AvgPool2d((1, n), (1, n)), [image], "sum")
    total = layer.exact(total, 1, -n * x.zero_point, "centred")
    by = mean_rescale(x.scale, layer.out.scale, n)
    total = layer.reshaped(total, frame(layer.result().shape), "shaped")
    layer.rescaled_result(total, by, (layer.out.dtype.lo, layer.out.dtype.hi))


def mean_rescale(x_scale: float, out_scale: float, n: int) -> Rescale:
    """The factor of MEAN between the centred sum of n values and the result; see `mean`."""
    m, exponent = quantize_multiplier(x_scale / out_scale)
    shift = min(n.bit_length() - 1, 32, 31 + exponent)
    return Rescale(
        np.array([(m << shift) // n]),
        np.array([31 - exponent + shift]),
        Rounding.TFLITE_DOUBLE,
        max(0, exponent - shift),
    )


def pad(layer: Layer) -> None:
    """PAD and PADV2 of height and width: reference_ops::Pad (internal/reference/pad.h).

    PAD fills with the zero point, the real 0; PADV2 with the integer of its third input.
    """
    value = layer.value(0)
    layer.expect_same_scale()
    shape = layer.tensor(0).shape
    amounts = np.array(layer.integers(1, "the padding", 2 * len(shape))).reshape(len(shape), 2)
    if (amounts < 0).any():
        raise bad(f"a padding of {amounts.tolist()}", "0 or more")
    filler = int(layer.constant(2, "the filler").reshape(-1)[0]) if layer.op.name == "PADV2" else layer.out.zero_point
    if len(shape) not in (3, 4) or shape[0] != 1 or amounts[0].any() or amounts[-1].any():
        raise Refusal(f"a padding of {amounts.tolist()} around {shape}", "padding of height and width only")
    size = layer.type(value).shape
    (top, bottom), (left, right) = amounts[1:-1] if len(shape) == 4 else (amounts[1], (0, 0))
    op = Pad((int(top), int(left), int(bottom), int(right)), filler)
    if len(shape) == 4:
        layer.final(op, [value])
    else:
        layer.same(layer.emit(op, [layer.reshaped(value, (size[0], 1, size[1]), "image")], "padded"))


def resize_nearest(layer: Layer) -> None:
    """RESIZE_NEAREST_NEIGHBOR: reference_ops::ResizeNearestNeighbor (reference/resize_nearest_neighbor.h).

    Output pixel i reads floor((i + offset) * in / out), offset 1/2 for half_pixel_centers; with align_corners it
    reads round(i * (in - 1) / (out - 1)). All in single precision.
    """
    value = layer.image()
    layer.expect_same_scale()
    sizes = layer.integers(1, "the size", 2)
    rows, columns = (
        nearest(size, out, bool(layer.option("align_corners")), bool(layer.option("half_pixel_centers")))
        for size, out in zip(layer.tensor(0).shape[1:3], sizes, strict=True)
    )
    layer.final(Take(1, columns), [layer.emit(Take(0, rows), [value], "rows")])


def nearest(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> tuple[int, ...]:
    """The pixel that each of `out` pixels reads along an axis of `size`; see `resize_nearest`."""
    if out < 1:
        raise bad(f"a size of {out}", "1 or more")
    corners = align_corners and out > 1
    scale = np.float32(size - 1) / np.float32(out - 1) if corners else np.float32(size) / np.float32(out)
    offset = np.float32(0.5 if half_pixel_centers else 0.0)
    places = [(np.float32(i) + offset) * scale for i in range(out)]
    found = [away(p) if align_corners else int(np.floor(p)) for p in places]
    return tuple(min(max(i, 0), size - 1) for i in found)
