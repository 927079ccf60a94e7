"""Predicted resources: against the synthesised figures of synthesised.json, in closed cases, and monotone.

The figures were made with Yosys 0.70 as docs/guide/resources.md says; Yosys is not needed here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.bench_rtl import CASES as TFC
from benchmarks.bench_rtl import demo_cnn
from codesign.backends.rtl.backend import prepare
from codesign.backends.rtl.blocks.base import Resources
from codesign.backends.rtl.blocks.cost import block_rams, distinct, lut_ram, ram, rom, style_of
from codesign.backends.rtl.blocks.fifo import Fifo
from codesign.backends.rtl.blocks.mac import Mac
from codesign.backends.rtl.blocks.rescale import Threshold
from codesign.backends.rtl.blocks.trees import Sum, column_sum, dot_product, operand_sum, planes_sum, popcount
from codesign.backends.rtl.blocks.window import Window
from codesign.backends.rtl.fabrics import FABRICS
from codesign.backends.rtl.lower import lower
from codesign.ir.types import BIPOLAR, IntType
from codesign.resources import resource_dir
from codesign.schedule import RtlSchedule
from tests.hw.networks import I4, I8, U4, U8
from tests.hw.test_rtl_exact import CASES

SYNTHESISED: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "synthesised.json").read_text())
ROWS = [(name, fabric) for fabric in ("xc7", "ecp5") for name, entry in SYNTHESISED.items() if fabric in entry]
# Yosys gives the 64-word tables of this one 3 to 5 LUTs a bit in place of 1 (docs/guide/resources.md).
LUT_ERROR = {("tfc_w2a2", "xc7"): 0.25}
XC7, ECP5, ICE40 = (FABRICS[name] for name in ("xc7", "ecp5", "ice40"))


@cache
def predicted(name: str, fabric: str) -> Resources:
    """What the model says of a recorded design."""
    graph = demo_cnn() if name == "cnn28" else TFC[name]() if name in TFC else CASES[name.partition(".")[0]]()
    schedule = RtlSchedule.from_data(SYNTHESISED[name]["schedule"])
    return lower(prepare(graph), schedule).resources(FABRICS[fabric])


def row(name: str, fabric: str) -> str:
    """The design's line of the table in docs/guide/resources.md."""
    found, use = SYNTHESISED[name][fabric], predicted(name, fabric)
    cells = [f"{name}", fabric]
    for key in ("lut", "ff"):
        value, model = found[key], getattr(use, key)
        cells += [f"{value:,}", f"{model:,.0f}", f"{100 * (model - value) / value:+.0f} %"]
    return f"| {' | '.join(cells)} | {found['bram']:g} | {found['dsp']:g} |"


@pytest.mark.parametrize(("name", "fabric"), ROWS)
def test_prediction_stays_near_synthesis(name: str, fabric: str) -> None:
    found, use = SYNTHESISED[name][fabric], predicted(name, fabric)
    allowed = LUT_ERROR.get((name, fabric), 0.15 if fabric == "xc7" else 0.20)
    assert use.lut == pytest.approx(found["lut"], rel=allowed)
    assert use.ff == pytest.approx(found["ff"], rel=0.10)
    assert (use.bram, use.dsp) == (found["bram"], found["dsp"])


def test_the_guide_has_the_figures() -> None:
    """After a change of a formula: this prints the table that docs/guide/resources.md must have."""
    table = "\n".join(row(name, fabric) for name, fabric in ROWS)
    assert table in (resource_dir("docs") / "guide" / "resources.md").read_text(encoding="utf-8"), f"\n{table}"


@pytest.mark.parametrize(
    ("heights", "adders", "chain"),
    [
        ((1,), 0, 0),
        ((2,), 0, 1),  # a half adder
        ((3,), 1, 0),  # a full adder
        ((4,), 1, 2),  # and one of each
        ((8,), 4, 3),
        ((2, 2, 2, 2), 0, 4),  # two numbers: a carry chain
        ((3, 3, 3, 3), 4, 4),  # a row of full adders, and a chain behind its first bit
    ],
)
def test_columns_are_compressed(heights: tuple[int, ...], adders: int, chain: int) -> None:
    assert column_sum(heights) == Sum(adders, chain)


@given(st.integers(1, 200))
def test_a_full_adder_takes_a_bit_out(terms: int) -> None:
    """terms bits become at most two of each power of two: every full adder takes one of them out."""
    adders = popcount(terms).adders
    bits = terms.bit_length()
    assert bits <= terms - adders <= 2 * bits


def test_dot_products_are_sums_of_planes() -> None:
    assert planes_sum(16, 1, 1) == popcount(16)
    assert planes_sum(16, 4, 2).adders > 8 * popcount(16).adders
    assert operand_sum(2, 8) == Sum(0, 8)


