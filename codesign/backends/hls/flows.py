"""The flows that hls4ml writes projects for: whose tools, which io types, how their C simulation is compiled here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from codesign.errors import InputError, UnsupportedError
from codesign.schedule import IoType
from codesign.target import Target

FRAMES = "all smallest, all largest and random frames"
NOTHING_RAN = "; no vendor tool has run"
"""The end of the note of a report, until a report of a vendor's tool is read."""

OTHER_LOOPS = "cycles and resources are those of the loops as Vivado HLS and Vitis HLS build them; other tools differ"
"""A note of the flows that codesign runs no tool of: their pragmas do not prescribe every initiation interval."""

_COMPARED = f"the C simulation of the project equals the golden evaluation on every bit{NOTHING_RAN}"


@dataclass(frozen=True)
class Flow:
    """One backend of hls4ml.

    name      what hls4ml calls it
    backend   what codesign calls it
    header    folder of firmware/ with its codesign_flow.h
    includes  folders of its integer types below the project, for g++
    fabrics   families that its tools build for
    commands  what to run in the project's folder where the tools are
    files     what else is in a project, and what for
    verified  what a report says of the project
    io_types  those that it has
    testbench file of testbench/ that becomes the project's
    tool      toolchain's name of the HLS tool that codesign runs; empty: it runs none
    xnor      whether its layers count equal bits exactly (else products of -1 and +1 are sums)
    root      folder of the project that holds firmware/
    standard  of C++ that its headers are written in
    boards    hls4ml's name of the board by part, for a flow that makes a bitstream; empty for an IP block
    """

    name: str
    backend: str
    header: str
    includes: tuple[str, ...]
    fabrics: tuple[str, ...]
    commands: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    verified: str = _COMPARED
    io_types: tuple[IoType, ...] = ("io_stream", "io_parallel")
    testbench: str = "network_test.cpp"
    boards: Mapping[str, str] = field(default_factory=dict)
    tool: str = ""
    xnor: bool = True
    root: str = "."
    standard: str = "c++11"

    @property
    def test(self) -> str:
        """The testbench in a project: where the tools look for one, or apart where they have their own."""
        return "emulation/network_test.cpp" if self.root != "." else "network_test.cpp"

    @property
    def source(self) -> str:
        """The file below firmware/ that its testbench calls."""
        return "network_axi.cpp" if self.boards else "network.cpp"


_XILINX, _AP = ("xc7", "xcup"), ("firmware/ap_types",)
_TCL = (
    ("`build_prj.tcl`, `build_opt.tcl`, `project.tcl`", "C simulation, synthesis, co-simulation, export: hls4ml's"),
    ("`implement.tcl`", "place and route of the RTL, out of context: `utilisation.rpt`, `timing.rpt`"),
    ("`constraints.xdc`", "the clock"),
)
_AFTER = ("vivado -mode batch -source implement.tcl", "codesign report --vendor .")
STAND_INS = ("testbench/oneapi", "templates/quartus/ac_types")
"""For g++ in place of Intel's oneAPI compiler: below this package and below hls4ml, not below a project."""

FLOWS: Mapping[str, Flow] = {
    flow.name: flow
    for flow in (
        Flow(
            "Vitis",
            "hls",
            "vivado",
            _AP,
            _XILINX,
            ("vitis-run --mode hls --tcl build_prj.tcl", *_AFTER),
            _TCL,
            tool="vitis-run",
        ),
        Flow(
            "Vivado",
            "hls-vivado",
            "vivado",
            _AP,
            _XILINX,
            ("vivado_hls -f build_prj.tcl", *_AFTER),
            _TCL,
            tool="vivado_hls",
        ),
        Flow(
            "VivadoAccelerator",
            "hls-pynq",
            "vivado",
            _AP,
            ("xc7",),
            (
                'vivado_hls -f build_prj.tcl "csim=1 synth=1 cosim=0 export=1"',
                "vivado -mode batch -source design.tcl     # makes the bitstream",
                "python3 host.py                           # on the board, with network.bit and network.hwh beside it",
            ),
            (
                *_TCL,
                ("`design.tcl`", "the block design around the network, up to the bitstream: hls4ml's"),
                ("`axi_stream_driver.py`, `host.py`", "hls4ml's driver; images in and scores out, a replay of tb_data"),
            ),
            testbench="network_axi_test.cpp",
            boards={"xc7z020clg400-1": "pynq-z2"},
            tool="vivado_hls",
        ),
        Flow(
            "Quartus",
            "hls-quartus",
            "quartus",
            ("firmware/ac_types",),
            ("arria10",),
            ("make network-fpga",),
            (("`Makefile`", "emulation and synthesis with i++: hls4ml's"),),
            testbench="network_quartus_test.cpp",
            xnor=False,
        ),
        Flow(
            "Catapult",
            "hls-catapult",
            "catapult",
            (*(f"firmware/{name}/include" for name in ("ac_types", "ac_math", "ac_simutils")), "firmware/nnet_utils"),
            _XILINX,
            ("catapult -shell -file build_prj.tcl",),
            (("`build_prj.tcl`", "synthesis and verification: hls4ml's"), ("`network_weights.h`", "for the testbench")),
            testbench="network_catapult_test.cpp",
            io_types=("io_stream",),
            xnor=False,
        ),
        Flow(
            "oneAPI",
            "hls-oneapi",
            "oneapi",
            STAND_INS,
            ("arria10",),
            ("cmake -S . -B build -DFPGA_DEVICE=Arria10", "cmake --build build --target fpga_emu   # or report"),
            (
                ("`CMakeLists.txt`, `src/network_test.cpp`", "emulation and synthesis with icpx: hls4ml's"),
                ("`emulation/network_ports.h`", "for the testbench, which g++ compiles with stand-ins"),
            ),
            "the kernel, compiled with g++ and stand-ins of Intel's headers, equals the golden evaluation on every "
            f"bit{NOTHING_RAN}",
            testbench="network_oneapi_test.cpp",
            io_types=("io_parallel",),
            xnor=False,
            root="src",
            standard="c++17",
        ),
    )
}

CLOCK_HZ = {"xc7": (10e6, 464e6), "xcup": (10e6, 667e6), "arria10": (10e6, 644e6)}
"""Clocks that a design may ask for: from the slowest of a clock manager's outputs that makes sense to what the global
clock buffers of the slowest speed grade carry (AMD DS187, DS925; Intel A10-DATASHEET)."""


def check_target(flow: Flow, target: Target) -> None:
    """UnsupportedError for a device that the flow's tools do not build for; InputError for a clock out of range."""
    if target.fabric not in flow.fabrics or not target.part:
        found = f"fabric {target.fabric!r}, part {target.part!r}"
        allowed = f"fabric {' or '.join(flow.fabrics)}, and the part's name as the tools have it"
        raise UnsupportedError.at(target.name, f"{flow.name} cannot build for {found}", allowed)
    if flow.boards and target.part not in flow.boards:
        found = f"{flow.name} makes no bitstream for {target.part}"
        raise UnsupportedError.at(target.name, found, ", ".join(flow.boards))
    low, high = CLOCK_HZ[target.fabric]
    if not low <= target.clock_hz <= high:
        found = f"clock_hz is {target.clock_hz:,.0f}"
        raise InputError.at(target.name, found, f"{low:,.0f} to {high:,.0f} on {target.fabric}")
