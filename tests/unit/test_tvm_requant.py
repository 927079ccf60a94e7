"""The cheapest form of a rescaling where x reaches far beyond the levels: there it must not overflow either."""

from __future__ import annotations

import numpy as np
import pytest

from codesign.backends.tvm.requant import HighMul, cheapest, evaluate
from codesign.ir.ops import Requant, Rounding
from codesign.ir.types import IntType


@pytest.mark.parametrize("bits", [24, 28, 29, 30, 32])
@pytest.mark.parametrize("levels_bits", [20, 23, 27])
def test_a_form_is_exact_where_x_is_far_beyond_all_levels(bits: int, levels_bits: int) -> None:
    """Rescaled to 8 bits from about `levels_bits`, the accumulator having `bits`."""
    x = IntType(bits, True)
    op = Requant(IntType(8, True), Rounding.TFLITE_DOUBLE, -128)
    constants = (np.array([1623163062]), np.array([31 + levels_bits - 8]))
    form = cheapest(op, x, constants)
    if isinstance(form, HighMul):
        assert x.largest << form.left < 1 << 31
    values = np.linspace(x.lo, x.hi, 100_001).astype(np.int64)[:, None]
    values = np.concatenate([values, values // 64])
    assert (evaluate(form, values, op.out) == op.apply(values, *constants)).all()
