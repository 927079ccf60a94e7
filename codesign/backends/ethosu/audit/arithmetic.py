"""What the NPU computes from numbers: scaling, rounding, limits and tables, as its registers say.

The meaning of the registers is Arm's, as far as it is public: rounding DOUBLE is gemmlowp's rounding doubling high
multiply with a rounding shift behind it, NATURAL adds a half. A result of 32 bits is not limited. With one scale of
32 bits (U55, U65) the input that it is not for enters with half the weight of 2^20, or of 2^15 for 16 bits: that is
what Vela's scales are derived from. An audit proves the golden graph under these rules, not that silicon obeys them.
"""

from __future__ import annotations

import numpy as np

from codesign.backends.ethosu.stream.operations import Elementwise, Operation, Rounding, Scale, ScaleMode
from codesign.ir.ops import Rounding as Golden
from codesign.ir.ops.rescale import MAX_SHIFT, round_shift
from codesign.ir.types import IntArray

ROUNDINGS = {Rounding.DOUBLE: Golden.TFLITE_DOUBLE, Rounding.NATURAL: Golden.HALF_UP}


class Unknown(Exception):
    """An arithmetic that is not modelled; says which."""


def scaled(x: IntArray, scale: Scale) -> IntArray:
    """round(x * multiplier / 2^shift). Raises Unknown for a rounding that is not modelled, or more than 64 bits."""
    if scale.rounding not in ROUNDINGS:
        raise Unknown("a rounding that is not modelled")
    left = scale.double_round
    largest = max(abs(int(x.max(initial=0))), abs(int(x.min(initial=0)))) << left
    if largest * scale.multiplier >= 1 << 62 or scale.shift + left > MAX_SHIFT:
        raise Unknown("products of more than 63 bits")
    return round_shift((x << left) * scale.multiplier, np.array(scale.shift + left), ROUNDINGS[scale.rounding])


def finished(op: Operation, y: IntArray, table: IntArray | None) -> IntArray:
    """The result from what is rescaled: zero point, limits, look-up table."""
    y = y + op.ofm.zero_point
    if op.ofm.bits < 32 or table is not None:
        low, high = limits(op)
        y = np.clip(y, low, high)
    return y if table is None else table[y + len(table) // 2]


def limits(op: Operation) -> tuple[int, int]:
    """What a result is limited to: the activation's limits within its type."""
    table = op.activation.table is not None
    bits = op.activation.bits or (8 if table else min(op.ofm.bits, 16))
    signed = op.ofm.signed and bits > 0
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << abs(bits)) - 1)
    if op.activation.bits is None:
        return low, high
    return max(low, op.activation.minimum), min(high, op.activation.maximum)


def elementwise(op: Operation, first: IntArray, second: IntArray) -> IntArray:
    """What MUL, ADD or SUB makes of two inputs, rescaled. Raises Unknown for anything else."""
    a = first - op.ifm.zero_point
    b = second - (0 if isinstance(op.ifm2, int) or op.ifm2 is None else op.ifm2.zero_point)
    if op.swapped:
        a, b = b, a
    if op.mode is Elementwise.MUL:
        return scaled(a * b, op.scale)
    if op.mode not in (Elementwise.ADD, Elementwise.SUB) or op.input_scales is None:
        raise Unknown("an elementwise operation that is not modelled")
    a, b = _scaled_inputs(op, a, b)
    return scaled(a + b if op.mode is Elementwise.ADD else a - b, op.scale)


def _scaled_inputs(op: Operation, a: IntArray, b: IntArray) -> tuple[IntArray, IntArray]:
    assert op.input_scales is not None
    first, second = op.input_scales
    if op.scale_mode is ScaleMode.BOTH_16:
        return scaled(a, first), scaled(b, second)
    left = {8: 20, 16: 15}.get(op.ifm.bits)
    if left is None:
        raise Unknown(f"a scale of 32 bits for inputs of {op.ifm.bits}")
    exact = Scale(first.multiplier, first.shift, first.rounding, left)
    if op.scale_mode is ScaleMode.FIRST_32:
        return scaled(a, exact), b << (left - 1)
    return a << (left - 1), scaled(b, exact)
