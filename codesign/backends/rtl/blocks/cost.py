"""Resource formulas that several blocks share; docs/guide/resources.md compares them with synthesis.

One look-up table (LUT) a bit for additions and subtractions: the carry chains of all families (AMD UG474, Lattice
FPGA-TN-02200, Lattice DS1056) have one LUT per bit. A multiplexer of n inputs is a tree of 4:1 multiplexers, each 1 LUT
of 6 inputs (UG474) or 2 of 4 inputs. What a memory costs depends on where synthesis puts it: `style_of`.
"""

from __future__ import annotations

import math

from codesign.backends.rtl.blocks.base import Fabric, Resources

# The prices by which Yosys 0.70 puts a memory (share/*/brams*.txt, lutrams*.txt): a block RAM (a half on xc7, xcup)
# against a primitive of distributed RAM; a bit of a table in LUTs costs 1/64 on xc7 and xcup, else 1/16; every bit that
# selects among banks costs 1, and so does a bit in registers. Arria 10, which Yosys does not know: as xc7.
_BLOCK_PRICE = {"xc7": 129, "xcup": 129, "arria10": 129, "ecp5": 128, "ice40": 64}
_LUT_RAM_PRICE = {"xc7": 8, "xcup": 8, "arria10": 8, "ecp5": 4}


def counter_bits(count: int) -> int:
    """Flip-flops of a counter 0 … count - 1."""
    return max(0, (count - 1).bit_length())


def counter(count: int) -> Resources:
    """A counter that wraps: an increment and a comparison with the end, one LUT a bit each."""
    bits = counter_bits(count)
    return Resources(lut=1.5 * bits, ff=bits)


def logic(fabric: Fabric, use: Resources) -> Resources:
    """Control logic, counted in LUTs of 6 inputs: of 4 inputs it takes twice as many (Yosys 0.70, the windows: 1.8 to
    2.3 times)."""
    return use if fabric.lut_inputs >= 6 else Resources(2 * use.lut, use.ff, use.bram, use.dsp)


def comparator(fabric: Fabric, bits: int) -> float:
    """LUTs of x >= y: two bits a step of the carry chain. Yosys 0.70 with abc9, 8 to 14 bits: 0.6 to 0.9 LUTs a bit on
    xc7, 0.9 to 1.7 on ecp5."""
    return bits * (0.75 if fabric.lut_inputs >= 6 else 1.25)


def multiplexer(fabric: Fabric, inputs: int, bits: int) -> Resources:
    """`bits` multiplexers of `inputs` inputs."""
    trees = math.ceil((inputs - 1) / 3) if inputs > 1 else 0
    return Resources(lut=bits * trees * (1 if fabric.lut_inputs >= 6 else 2))


def block_rams(fabric: Fabric, width: int, words: int) -> float:
    """Block RAMs of a memory, in the aspect ratio that needs the fewest: a port twice as narrow is twice as deep.

    The 36-kbit blocks of 6-input fabrics are two of 18 kbits that can be used apart (UG473): half a block is a unit.
    """
    halves = 2 if fabric.lut_inputs >= 6 else 1
    best = math.inf
    port = fabric.bram_width // halves
    while port >= 1:
        depth = fabric.bram_bits // fabric.bram_width * (fabric.bram_width // halves // port)
        best = min(best, math.ceil(width / port) * math.ceil(words / depth))
        port //= 2
    return best / halves


def style_of(fabric: Fabric, width: int, words: int, style: str, writable: bool = True) -> str:
    """What `auto` becomes: block RAM where Yosys rates it cheaper than the LUTs that it saves."""
    if style != "auto":
        return style
    blocks = block_rams(fabric, width, words) * (2 if fabric.lut_inputs >= 6 else 1)
    if not writable:
        price = width * words / (64 if fabric.lut_inputs >= 6 else 16)
    elif fabric.lutram_bits:
        _, bits, banks = _lut_ram_shape(fabric, words)
        price = width * (_LUT_RAM_PRICE[fabric.name] * banks / bits + banks - 1)
    else:
        price = width * words
    return "block" if price > blocks * _BLOCK_PRICE[fabric.name] else "distributed"


