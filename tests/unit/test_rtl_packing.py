"""Frames to beats and back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codesign.backends.rtl.packing import beat_bytes, pack, unpack
from codesign.ir.types import BIPOLAR, IntType

TYPES = st.one_of(st.just(BIPOLAR), st.builds(IntType, st.integers(1, 32), st.booleans()))


@given(TYPES, st.integers(1, 9), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_unpack_inverts_pack(dtype: IntType, lanes: int, beats: int, frames: int, seed: int) -> None:
    count = np.random.default_rng(seed).integers(0, dtype.count, (frames, beats * lanes))
    values = dtype.lo + dtype.step * count
    packed = pack(values, dtype, lanes)
    assert packed.shape == (frames, beats, beat_bytes(dtype, lanes))
    assert (unpack(packed, dtype, lanes, (beats * lanes,)) == values).all()


def test_element_i_is_in_bits_i_times_w() -> None:
    assert pack(np.array([[1, -1, 2]]), IntType(3, True), 3).tolist() == [[[0b10_111_001, 0b0]]]
    assert pack(np.array([[1, -1, 1]]), BIPOLAR, 3).tolist() == [[[0b101]]]
