"""Integer types and meanings: ranges, encodings, and what real numbers become."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.ir.types import BIPOLAR, IntType, Quant, TensorType
from codesign.testing.graphs import int_types, values


@given(int_types(), st.integers(0, 1000))
def test_encode_is_inverted_by_decode_and_fits_the_bits(dtype: IntType, seed: int) -> None:
    x = values(np.random.default_rng(seed), dtype, (50,))
    words = dtype.encode(x)
    assert dtype.holds(x)
    assert words.min() >= 0
    assert words.max() < 1 << dtype.bits
    np.testing.assert_array_equal(dtype.decode(words), x)


@given(int_types())
def test_text_round_trips(dtype: IntType) -> None:
    assert IntType.parse(str(dtype)) == dtype


@given(int_types())
def test_range_count_and_storage(dtype: IntType) -> None:
    assert len(range(dtype.lo, dtype.hi + 1, dtype.step)) == dtype.count == 1 << dtype.bits
    info = np.iinfo(dtype.storage)
    assert info.min <= dtype.lo
    assert dtype.hi <= info.max
    assert not dtype.holds(np.array([dtype.lo - 1]))
    assert not dtype.holds(np.array([dtype.hi + 1]))


@given(st.integers(-(2**31), 2**32 - 1), st.integers(-(2**31), 2**32 - 1))
def test_smallest_type_is_smallest(a: int, b: int) -> None:
    lo, hi = min(a, b), max(a, b)
    if lo < 0 and hi >= 1 << 31:
        with pytest.raises(ValueError, match="1 to 32 bits, not 33"):
            IntType.smallest(lo, hi)
        return
    found = IntType.smallest(lo, hi)
    fitting = [t for b in range(1, 33) for s in (False, True) if (t := IntType(b, s)).lo <= lo and hi <= t.hi]
    assert found.bits == min(t.bits for t in fitting)
    assert found in fitting


def test_bipolar_holds_no_zero() -> None:
    assert BIPOLAR.holds(np.array([-1, 1]))
    assert not BIPOLAR.holds(np.array([0]))
    assert BIPOLAR.encode(np.array([-1, 1])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IntType(0, True), "an integer type has 1 to 32 bits, not 0"),
        (lambda: IntType(33, False), "an integer type has 1 to 32 bits, not 33"),
        (lambda: IntType(2, True, True), "a bipolar type is one signed bit"),
        (lambda: IntType.smallest(3, 2), "an empty range 3 … 2"),
        (lambda: IntType.parse("x4"), r"not an integer type: 'x4' \(u1 … u32, i1 … i32, bipolar\)"),
        (lambda: Quant((float("nan"),)), "a scale is NaN, infinite or zero"),
        (lambda: Quant((0.0,)), "a scale is NaN, infinite or zero"),
        (lambda: Quant((1.0,), (float("inf"),)), "a zero point is NaN or infinite"),
        (lambda: Quant((1.0, 2.0)), "2 scales and 1 zero points on axis None"),
        (lambda: Quant((1.0, 2.0), (0.0, 1.0, 2.0), 0), "2 scales and 3 zero points on axis 0"),
        (lambda: Quant(()), "0 scales and 1 zero points on axis None"),
        (lambda: TensorType((), BIPOLAR), r"a tensor needs at least one axis and no empty one, not \(\)"),
        (lambda: TensorType((3, 0), BIPOLAR), r"a tensor needs at least one axis and no empty one, not \(3, 0\)"),
    ],
)
def test_rules_of_types(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()  # type: ignore[operator]


def test_quantise_rounds_half_to_even_and_saturates() -> None:
    quant = Quant((0.5,), (1.0,))
    real = np.array([[-100.0, -0.75, -0.25, 0.25, 0.75, 100.0]])
    assert quant.quantise(real, IntType(4, True)).tolist() == [[-8, 0, 0, 2, 2, 7]]
    assert Quant((0.5,)).quantise(np.array([[-0.1, 0.0, 2.0]]), BIPOLAR).tolist() == [[-1, 1, 1]]


def test_scales_along_an_axis() -> None:
    quant = Quant((1.0, 0.5), (0.0, 2.0), axis=-1)
    q = np.array([[[4, 4], [8, 8]]])
    np.testing.assert_array_equal(quant.dequantise(q), [[[4.0, 1.0], [8.0, 3.0]]])
    np.testing.assert_array_equal(quant.quantise(quant.dequantise(q), IntType(8, True)), q)
    first = Quant((1.0, 0.5), axis=0)
    np.testing.assert_array_equal(first.dequantise(q), [[[4.0, 4.0], [4.0, 4.0]]])
    assert first.fits((2, 7))
    assert not first.fits((7, 2))
    assert not Quant((1.0, 0.5), axis=3).fits((2, 2))


def test_scalars_of_numpy_become_plain_floats() -> None:
    scale, zero_point = np.array([0.1], np.float32), np.array([3], np.float64)
    quant = Quant(tuple(scale), tuple(zero_point))
    assert repr(quant) == "Quant(scale=(0.10000000149011612,), zero_point=(3.0,), axis=None)"
