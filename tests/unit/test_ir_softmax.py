"""Softmax against results of TFLite's reference kernels, and against the real function."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.ir.ops import Arg, OpError, Softmax
from codesign.ir.ops.fixed_point import exp_on_negative_values, one_over_one_plus_x, rounding_divide_by_pot
from codesign.ir.types import IntArray, IntType, TensorType

I4, I8, I16 = (IntType(bits, True) for bits in (4, 8, 16))

# (type of x and y, scale, beta, x, y): y is what ai-edge-litert 1.2.0 gives with OpResolverType.BUILTIN_REF for a model
# of one SOFTMAX with these inputs (int8 -> int8, uint8 -> uint8 and int8 -> int16).
REFERENCE = [
    ("i8", 0.1, 1.0, [[0, 7, -7, -22, -11, -25, 2, 34, -12, -16], [12, 9, 3, -23, -1, 17, -34, -11, -48, -32]],
     [[-121, -114, -124, -127, -126, -127, -119, 87, -126, -127],
      [-67, -83, -103, -126, -111, -28, -127, -122, -128, -127]]),
    ("i8", 0.00390625, 1.0, [[-46, -6, -32, 7, 4, -5], [-63, -13, -1, 3, -38, -12]],
     [[-91, -84, -88, -82, -83, -84], [-92, -84, -82, -81, -88, -84]]),
    ("i8", 1.5, 0.5, [[-24, -20, 27, -20, -1, 22, -15, -3], [3, 2, -31, 2, 34, -39, 21, 3]],
     [[-128, -128, 122, -128, -128, -122, -128, -128], [-128, -128, -128, -128, 127, -128, -128, -128]]),
    ("u8", 0.0625, 2.0, [[156, 223, 175, 92, 164, 153, 27], [15, 169, 99, 153, 82, 57, 38]],
     [[0, 255, 1, 0, 0, 0, 0], [0, 225, 0, 31, 0, 0, 0]]),
    ("i16", 0.05, 1.0, [[17, -2, 17, 36, -17], [5, -12, 3, -30, -14]],
     [[-20055, -27851, -20055, 103, -30446], [-10113, -23085, -12269, -28831, -24006]]),
]  # fmt: skip


def run(op: Softmax, x: IntArray, dtype: IntType) -> IntArray:
    args = [Arg(TensorType(x.shape[1:], dtype))]
    result, y = op.infer(args), op.evaluate([x.astype(dtype.storage)], args).astype(np.int64)
    assert result.shape == x.shape[1:]
    assert result.dtype.holds(y)
    return y


@pytest.mark.parametrize(("kind", "scale", "beta", "x", "y"), REFERENCE)
def test_equals_the_reference_kernel(kind: str, scale: float, beta: float, x: list[int], y: list[int]) -> None:
    op = Softmax.of(float(np.float32(scale)), float(np.float32(beta)), IntType.parse(kind))
    assert run(op, np.array(x), IntType(8, kind != "u8")).tolist() == y


@given(st.integers(0, 10_000), st.floats(2**-8, 2.0), st.integers(1, 300))
def test_is_close_to_the_real_softmax(seed: int, scale: float, channels: int) -> None:
    x = np.random.default_rng(seed).integers(-128, 128, (4, channels))
    real = np.exp(scale * (x - x.max(axis=1, keepdims=True)))
    real /= real.sum(axis=1, keepdims=True)
    found = (run(Softmax.of(scale), x, IntType(8, True)) + 128) / 256
    assert np.abs(found - np.minimum(real, 255 / 256)).max() <= 1 / 256


def test_fixed_point_functions_are_close_to_the_real_ones() -> None:
    a = -(np.arange(0, 1 << 31, 104_729, dtype=np.int64))
    assert np.abs(exp_on_negative_values(a) / 2**31 - np.exp(a / 2**26)).max() < 4e-7
    x = np.arange(0, 1 << 31, 104_729, dtype=np.int64)
    assert np.abs(one_over_one_plus_x(x) / 2**31 - 1 / (1 + x / 2**31)).max() < 4e-9
    assert rounding_divide_by_pot(np.array([-6, -5, -3, -2, 2, 3, 5, 6]), 2).tolist() == [-2, -1, -1, -1, 1, 1, 1, 2]


def test_derived_constants() -> None:
    op = Softmax.of(1 / 32)
    assert (op.multiplier, op.left_shift, op.diff_min) == (1 << 30, 22, -496)
    assert Softmax.of(1e9).left_shift == 31


@pytest.mark.parametrize(
    ("op", "x", "found", "allowed"),
    [
        (Softmax.of(0.1), TensorType((4,), I16), "an input of type i16", "at most 8 bits"),
        (Softmax.of(0.1), TensorType((5000,), I8), "5000 channels", "at most 4095"),
        (Softmax.of(0.1, out=I4), TensorType((4,), I8), "a result of type i4", "i8, u8 or i16"),
        (Softmax(5, 40, I8), TensorType((4,), I8), "multiplier 5 and left shift 40", "2^30 to 2^31 - 1 and 0 to 31"),
    ],
)
def test_refusals(op: Softmax, x: TensorType, found: str, allowed: str) -> None:
    with pytest.raises(OpError) as caught:
        op.infer([Arg(x)])
    assert (caught.value.found, caught.value.allowed) == (found, allowed)


def test_a_scale_that_is_too_small() -> None:
    with pytest.raises(ValueError, match=r"a softmax needs beta \* scale above 2\^-26, not 1e-09"):
        Softmax.of(1e-9)