def distinct(columns: int, words: int) -> float:
    """Expected number of different functions of the address among the columns of a table of random bits.

    Synthesis keeps one of equal columns, and none of the two constants: of the 2^words - 2 others each is there with
    probability 1 - (1 - 2^-words)^columns. From 16 words on nearly all columns differ.
    """
    if words == 1:
        return 0.0
    if words >= 16:
        return float(columns)
    functions = 1 << words
    return (functions - 2) * (1.0 - (1.0 - 1.0 / functions) ** columns)


def rom(fabric: Fabric, width: int, words: int, style: str) -> Resources:
    """cs_rom: a function of log2(words) inputs and a register per (different) column, or block RAM; the address.

    A constant when there is one word.
    """
    if words == 1:
        return Resources()
    if style_of(fabric, width, words, style, writable=False) == "block":
        return Resources(bram=block_rams(fabric, width, words)) + counter(words)
    columns = distinct(width, words)
    return Resources(lut=columns * rom_luts(fabric, words), ff=columns) + counter(words)


def rom_luts(fabric: Fabric, words: int) -> float:
    """LUTs per bit of cs_rom in logic, whose table has the reset for another input.

    Yosys 0.70 with abc9, within networks. xc7: 1 up to 32 words, 1 to 4.8 at 64, 8.6 to 8.9 for 112 to 144, where it
    makes tables of 5 inputs and multiplexers; ecp5: 2 n of n = words / 16.
    """
    if fabric.lut_inputs >= 6:
        return 1.0 if words <= 64 else words / 16 - 1.0
    return 1.0 if words <= 8 else words / 8


def table_luts(fabric: Fabric, words: int) -> float:
    """LUTs per bit of a table in logic that is addressed by registers: n = words / 2^inputs, and beyond four, which the
    wide multiplexers of the fabric join, n - 1 more to choose."""
    luts = words / (1 << fabric.lut_inputs)
    return max(1.0, luts if luts <= 4 else 2 * luts - 1)


def ram(fabric: Fabric, width: int, words: int, style: str) -> Resources:
    """A memory with one write and one read port, the read word in a register (block RAM has its own).

    ECP5's block RAM does not say what a port reads that the other writes: Yosys puts a bypass around it, with registers
    for the written word, the held word and the address.
    """
    kind = style_of(fabric, width, words, style)
    if kind == "block":
        bypass = 2 * width + counter_bits(words) + 1 if fabric.lut_inputs < 6 else 0
        return Resources(bram=block_rams(fabric, width, words), ff=bypass, lut=bypass)
    if kind == "registers" or fabric.lutram_bits == 0 or words <= 2:
        return Resources(ff=width * (words + 1)) + multiplexer(fabric, words, width)
    return lut_ram(fabric, width, words) + Resources(ff=width)


def lut_ram(fabric: Fabric, width: int, words: int) -> Resources:
    """Distributed RAM with one write and one read port; banks have a write enable each and are joined by multiplexers.

    6-input LUTs: RAM32M of 32 words of 6 bits, RAM64M of 64 words of 3 bits, 4 LUTs each (UG474). ECP5:
    TRELLIS_DPR16X4 of 16 words of 4 bits, 4 LUTs and 2 for its write port.
    """
    luts, bits, banks = _lut_ram_shape(fabric, words)
    enables = banks if banks > 1 else 0
    return Resources(lut=banks * math.ceil(width / bits) * luts + enables) + multiplexer(fabric, banks, width)


def _lut_ram_shape(fabric: Fabric, words: int) -> tuple[int, int, int]:
    """LUTs and width of a primitive of distributed RAM, and the banks for so many words."""
    if fabric.lut_inputs < 6:
        return 6, 4, math.ceil(words / 16)
    return (4, 6, 1) if words <= 32 else (4, 3, math.ceil(words / 64))
