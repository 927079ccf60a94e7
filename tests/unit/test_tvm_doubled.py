"""TFLite's double rounding as the high half of a 32-bit product: equal to the operator, ties and signs included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.backends.tvm.requant import doubled, evaluate
from codesign.ir.ops import Requant, Rounding
from codesign.ir.types import IntType

I8 = IntType(8, True)


@given(
    multipliers=st.lists(st.one_of(st.integers(0, (1 << 31) - 1), st.just(1 << 30)), min_size=1, max_size=5),
    extra=st.integers(1, 21),
    zero_point=st.integers(-128, 127),
    bits=st.integers(10, 29),
    seed=st.integers(0, 99),
)
def test_it_equals_the_operator(multipliers: list[int], extra: int, zero_point: int, bits: int, seed: int) -> None:
    op = Requant(I8, Rounding.TFLITE_DOUBLE, zero_point)
    m, s = np.array(multipliers), np.full(len(multipliers), 31 + extra)
    x_type = IntType(bits, True)
    form = doubled(op, x_type, m, s)
    assert form is not None
    rng = np.random.default_rng(seed)
    x = rng.integers(x_type.lo, x_type.hi + 1, (400, len(m)))
    # The last values before a result and the first of it, of either sign, where there are such.
    steps = np.arange(-130, 131)[:, None] * 2.0**extra - 2.0 ** (extra - 1)
    near = np.rint(steps * 2.0**31 / np.maximum(m, 1)) + rng.integers(-2, 3, (len(steps), len(m)))
    x = np.concatenate([x, np.clip(near, x_type.lo, x_type.hi).astype(np.int64), np.arange(-3, 4)[:, None] + 0 * m])
    np.testing.assert_array_equal(evaluate(form, x, I8), op.apply(x, m, s))


def test_a_zero_point_at_the_lower_end_needs_no_sign() -> None:
    one = np.array([1 << 30])
    signs = [doubled(Requant(I8, Rounding.TFLITE_DOUBLE, zp), IntType(20, True), one, one * 0 + 40) for zp in (-128, 0)]
    assert signs[0] is not None
    assert signs[1] is not None
    assert signs[0].below is None
    assert signs[1].below is not None


@pytest.mark.parametrize(
    ("rounding", "multiplier", "shift", "bits"),
    [
        (Rounding.HALF_UP, 1 << 30, 40, 20),
        (Rounding.TFLITE_DOUBLE, -(1 << 30), 40, 20),  # the offset would be that of the other sign
        (Rounding.TFLITE_DOUBLE, 1 << 30, 31, 20),  # no second rounding
        (Rounding.TFLITE_DOUBLE, 1 << 30, 40, 31),  # four times x is more than 32 bits
        (Rounding.TFLITE_DOUBLE, 1 << 30, 62, 20),  # so is the offset
    ],
)
def test_it_declines_what_it_cannot(rounding: Rounding, multiplier: int, shift: int, bits: int) -> None:
    op = Requant(I8, rounding, 5)
    assert doubled(op, IntType(bits, True), np.array([multiplier]), np.array([shift])) is None
