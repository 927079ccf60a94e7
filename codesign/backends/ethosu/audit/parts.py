"""Windows in parts (U85): every operation computes some taps of all windows, the sums stay inside up to the last one.

So Vela computes depthwise convolutions and maximum poolings with a larger stride than the NPU's. Every part must read
what some taps of the golden window read, and have their weights; together they must be all taps, each once. Biases and
scales are compared in the last part, and the others must have the same: that they are applied once, when the sums
leave, is what Vela relies on.
"""

from __future__ import annotations

import numpy as np

from codesign.backends.ethosu.audit.convolution import compare_records, compare_result, read_weights
from codesign.backends.ethosu.audit.flow import OPEN
from codesign.backends.ethosu.audit.golden import Convolution, Pool
from codesign.backends.ethosu.audit.pooling import compare_values
from codesign.backends.ethosu.audit.result import Verdict
from codesign.backends.ethosu.audit.step import Found, Parts, Step
from codesign.backends.ethosu.audit.window import image
from codesign.backends.ethosu.stream.operations import Kernel, Kind, Pooling, Storage
from codesign.ir.ops import MaxPool2d
from codesign.ir.ops.base import Padding
from codesign.ir.types import IntArray

_PAD = OPEN
"""Stands for what pads an image: no label that is read is this one."""


def audit_part(step: Step) -> None:
    """Compare an operation with some taps of the window that its operator has; Found for any other chain of sums."""
    before, op, golden = step.parts.pop(step.result, None), step.op, _golden(step)
    if golden is None or op.sums.start == 2:
        raise Found(Verdict.OPEN, "sums that stay inside the NPU, of other than a window in parts")
    size = golden.weights.shape[1:3] if isinstance(golden, Convolution) else golden.op.kernel
    if op.sums.start == 0:
        before = Parts(op.ifm.zero_point, op.accumulator, np.zeros(size, dtype=np.int64))
    if before is None:
        raise Found(Verdict.OPEN, "a part of a window behind one that is not established")
    step.expect("upscaling", op.upscale, 0)
    if op.sums.stay and op.ofm.storage is not Storage.NONE:
        raise Found(Verdict.OPEN, "a part of a window that is written, too")
    step.expect("input zero point", op.ifm.zero_point, before.zero_point)
    step.expect("bits of a sum", op.accumulator, before.accumulator)
    taps = _taps(step, golden, before.count)
    if not op.sums.stay:
        step.write(np.arange(np.prod(op.ofm.shape)).reshape(op.ofm.shape), step.apart)
    if isinstance(golden, Convolution):
        _compare_weights(step, golden, taps)
    elif op.mode is not Pooling.MAX:
        raise Found(Verdict.DIFFERS, "a part of another kind than its pooling")
    if op.sums.stay:
        step.parts[step.result] = before
        step.compared = (
            f"{taps.shape[0] * taps.shape[1]} of the taps of the window{_WEIGHTS[op.kind]}, padding, elements read"
        )
        return
    left = [tap for tap in np.argwhere(before.count == 0).tolist() if (_golden_view(step, golden, tap) != _PAD).any()]
    if left:
        step.differs(f"{len(left)} taps of the window are in no part")
    if isinstance(golden, Pool):
        compare_values(step, golden)
    else:
        compare_result(step, golden)
        step.compared = "rounding, zero points, limits, padding, elements read and written"
    step.compared = f"the last taps of the window{_WEIGHTS[op.kind]}; {step.compared}"


_WEIGHTS = {Kind.DEPTHWISE: ", their weights, biases, multipliers and shifts", Kind.POOLING: ""}


def _golden(step: Step) -> Convolution | Pool | None:
    """The depthwise convolution or the maximum pooling of the layer; None for anything else."""
    shape = step.golden.shape(step.result)
    if any(n > most for n, most in zip(step.op.ofm.shape, image(shape), strict=True)):
        raise Found(Verdict.DIFFERS, f"a box of {step.op.ofm.shape} that leaves its tensor")
    if step.op.ofm.shape != image(shape) or step.op.activation.table is not None or step.op.ifm.bits != 8:
        return None
    if step.op.kind is Kind.DEPTHWISE:
        found = step.golden.convolution(step.first)
        single = found is not None and len(found.weights) == found.op.groups == shape[-1] and not found.dense
        return found if single else None
    pool = step.golden.pool(step.result) if step.op.kind is Kind.POOLING else None
    return pool if pool is not None and isinstance(pool.op, MaxPool2d) else None


