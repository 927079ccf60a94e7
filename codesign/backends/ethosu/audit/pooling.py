"""Poolings, and means over an image: rounding and limits for every sum that a window can have."""

from __future__ import annotations

import numpy as np

from codesign.backends.ethosu.audit.arithmetic import finished, limits, scaled
from codesign.backends.ethosu.audit.golden import Pool
from codesign.backends.ethosu.audit.result import Verdict
from codesign.backends.ethosu.audit.step import Found, Step
from codesign.backends.ethosu.audit.window import locate
from codesign.backends.ethosu.stream.operations import Pooling
from codesign.ir.ops import MaxPool2d
from codesign.ir.types import IntArray

_INT8 = (-128, 127)
_DIVIDES = "how the NPU rounds an average that it divides itself"
_BORDER = "how the NPU divides an average at the border, whose pixels it counts itself"


def audit_pooling(step: Step) -> None:
    """Compare an operation with the pooling that its operator is."""
    golden = step.golden.pool(step.result)
    if golden is None or step.op.activation.table is not None:
        raise Found(Verdict.OPEN, "the golden graph computes more than a pooling here")
    pixels, start = locate(step, golden.op, golden.op.kernel, (1, 1))
    channels, depth = step.golden.shape(step.result)[-1], step.op.ofm.shape[2]
    if start + depth > channels:
        raise Found(Verdict.DIFFERS, f"{depth} channels from {start} on of {channels}")
    step.write(pixels[:, :, None] * channels + start + np.arange(depth))
    if step.op.ifm.bits != 8:
        raise Found(Verdict.OPEN, "a pooling of 16 bits: not every sum is compared")
    most = isinstance(golden.op, MaxPool2d)
    modes = (Pooling.MAX,) if most else (Pooling.AVERAGE, Pooling.SUM)
    if step.op.mode not in modes:
        raise Found(Verdict.DIFFERS, f"a pooling of the kind {_name(step)} for {type(golden.op).__name__}")
    if not most and (any(step.op.padding) or step.divides):
        _expect_mean(step, golden)
        raise Found(Verdict.OPEN, _DIVIDES if step.divides else _BORDER)
    compare_values(step, golden)


def compare_values(step: Step, golden: Pool) -> None:
    """A difference unless every value of a maximum, or sum of a window, becomes what the golden pooling makes of it."""
    most = isinstance(golden.op, MaxPool2d)
    values = np.arange(_INT8[0], _INT8[1] + 1) if most else _sums(golden)
    expected = np.clip(values if most else _means(golden, values), golden.low, golden.high)
    zero = step.op.ifm.zero_point * (1 if most else _area(golden))
    found = finished(step.op, scaled(values - zero, step.op.scale), None)
    wrong = int((found != expected).sum())
    if wrong:
        step.differs(f"{wrong} of {len(values)} results differ, of all sums that a window can have", 1)
    what = "values" if most else "sums"
    step.compared = f"the result for all {len(values):,} {what} of a window, window, padding, elements read and written"


def _expect_mean(step: Step, golden: Pool) -> None:
    """What must hold of an average whose division no register says: zero points and limits."""
    step.expect("output zero point", step.op.ofm.zero_point, step.op.ifm.zero_point)
    step.expect("limits of the result", limits(step.op), (golden.low, golden.high))
    if step.divides:
        step.expect("scale", step.op.scale.multiplier, 1 << step.op.scale.shift)


def _name(step: Step) -> str:
    return step.op.mode.name.lower() if isinstance(step.op.mode, Pooling) else str(step.op.mode)


def _area(golden: Pool) -> int:
    return golden.op.kernel[0] * golden.op.kernel[1]


def _sums(golden: Pool) -> IntArray:
    return np.arange(_INT8[0] * _area(golden), _INT8[1] * _area(golden) + 1)


def _means(golden: Pool, sums: IntArray) -> IntArray:
    """Rounded half away from zero, as AvgPool2d does."""
    count = _area(golden)
    magnitude = (np.abs(sums) + count // 2) // count
    return np.where(sums < 0, -magnitude, magnitude)
