"""First-order resource formulas that several blocks share.

One look-up table (LUT) a bit for additions, subtractions and comparisons: the carry chains of all families (AMD UG474,
Lattice FPGA-TN-02200, Lattice DS1056) have one LUT per bit. A multiplexer of n inputs is a tree of 4:1 multiplexers,
each 1 LUT of 6 inputs (UG474) or 2 of 4 inputs. Memories: see `memory`.
"""

from __future__ import annotations

import math

from codesign.backends.rtl.blocks.base import Fabric, Resources

# A memory in LUTs may have so many words before `auto` prefers block RAM; two LUTs deep.
_LUT_WORDS = 128


def counter_bits(count: int) -> int:
    """Flip-flops of a counter 0 … count - 1."""
    return max(0, (count - 1).bit_length())


def counter(count: int) -> Resources:
    """A counter that wraps: an increment and a comparison with the end, one LUT a bit each."""
    bits = counter_bits(count)
    return Resources(lut=1.5 * bits, ff=bits)


def multiplexer(fabric: Fabric, inputs: int, bits: int) -> Resources:
    """`bits` multiplexers of `inputs` inputs."""
    trees = math.ceil((inputs - 1) / 3) if inputs > 1 else 0
    return Resources(lut=bits * trees * (1 if fabric.lut_inputs >= 6 else 2))


def block_rams(fabric: Fabric, width: int, words: int) -> int:
    """Block RAMs of a memory, in the aspect ratio that needs the fewest: a port twice as narrow is twice as deep."""
    best = math.inf
    port = fabric.bram_width
    while port >= 1:
        depth = fabric.bram_bits // fabric.bram_width * (fabric.bram_width // port)
        best = min(best, math.ceil(width / port) * math.ceil(words / depth))
        port //= 2
    return int(best)


def style_of(fabric: Fabric, width: int, words: int, style: str) -> str:
    """What `auto` becomes: block RAM from 128 words on when at least a quarter of the blocks' bits is used."""
    if style != "auto":
        return style
    used = width * words / (block_rams(fabric, width, words) * fabric.bram_bits)
    return "block" if words > _LUT_WORDS and used >= 0.25 else "distributed"


def rom(fabric: Fabric, width: int, words: int, style: str) -> Resources:
    """A read-only memory with a registered output: a function of log2(words) inputs per bit, or block RAM.

    A constant when there is one word.
    """
    if words == 1:
        return Resources()
    if style_of(fabric, width, words, style) == "block":
        return Resources(bram=block_rams(fabric, width, words)) + counter(words)
    return Resources(lut=width * rom_luts(fabric, words), ff=width) + counter(words)


def rom_luts(fabric: Fabric, words: int) -> float:
    """LUTs per bit of a table in logic: one per 2^inputs words with the multiplexers that join them; small tables share
    the two outputs of a 6-input LUT."""
    per_lut = 1 << fabric.lut_inputs
    if words <= per_lut // 2:
        return 0.5 if fabric.lut_inputs >= 6 else 1.0
    luts = math.ceil(words / per_lut)
    return luts + multiplexer(fabric, luts, 1).lut


def ram(fabric: Fabric, width: int, words: int, style: str) -> Resources:
    """A memory with one write and one read port, the read word in a register (block RAM has its own)."""
    kind = style_of(fabric, width, words, style)
    if kind == "block":
        return Resources(bram=block_rams(fabric, width, words))
    if kind == "registers" or fabric.lutram_bits == 0 or words <= 2:
        return Resources(ff=width * (words + 1)) + multiplexer(fabric, words, width)
    granule = 32 if fabric.lut_inputs >= 6 else 16
    banks = math.ceil(words / granule)
    return Resources(lut=banks * granule * width / fabric.lutram_bits, ff=width) + multiplexer(fabric, banks, width)
