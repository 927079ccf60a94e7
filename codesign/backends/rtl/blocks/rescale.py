"""cs_threshold and cs_requant: from accumulators to activations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from codesign.backends.rtl.blocks.base import Fabric, Resources
from codesign.backends.rtl.blocks.cost import comparator, counter, counter_bits, distinct, multiplexer, rom, table_luts
from codesign.backends.rtl.blocks.encode import hex_words, plain_signed, type_parameters
from codesign.ir.ops.rescale import Rounding
from codesign.ir.types import IntArray, IntType

_ROUNDING = {Rounding.HALF_UP: 0, Rounding.HALF_EVEN: 1, Rounding.TFLITE_DOUBLE: 2}


@dataclass(frozen=True, eq=False)
class Threshold:
    """y = out.lo + out.step * #{i : x >= levels[c, i]}, `lanes` channels at a time; levels (channels, at most
    out.count - 1), sorted. Equal levels for all channels are stored once.

    table_reg  a register between the table and the comparator of every stage
    """

    levels: IntArray
    in_type: IntType
    out_type: IntType
    lanes: int
    table_reg: bool = False
    module: str = "cs_threshold"

    @cached_property
    def folds(self) -> int:
        """Words of the table per node: channels / lanes, or 1 when all channels are alike."""
        alike = bool((self.levels == self.levels[:1]).all())
        return 1 if alike else int(self.levels.shape[0]) // self.lanes

    @property
    def out_width(self) -> int:
        """Bits of data_o."""
        return self.lanes * self.out_type.bits

    @property
    def latency(self) -> int:
        """OutBits * (1 + TableReg)."""
        return self.out_type.bits * (1 + int(self.table_reg))

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_threshold but for the memory file."""
        return {
            "Lanes": self.lanes,
            "InBits": self.in_type.bits,
            "InSigned": int(plain_signed(self.in_type)),
            "OutBits": self.out_type.bits,
            "OutFlipMsb": int(plain_signed(self.out_type)),
            "Folds": self.folds,
            "TableReg": int(self.table_reg),
        }

    def memories(self) -> Mapping[str, list[str]]:
        """LevelFile: word fold * 2^bits + node holds the threshold of that node of the search tree for each lane.

        A threshold is counted from the smallest input, in steps of the input's type, and limited to always (0) and
        never (the number of input values); levels that are missing are never reached.
        """
        bits = self.out_type.bits
        nodes = 1 << bits
        step, count = self.in_type.step, 1 << self.in_type.bits
        levels = self.levels[: self.folds * self.lanes]
        if levels.shape[0] < self.lanes:
            levels = np.broadcast_to(levels[:1], (self.lanes, levels.shape[1]))
        ranked = np.full((levels.shape[0], nodes - 1), count, dtype=np.int64)
        ranked[:, : levels.shape[1]] = np.clip(-((self.in_type.lo - levels) // step), 0, count)
        tree = np.zeros((levels.shape[0], nodes), dtype=np.int64)
        for stage in range(bits):
            # the nodes of a stage, from left to right, are every 2^(bits - stage)-th threshold
            tree[:, 1 << stage : 2 << stage] = ranked[:, (nodes >> (stage + 1)) - 1 :: nodes >> stage]
        words = tree.reshape(self.folds, self.lanes, nodes).transpose(0, 2, 1).reshape(-1, self.lanes)
        return {"LevelFile": hex_words(words, self.in_type.bits + 1)}

    def resources(self, fabric: Fabric) -> Resources:
        """Per lane and stage s: a table of folds * 2^s thresholds, a comparator, registers for the input, the decisions
        and the threshold.

        Table: `cost.table_luts`. Synthesis moves the registers of the address behind the table. The top bit of a
        threshold, set when none is ever reached, is constant as a rule. A threshold for all channels is a constant,
        which halves the comparator.
        """
        x, bits = self.in_type.bits, self.out_type.bits
        compare = comparator(fabric, x)
        fold_bits = counter_bits(self.folds)
        lut = ff = 0.0
        for stage in range(bits):
            words = self.folds << stage
            # all lanes have the address of the first stage in common
            columns = distinct(x, words) if stage else distinct(self.lanes * x, words) / self.lanes
            lut += columns * table_luts(fabric, words) if words > 2 else 0.0
            lut += compare if words > 1 else compare / 2
            ff += columns + (x if stage < bits - 1 else 0) + stage + 1
            if self.table_reg:
                ff += x + stage
        along = fold_bits * (bits * (1 + int(self.table_reg)) - 2 if bits > 1 else 0)
        return Resources(lut=self.lanes * lut, ff=self.lanes * ff + self.latency + along) + counter(self.folds)


@dataclass(frozen=True, eq=False)
class Requant:
    """y = clamp(round(x * multiplier[c] / 2^shift[c]) + zero_point), `lanes` channels at a time.

    multiplier, shift  (channels); equal ones for all channels are stored once, an equal shift is wiring
    mul_regs           registers behind the multiplier, 1 or more
    """

    multiplier: IntArray
    shift: IntArray
    zero_point: int
    rounding: Rounding
    in_type: IntType
    out_type: IntType
    lanes: int
    mul_style: str = "auto"
    mul_regs: int = 1
    module: str = "cs_requant"

    @cached_property
    def _shift_alike(self) -> bool:
        return bool((self.shift == self.shift[0]).all())

    @cached_property
    def folds(self) -> int:
        """Words of the parameter memory: channels / lanes, or 1 when all channels are alike."""
        alike = self._shift_alike and bool((self.multiplier == self.multiplier[0]).all())
        return 1 if alike else int(self.multiplier.shape[0]) // self.lanes

    @cached_property
    def mul_bits(self) -> int:
        """Bits of the multiplier, two's complement."""
        low, high = min(int(self.multiplier.min()), -1), max(int(self.multiplier.max()), 0)
        return IntType.smallest(low, high).bits

    @cached_property
    def shift_bits(self) -> int:
        """Bits of the shift in memory; 0 when there is one shift."""
        return 0 if self._shift_alike else max(int(self.shift.max()).bit_length(), 1)

    @property
    def out_width(self) -> int:
        """Bits of data_o."""
        return self.lanes * self.out_type.bits

    @property
    def latency(self) -> int:
        """MulRegs + 2."""
        return self.mul_regs + 2

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_requant but for the memory file."""
        return {
            "Lanes": self.lanes,
            **type_parameters("In", self.in_type),
            "MulBits": self.mul_bits,
            "ShiftBits": self.shift_bits,
            "Shift": int(self.shift.max()),
            "Rounding": _ROUNDING[self.rounding],
            "ZeroPoint": self.zero_point,
            "OutBits": self.out_type.bits,
            "OutSigned": int(self.out_type.signed),
            "Folds": self.folds,
            "MulStyle": self.mul_style,
            "MulRegs": self.mul_regs,
        }

    def memories(self) -> Mapping[str, list[str]]:
        """ParamFile: per lane the multiplier below the shift."""
        multiplier, shift = (np.resize(v, max(v.size, self.lanes)) for v in (self.multiplier, self.shift))
        codes = multiplier & ((1 << self.mul_bits) - 1)
        if self.shift_bits:
            codes = codes | (shift << self.mul_bits)
        words = codes[: self.folds * self.lanes].reshape(self.folds, self.lanes)
        return {"ParamFile": hex_words(words, self.mul_bits + self.shift_bits)}

    def resources(self, fabric: Fabric) -> Resources:
        """Per lane: a multiplier, the rounding's addition, a shifter when shifts differ, zero point, clamp, registers.

        DSP blocks of 6-input fabrics take the product's register and the addition of a constant along (UG479); else
        they are flip-flops and a LUT per bit. In LUTs the multiplier is one LUT per two partial products (a row of an
        array multiplier adds two). Zero point and clamp: a LUT per bit that the shift
        leaves (Yosys 0.70 with abc9: 9 and 10 for 11 and 13).
        """
        x, m = self.in_type.bits, self.mul_bits
        product = x + m
        in_dsp = self.mul_style != "lut"
        takes_along = in_dsp and fabric.lut_inputs >= 6
        low, high = int(self.shift.min()), int(self.shift.max())
        kept = max(product + 1 - low, 1)
        lut = kept + multiplexer(fabric, high - low + 1, kept).lut
        if not takes_along or low != high or self.rounding is Rounding.HALF_EVEN:
            lut += product
        ff = kept + self.out_type.bits + self.mul_regs * self.shift_bits
        ff += product * (self.mul_regs - int(takes_along))
        dsp = math.ceil(x / (fabric.dsp_a - 1)) * math.ceil(m / (fabric.dsp_b - 1)) if in_dsp else 0
        lut += 0 if in_dsp else x * m / 2
        table = rom(fabric, self.lanes * (m + self.shift_bits), self.folds, "auto")
        return Resources(self.lanes * lut, self.lanes * ff + self.latency, 0, self.lanes * dsp) + table