def _taps(step: Step, golden: Convolution | Pool, count: IntArray) -> IntArray:
    """(row, column) of the golden window for every tap of the operation, (height, width, 2); counts them in `count`."""
    op, kernel = step.op, step.op.kernel
    assert kernel is not None
    tensor = step.golden.ends(step.golden.nodes(step.first))[0]
    step.expect_type("input", op.ifm, tensor)
    labels = step.read(op.ifm)
    if labels.shape[2] != op.ofm.shape[2]:
        raise Found(Verdict.DIFFERS, f"{labels.shape[2]} channels of its input instead of {op.ofm.shape[2]}")
    found = np.zeros((kernel.height, kernel.width, 2), dtype=np.int64)
    for tap in np.ndindex(kernel.height, kernel.width):
        view = _view(labels, op.padding, op.ofm.shape, (kernel.stride_y, kernel.stride_x), _moved(kernel, tap))
        places = [place for place in np.argwhere(count == 0).tolist() if _same(view, _golden_view(step, golden, place))]
        if len(places) > 1:
            raise Found(Verdict.OPEN, "a part of a window that reads nothing but padding")
        if not places:
            raise Found(
                Verdict.DIFFERS, "what it reads is no tap of its window that is left: an address or a stride differs"
            )
        found[tap] = places[0]
        count[tuple(places[0])] += 1
    return found


def _moved(kernel: Kernel, tap: tuple[int, ...]) -> tuple[int, int]:
    return tap[0] * kernel.dilation_y, tap[1] * kernel.dilation_x


def _golden_view(step: Step, golden: Convolution | Pool, tap: list[int]) -> IntArray:
    """What one tap of the golden window reads for every pixel of the result."""
    tensor = step.golden.ends(step.golden.nodes(step.first))[0]
    labels, dilation = step.flow.labels(tensor), golden.op.dilation if isinstance(golden, Convolution) else (1, 1)
    start = tap[0] * dilation[0], tap[1] * dilation[1]
    whole = labels.reshape(image(labels.shape))
    return _view(whole, golden.op.padding, step.op.ofm.shape, golden.op.stride, start)


def _view(
    labels: IntArray, padding: Padding, shape: tuple[int, int, int], stride: tuple[int, int], start: tuple[int, int]
) -> IntArray:
    """The labels from `start` on, a stride apart, as many as there are pixels in the result; _PAD around the image."""
    top, left, bottom, right = padding
    around = np.pad(labels, ((top, bottom), (left, right), (0, 0)), constant_values=_PAD)
    ends = (s + (n - 1) * step + 1 for s, n, step in zip(start, shape, stride, strict=False))
    rows, columns = (slice(s, end, step) for s, end, step in zip(start, ends, stride, strict=True))
    return around[rows, columns]


def _same(a: IntArray, b: IntArray) -> bool:
    """Whether two boxes are equal; most differ in the middle already."""
    if a.shape != b.shape:
        return False
    middle = tuple(n // 2 for n in a.shape)
    return bool(a[middle] == b[middle]) and bool((a == b).all())


def _compare_weights(step: Step, golden: Convolution, taps: IntArray) -> None:
    if any(golden.op.padding):
        step.expect("input zero point", step.op.ifm.zero_point, golden.op.pad_value)
    if not step.op.per_channel or not step.op.weights:
        raise Found(Verdict.DIFFERS, "computed weights, or one scale for all channels")
    weights = golden.weights[:, taps[..., 0], taps[..., 1]]
    wrong = read_weights(step, weights)
    if wrong:
        step.differs(f"{wrong} of {weights.size} weights differ", wrong)
    findings, differing = list(step.findings), step.differing
    compare_records(step, golden, slice(0, len(weights)))
    if step.op.sums.stay and step.findings != findings:
        step.findings, step.differing = findings, differing
        raise Found(Verdict.OPEN, "a part of a window with biases or scales that are not its layer's")
