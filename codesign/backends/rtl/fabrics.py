"""The FPGA families that resources are predicted for.

Sources: AMD UG474 (7 series CLB), UG473 (block RAM), UG479 (DSP48E1), UG574/UG573/UG579 (UltraScale+); Lattice
FPGA-TN-02204 (ECP5 memory), FPGA-TN-02205 (ECP5 DSP); Lattice DS1056 / FPGA-DS-02008 (iCE40 UltraPlus); Intel
A10-HANDBOOK (Arria 10: an adaptive logic module counts as two look-up tables; never compared with synthesis).
"""

from __future__ import annotations

from codesign.backends.rtl.blocks.base import Fabric
from codesign.errors import UsageError

# bits of distributed RAM per LUT: RAM32M gives 32 x 6 bits in 4 LUTs (xc7, xcup); TRELLIS_DPR16X4 gives 16 x 4 bits in
# 4 LUTs and 2 more for the write port (ECP5); iCE40 has none.
FABRICS: dict[str, Fabric] = {
    "xc7": Fabric(
        "xc7", lut_inputs=6, lutram_bits=48, bram_bits=36864, bram_width=72, dsp_a=25, dsp_b=18, adder_levels=3
    ),
    "xcup": Fabric(
        "xcup", lut_inputs=6, lutram_bits=48, bram_bits=36864, bram_width=72, dsp_a=27, dsp_b=18, adder_levels=3
    ),
    "arria10": Fabric(
        "arria10", lut_inputs=6, lutram_bits=32, bram_bits=20480, bram_width=40, dsp_a=27, dsp_b=27, adder_levels=3
    ),
    "ecp5": Fabric(
        "ecp5", lut_inputs=4, lutram_bits=10, bram_bits=18432, bram_width=36, dsp_a=18, dsp_b=18, adder_levels=2
    ),
    "ice40": Fabric(
        "ice40", lut_inputs=4, lutram_bits=0, bram_bits=4096, bram_width=16, dsp_a=16, dsp_b=16, adder_levels=2
    ),
}


def fabric(name: str) -> Fabric:
    """The family of that name. Raises UsageError for a target that is no FPGA."""
    if name not in FABRICS:
        raise UsageError.at("target", f"has no FPGA fabric ({name or 'none given'})", ", ".join(FABRICS))
    return FABRICS[name]
