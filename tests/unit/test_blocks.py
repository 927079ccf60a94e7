"""The Python twins: memory words, thresholds as a search tree, latencies, and what the resource formulas must obey."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.backends.rtl.blocks.cost import block_rams, multiplexer, ram, rom, style_of
from codesign.backends.rtl.blocks.encode import hex_words, type_parameters, word_literal
from codesign.backends.rtl.blocks.engines import Concat, Pad
from codesign.backends.rtl.blocks.fifo import Fifo
from codesign.backends.rtl.blocks.mac import Mac, resolve_mul_style
from codesign.backends.rtl.blocks.rescale import Requant, Threshold
from codesign.backends.rtl.fabrics import FABRICS
from codesign.ir.ops import Rounding
from codesign.ir.types import BIPOLAR, IntArray, IntType

XC7, ICE40 = FABRICS["xc7"], FABRICS["ice40"]
U2, U4, U8, I2, I4, I8 = (IntType(b, s) for s in (False, True) for b in (2, 4, 8))


def words_of(lines: list[str], bits: int) -> IntArray:
    """The inverse of hex_words: (words, elements), the highest elements that are zero cut off by the caller."""
    count = len(lines[0]) * 4 // bits
    return np.array([[(int(line, 16) >> (bits * i)) & ((1 << bits) - 1) for i in range(count)] for line in lines])


@given(st.integers(1, 40), st.integers(1, 9), st.data())
def test_hex_words_hold_every_element(bits: int, elements: int, data: st.DataObject) -> None:
    row = data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=elements, max_size=elements))
    (line,) = hex_words(np.array([row]), bits)
    assert int(line, 16) == sum(code << (bits * i) for i, code in enumerate(row))
    assert len(line) == -(-bits * elements // 4)


def test_literals_and_types_as_parameters() -> None:
    assert word_literal(10, 6) == "6'ha"
    assert type_parameters("In", BIPOLAR) == {"InBits": 1, "InSigned": 0, "InBipolar": 1}
    assert type_parameters("In", I4) == {"InBits": 4, "InSigned": 1, "InBipolar": 0}
    assert Concat(8, (3, 1)).parameters()["Folds"] == "64'h100000003"
    pad = Pad(2, BIPOLAR, I2, 4, 4, 1, 1, 1, 1, folds=1, value=-1)
    assert pad.parameters()["PadCode"] == "2'h3"


INPUTS, OUTPUTS = [U4, I4, BIPOLAR, IntType(1, True)], [BIPOLAR, U2, IntType(3, True)]


@given(st.sampled_from(INPUTS), st.sampled_from(OUTPUTS), st.data())
def test_the_search_tree_counts_what_is_reached(dtype: IntType, out: IntType, data: st.DataObject) -> None:
    """Walking the tree from node 1, as the hardware does, counts the levels reached."""
    count = data.draw(st.integers(1, out.count - 1))
    level = st.integers(dtype.lo - 3, dtype.hi + 3)
    rows = data.draw(st.lists(st.lists(level, min_size=count, max_size=count), min_size=4, max_size=4))
    levels = np.sort(np.array(rows), axis=1)
    pipe = Threshold(levels, dtype, out, lanes=2)
    tree = words_of(pipe.memories()["LevelFile"], dtype.bits + 1)
    nodes = 1 << out.bits
    for channel in range(4):
        fold = channel // 2 % pipe.folds
        for x in range(dtype.lo, dtype.hi + 1, dtype.step):
            node, rank = 1, (x - dtype.lo) // dtype.step
            for _ in range(out.bits):
                node = 2 * node + int(rank >= tree[fold * nodes + node, channel % 2])
            assert node - nodes == (x >= levels[channel]).sum()


def test_equal_channels_are_stored_once() -> None:
    levels = np.array([[1, 2, 3]] * 8)
    assert Threshold(levels, U4, U2, lanes=2).folds == 1
    assert Threshold(levels + np.arange(8)[:, None] // 7, U4, U2, lanes=2).folds == 4
    scale = Requant(np.full(8, 5), np.full(8, 3), 0, Rounding.HALF_UP, I8, I4, lanes=2)
    assert (scale.folds, scale.mul_bits, scale.shift_bits) == (1, 4, 0)
    assert len(scale.memories()["ParamFile"]) == 1
    mixed = replace(scale, shift=np.arange(8))
    assert (mixed.folds, mixed.shift_bits, len(mixed.memories()["ParamFile"])) == (4, 3, 4)


def test_weight_words_are_bit_planes_without_multipliers() -> None:
    weights = np.array([[1, -2, 0, -1], [-1, 1, 1, 0]])
    mac = Mac(weights, I2, None, U2, I8, pe=1, simd=2)
    # neuron 0, first two weights 01 and 10: plane 0 is 01 (weight 0 in the low bit), plane 1 is 10
    assert mac.style == "lut"
    assert mac.memories()["WeightFile"] == ["9", "a", "7", "1"]
    # whole weights 01 and 10, the first one low
    assert replace(mac, mul_style="dsp").memories()["WeightFile"] == ["9", "c", "7", "1"]


@pytest.mark.parametrize(
    ("style", "a", "b", "found"),
    [
        ("auto", U4, I4, "lut"),
        ("auto", U8, I8, "dsp"),
        ("dsp", BIPOLAR, I8, "lut"),
        ("lut", U8, I8, "lut"),
        ("dsp", U2, I2, "dsp"),
    ],
)
def test_multiplier_styles(style: str, a: IntType, b: IntType, found: str) -> None:
    assert resolve_mul_style(style, a, b) == found


def test_latencies_follow_the_headers() -> None:
    mac = Mac(np.zeros((4, 12), np.int64), I4, None, U4, I8, pe=2, simd=12, mul_style="dsp")
    assert mac.latency == 1
    assert replace(mac, rom_reg=True, mul_reg=True, tree_stride=2).latency == 5
    assert replace(mac, mul_style="lut", mul_reg=True, tree_stride=3).latency == 3
    assert Threshold(np.zeros((1, 15), np.int64), I8, U4, 1, table_reg=True).latency == 8


def test_block_rams_in_the_best_aspect_ratio() -> None:
    """RAMB36: 512 x 72, 1K x 36, … 32K x 1 (UG473; with parity bits in all of them here). iCE40: 256 x 16 … 4K x 1."""
    assert block_rams(XC7, 72, 512) == 1
    assert block_rams(XC7, 36, 1024) == 1
    assert block_rams(XC7, 73, 512) == 1.5  # a RAMB36 and a RAMB18
    assert block_rams(XC7, 9, 8192) == 2
    assert block_rams(ICE40, 16, 256) == 1
    assert block_rams(ICE40, 8, 512) == 1
    assert block_rams(ICE40, 17, 257) == 3  # of 512 x 8


def test_memories_go_where_their_style_says() -> None:
    assert rom(XC7, 8, 1, "block").bram == 0  # a constant
    assert rom(XC7, 72, 512, "auto").bram == 1
    assert rom(XC7, 8, 64, "auto").lut >= 8
    assert ram(ICE40, 8, 7, "auto").ff == 8 * 8  # it has no distributed RAM
    assert style_of(XC7, 2, 200, "auto") == "distributed"
    assert multiplexer(XC7, 4, 8).lut == 8
    assert Fifo(8, 2).resources(XC7).ff < Fifo(8, 3, "registers").resources(XC7).ff


@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 8]), st.sampled_from(["lut", "dsp"]))
def test_more_hardware_costs_more(pe: int, simd: int, style: str) -> None:
    mac = Mac(np.zeros((16, 16), np.int64), I8, None, U8, IntType(20, True), pe, simd, mul_style=style)
    for wider in (replace(mac, pe=2 * pe), replace(mac, simd=2 * simd)):
        few, many = mac.resources(XC7), wider.resources(XC7)
        assert many.lut + 100 * many.dsp > few.lut + 100 * few.dsp
        assert many.dsp == (2 * few.dsp)
