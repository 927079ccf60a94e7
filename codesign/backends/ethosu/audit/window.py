"""Where in its tensors an operation with a window is: the rows and columns that it reads say which it computes."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from codesign.backends.ethosu.audit.flow import NUMBER
from codesign.backends.ethosu.audit.result import Verdict
from codesign.backends.ethosu.audit.step import Found, Step
from codesign.backends.ethosu.stream.operations import Kernel
from codesign.ir.ops.base import Padding
from codesign.ir.types import IntArray

NO_BOX = "what it reads is no box of its input: an address, a stride or a shape differs"


class Window(Protocol):
    """What convolutions and poolings of the graph have in common."""

    @property
    def stride(self) -> tuple[int, int]: ...
    @property
    def padding(self) -> Padding: ...


def locate(step: Step, op: Window, kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[IntArray, int]:
    """(row-major pixel of the result for each (row, column) of the operation, first input channel).

    Compares kernel, stride, dilation and padding with those of the graph, a kernel that is spread with the spread one;
    the padding of an operation that computes only some rows is what is left of the graph's there. Found where the
    operation reads no box of its input.
    """
    found = step.op.kernel
    assert found is not None
    step.expect("upscaling", step.op.upscale, 0)
    apart = spread(found, kernel, dilation)
    step.expect("kernel", (found.height, found.width), spans(kernel, apart))
    steps = [(found.stride_y, op.stride[0]), (found.stride_x, op.stride[1])]
    moving = [pair for pair, size in zip(steps, step.op.ofm.shape, strict=False) if size > 1]
    step.expect("stride", tuple(ours for ours, _ in moving), tuple(theirs for _, theirs in moving))
    steps_between = found.dilation_y * apart[0], found.dilation_x * apart[1]
    step.expect("dilation", _dilations(*steps_between, kernel), _dilations(*dilation, kernel))
    tensor = _input(step)
    step.expect_type("input", step.op.ifm, tensor)
    read = step.read(step.op.ifm)
    corner = step.flow.box(read, tensor)
    if corner is None:
        raise Found(Verdict.DIFFERS, NO_BOX)
    height, width, _ = image(step.golden.shape(tensor))
    rows, columns, _ = image(step.golden.shape(step.first))
    top, left, bottom, right = step.op.padding
    starts, needed = [], []
    for axis, (size, place, before, after) in enumerate(
        ((height, corner[0], top, bottom), (width, corner[1], left, right))
    ):
        computed = step.op.ofm.shape[axis]
        ahead = op.padding[axis]
        start = place - before + ahead
        if start % op.stride[axis]:
            raise Found(Verdict.DIFFERS, f"{_AXES[axis]} {place} of its input are no start of a window")
        start //= op.stride[axis]
        if start < 0:
            raise Found(Verdict.DIFFERS, f"padding {step.op.padding} instead of at most {op.padding}")
        end = (start + computed - 1) * op.stride[axis] - ahead + (kernel[axis] - 1) * dilation[axis] + 1
        names = ("top", "bottom") if axis == 0 else ("left", "right")
        first = start * op.stride[axis] - ahead
        step.expect(f"padding at the {names[0]}", before, max(0, place - first))
        step.expect(f"padding at the {names[1]}", after, max(0, end - place - read.shape[axis]))
        needed.append(slice(max(0, first), min(end, size)))
        if start + computed > (rows, columns)[axis]:
            raise Found(Verdict.DIFFERS, f"{computed} {_AXES[axis]} from {start} on of {(rows, columns)[axis]}")
        starts.append(start)
    _expect_pad(step, tensor, (needed[0], needed[1]), corner, read.shape)
    y = starts[0] + np.arange(step.op.ofm.shape[0])
    x = starts[1] + np.arange(step.op.ofm.shape[1])
    return y[:, None] * columns + x, corner[2]


_AXES = ("rows", "columns")


def _expect_pad(
    step: Step, tensor: int, needed: tuple[slice, slice], corner: tuple[int, int, int], shape: tuple[int, ...]
) -> None:
    """Found unless what the windows need of the tensor and the operation does not read is a PAD of its zero point.

    That is a PAD which the NPU's own padding replaces.
    """
    labels = step.flow.labels(tensor).reshape(image(step.golden.shape(tensor))).copy()
    value = NUMBER + step.op.ifm.zero_point
    labels[corner[0] : corner[0] + shape[0], corner[1] : corner[1] + shape[1]] = value
    if (labels[needed] != value).any():
        raise Found(Verdict.DIFFERS, "padding where its input has values")


def spread(found: Kernel, kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    """(y, x): how far the taps of the graph's kernel are apart in the NPU's, zeros between them.

    The NPU dilates by at most 2; what is left of a larger dilation Vela writes into the kernel.
    """
    own = found.dilation_y, found.dilation_x
    y, x = (d // o if n > 1 and d % o == 0 else 1 for d, o, n in zip(dilation, own, kernel, strict=True))
    return y, x


def spans(kernel: tuple[int, int], apart: tuple[int, int]) -> tuple[int, int]:
    """The size of a kernel whose taps are this far apart."""
    return (kernel[0] - 1) * apart[0] + 1, (kernel[1] - 1) * apart[1] + 1


def _dilations(y: int, x: int, kernel: tuple[int, int]) -> tuple[int, int]:
    """The dilation, 1 along an axis with a single tap."""
    return y if kernel[0] > 1 else 1, x if kernel[1] > 1 else 1


def _input(step: Step) -> int:
    return step.golden.ends(step.golden.nodes(step.first))[0]


def image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(height, width, channels) of a tensor's shape without the batch."""
    height, width, channels = (1,) * (3 - len(shape)) + shape
    return height, width, channels
