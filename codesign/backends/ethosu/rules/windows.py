"""Rules for what moves a window over an image: strides, pools, resizing."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from codesign.backends.ethosu.rules.base import OLDER, POOLS, U85, Rule, View, nhwc

_RESIZE = ("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR")
_SAME = 0  # Padding in TensorFlow Lite's schema


@dataclass(frozen=True)
class Window:
    """A window with (height, width) each: kernel, stride, dilation, and the padding that it needs in all."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]

    def large_stride(self) -> str:
        """The stride when it is above 3 although there is padding or dilation; '' else."""
        fine = max(self.stride) <= 3 or (max(self.padding) == 0 and max(self.dilation) == 1)
        if fine:
            return ""
        pad, dilation = ("x".join(map(str, pair)) for pair in (self.padding, self.dilation))
        return f"a stride of {self.stride[0]}x{self.stride[1]} with padding {pad} and dilation {dilation}"


def window_of(v: View) -> Window:
    """The window of a convolution or pool; the stride over an axis of one output is 1."""
    options = v.op.options
    if v.op.name in POOLS:
        kernel, dilation = (int(options["filter_height"]), int(options["filter_width"])), (1, 1)
    else:
        assert v.weights is not None
        kernel = (v.weights.shape[1], v.weights.shape[2])
        dilation = (int(options["dilation_h"]), int(options["dilation_w"]))
    stride = (int(options["stride_h"]), int(options["stride_w"]))
    image, result = nhwc(v.ifm.shape)[1:3], nhwc(v.ofm.shape)[1:3]
    padding = [0, 0]
    for axis in (0, 1) if int(options["padding"]) == _SAME else ():
        reach = (result[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
        padding[axis] = max(0, reach - image[axis])
    steps = (stride[0] if result[0] > 1 else 1, stride[1] if result[1] > 1 else 1)
    return Window(kernel, steps, dilation, (padding[0], padding[1]))


def pool_stride(v: View) -> str:
    """strides of at most 3; larger ones without padding"""
    return window_of(v).large_stride()


def average_window(v: View) -> str:
    """with padding a window of at most 8x8, else at most 256 rows and 65,536 values"""
    window = window_of(v)
    if max(window.padding) == 0:
        return max_window(v)
    return f"{window.kernel[0]}x{window.kernel[1]} with padding" if max(window.kernel) > 8 else ""


def max_window(v: View) -> str:
    """a window of at most 256 rows and 65,536 values"""
    height, width = window_of(v).kernel
    return f"{height}x{width}" if height > 256 or height * width > 1 << 16 else ""


def _factors(v: View) -> tuple[Fraction, Fraction]:
    """Output over input per axis (height, width); with aligned corners that of the steps between pixels."""
    less = 1 if v.op.options["align_corners"] else 0
    pairs = zip(nhwc(v.ofm.shape)[1:3], nhwc(v.ifm.shape)[1:3], strict=True)
    height, width = (Fraction(1) if o == i else Fraction(o - less, max(i - less, 1)) for o, i in pairs)
    return height, width


def _trivial(v: View) -> bool:
    image, result = nhwc(v.ifm.shape), nhwc(v.ofm.shape)
    return image[1:3] == (1, 1) or image == result


def _factor_text(v: View) -> str:
    height, width = _factors(v)
    return f"factors of {float(height):g} and {float(width):g}"


def resize_factor(v: View) -> str:
    """factors of 2, 4 or 8, the same in height and width unless an axis stays one pixel"""
    height, width = _factors(v)
    result = nhwc(v.ofm.shape)
    if _trivial(v):
        return ""
    if height != width:
        if result[1] == 1 and height == 1:
            height = width
        elif result[2] == 1 and width == 1:
            width = height
    return _factor_text(v) if height != width or height not in (2, 4, 8) else ""


def half_pixel(v: View) -> str:
    """with half-pixel centers a factor of 2 in height and width"""
    if not v.op.options["half_pixel_centers"] or nhwc(v.ifm.shape)[1:3] == (1, 1):
        return ""
    return _factor_text(v) if any(f != 2 for f in _factors(v)) else ""


def resize_batch(v: View) -> str:
    """a batch of one, or images of one pixel: Vela 5.2 stops with an error at others"""
    batch = nhwc(v.ifm.shape)[0]
    return f"a batch of {batch}" if batch > 1 and not _trivial(v) else ""


def one_alignment(v: View) -> str:
    """either align_corners or half_pixel_centers"""
    both = v.op.options["align_corners"] and v.op.options["half_pixel_centers"]
    return "align_corners and half_pixel_centers" if both else ""


def aligned_pixels(v: View) -> str:
    """with aligned corners no axis that shrinks to one pixel"""
    shrinks = any(o == 1 < i for o, i in zip(nhwc(v.ofm.shape)[1:3], nhwc(v.ifm.shape)[1:3], strict=True))
    return _factor_text(v) if v.op.options["align_corners"] and shrinks else ""


def largest_factor(v: View) -> str:
    """factors of at most 1024, with aligned corners 2048"""
    limit = 2048 if v.op.options["align_corners"] else 1024
    return _factor_text(v) if max(_factors(v)) > limit else ""


def power_of_two(v: View) -> str:
    """factors that are powers of two"""
    powers = all(f.denominator == 1 and f.numerator & (f.numerator - 1) == 0 and f > 0 for f in _factors(v))
    return "" if powers or nhwc(v.ifm.shape)[1:3] == (1, 1) else _factor_text(v)


RULES = (
    Rule(pool_stride, POOLS, OLDER),
    Rule(average_window, ("AVERAGE_POOL_2D",)),
    Rule(max_window, ("MAX_POOL_2D",)),
    Rule(resize_factor, _RESIZE, OLDER),
    Rule(half_pixel, ("RESIZE_BILINEAR",), OLDER),
    Rule(resize_batch, _RESIZE, OLDER),
    Rule(one_alignment, _RESIZE, U85),
    Rule(aligned_pixels, _RESIZE, U85),
    Rule(largest_factor, _RESIZE, U85),
    Rule(power_of_two, ("RESIZE_BILINEAR",), U85),
)