def test_registers_of_the_trees_have_the_widths_of_the_modules() -> None:
    """49 pairs, 8 to a leaf: bits 6 x 4 + 1 and 7; 2-bit products of 4 bits, 7 x 7 and 10; as synthesised."""
    two = (IntType(2, False), IntType(2, True))
    assert dot_product(XC7, True, 49, BIPOLAR, BIPOLAR, 3, 16).ff == 25 + 7
    assert dot_product(XC7, True, 49, *two, 3, 16).ff == 49 + 10
    assert dot_product(XC7, True, 16, U4, I4, 2, 16).ff == 40 + 12
    assert dot_product(XC7, True, 16, U4, I4, 0, 16).ff == 0


def test_equal_columns_of_a_table_are_built_once() -> None:
    assert distinct(32, 1) == 0
    assert distinct(10_000, 2) == pytest.approx(2)  # the address bit and its complement
    assert distinct(10_000, 4) == pytest.approx(14)
    assert distinct(32, 8) == pytest.approx(30, abs=0.5)  # synthesised: 30
    assert distinct(32, 64) == 32


def test_distributed_ram_is_made_of_its_primitives() -> None:
    assert lut_ram(XC7, 6, 32) == Resources(lut=4)  # RAM32M
    assert lut_ram(XC7, 7, 32) == Resources(lut=8)
    assert lut_ram(XC7, 3, 64) == Resources(lut=4)  # RAM64M
    assert lut_ram(XC7, 3, 128).lut == 2 * 4 + 2 + 3  # two, their write enables, a multiplexer
    assert lut_ram(ECP5, 4, 16) == Resources(lut=6)  # TRELLIS_DPR16X4
    assert ram(ICE40, 8, 7, "registers").ff == 8 * 8


def test_auto_memories_follow_the_prices_of_the_tool() -> None:
    assert style_of(XC7, 36, 229, "auto", writable=False) == "distributed"  # 36 * 229 / 64 < 129
    assert style_of(XC7, 36, 230, "auto", writable=False) == "block"
    assert style_of(ECP5, 16, 128, "auto", writable=False) == "distributed"
    assert style_of(ECP5, 18, 256, "auto", writable=False) == "block"
    assert style_of(XC7, 16, 176, "auto") == "block"
    assert style_of(XC7, 16, 98, "auto") == "distributed"
    assert style_of(ECP5, 16, 98, "auto") == "block"
    assert style_of(XC7, 16, 98, "block") == "block"
    assert rom(XC7, 36, 512, "auto").bram == block_rams(XC7, 36, 512) == 0.5  # a RAMB18


def test_a_choice_of_one_costs_nothing() -> None:
    assert rom(XC7, 64, 1, "auto") == Resources()
    assert Fifo(8, 1).resources(XC7) == Resources(lut=3, ff=11)


@given(st.sampled_from(sorted(FABRICS)), st.integers(1, 64), st.integers(1, 300), st.integers(1, 64))
def test_a_larger_memory_never_costs_less(name: str, width: int, words: int, more: int) -> None:
    fabric = FABRICS[name]
    for style in ("distributed", "block", "registers"):
        few, wide = ram(fabric, width, words, style), ram(fabric, width + more, words, style)
        deep = ram(fabric, width, words + more, style)
        assert few.bram <= min(wide.bram, deep.bram)
        assert few.lut + few.ff <= wide.lut + wide.ff
        assert rom(fabric, width, words, style).lut <= rom(fabric, width + more, words, style).lut


@given(st.sampled_from(["xc7", "ecp5"]), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4, 8]))
def test_more_lanes_and_bits_cost_more(name: str, lanes: int, bits: int) -> None:
    fabric = FABRICS[name]
    levels = np.broadcast_to(np.arange((1 << bits) - 1) - (1 << bits) // 2, (8, (1 << bits) - 1))
    one = Threshold(levels, I8, IntType(bits, False), lanes)
    two = replace(one, lanes=2 * lanes)
    assert one.resources(fabric).ff < two.resources(fabric).ff
    assert one.resources(fabric).lut < two.resources(fabric).lut
    mac = Mac(np.ones((8, 64), np.int64), I8, None, U8, IntType(24, True), pe=lanes, simd=bits, mul_style="lut")
    assert mac.resources(fabric).lut < replace(mac, pe=2 * lanes).resources(fabric).lut
    assert mac.resources(fabric).lut < replace(mac, simd=2 * bits).resources(fabric).lut


def test_a_buffer_of_a_power_of_two_wraps_by_itself() -> None:
    window = Window(8, 1, 1, 8, 1, 1, 1, 1, 8, channel_outer=False, capacity=15)
    assert replace(window, capacity=16).resources(XC7).lut < window.resources(XC7).lut
