"""The Python twin of a SystemVerilog module: parameters, memory files, latency, resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Resources:
    """Predicted use: look-up tables, flip-flops, block RAMs (in the fabric's own blocks), multiplier blocks."""

    lut: float = 0.0
    ff: float = 0.0
    bram: float = 0.0
    dsp: float = 0.0

    def __add__(self, other: Resources) -> Resources:
        return Resources(self.lut + other.lut, self.ff + other.ff, self.bram + other.bram, self.dsp + other.dsp)


@dataclass(frozen=True)
class Fabric:
    """What an FPGA family is made of, for the resource formulas.

    lut_inputs     4 (ECP5, iCE40) or 6 (Xilinx 7 and later)
    lutram_bits    bits of distributed RAM per look-up table; 0: there is none
    bram_bits      bits of one block RAM
    bram_width     its widest port
    dsp_a, dsp_b   widths of the two operands of a multiplier block, signed
    adder_levels   levels of an adder tree that fit between two registers at the clocks that targets of the family have
    """

    name: str
    lut_inputs: int
    lutram_bits: int
    bram_bits: int
    bram_width: int
    dsp_a: int
    dsp_b: int
    adder_levels: int


class Block(Protocol):
    """One instance of a module of hw/rtl.

    module      name of the module and of its file
    latency     cycles from valid_i to valid_o of a pipe, or from the step to valid_o of an engine (0 without a memory)
    parameters  values of the SystemVerilog parameters, but for the memory files; a string that is a sized literal
                (`8'hff`) stays one, any other gets quotes
    memories    contents of the memory files, by parameter name: one line of hexadecimal digits per word
    """

    @property
    def module(self) -> str: ...

    @property
    def latency(self) -> int: ...

    def parameters(self) -> Mapping[str, int | str]: ...

    def memories(self) -> Mapping[str, list[str]]: ...

    def resources(self, fabric: Fabric) -> Resources: ...
