"""A test bench for pipes: one window engine feeds slices of its word to many of them at once, each with its own FIFO.

    s_axis -> cs_window -> pipe i on its slice -> cs_fifo i -> all results of a step side by side -> m_axis

Every pipe has a latency_probe, so the run fails unless its latency is exactly its twin's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codesign.backends.rtl.backend import LIBRARY, library_files
from codesign.backends.rtl.blocks.base import Block
from codesign.backends.rtl.blocks.fifo import Fifo
from codesign.backends.rtl.blocks.window import Window
from codesign.backends.rtl.emit import Ports, instance
from codesign.backends.rtl.simulator import Simulator, build
from codesign.ir.types import IntArray, IntType

PROBE = Path(__file__).parent / "latency_probe.sv"


@dataclass(frozen=True)
class Case:
    """One pipe: its twin, the type and lanes of its input(s), its output type and lanes, its FIFO and what it gives.

    inputs    (type, lanes) of each operand; an element-wise sum has two
    golden    the results, (positions, lanes), for the operands (frames, beats, lanes)
    """

    name: str
    pipe: Block
    inputs: tuple[tuple[IntType, int], ...]
    out_type: IntType
    out_lanes: int
    feeds: tuple[IntArray, ...]
    golden: IntArray
    depth: int = 4
    style: str = "auto"

    @property
    def out_width(self) -> int:
        return self.out_lanes * self.out_type.bits


def random_feed(rng: np.random.Generator, dtype: IntType, shape: tuple[int, ...]) -> IntArray:
    """Values of all the type's range, its ends more often than the rest."""
    codes = rng.integers(0, dtype.count, shape)
    ends = rng.integers(0, 2, shape) * (dtype.count - 1)
    return dtype.lo + dtype.step * np.where(rng.random(shape) < 0.2, ends, codes)


def bits_of(values: IntArray, dtype: IntType) -> IntArray:
    """(…, lanes) elements as (…, lanes * bits) bits, element 0 first."""
    codes = dtype.encode(values)
    planes = (codes[..., None] >> np.arange(dtype.bits)) & 1
    return planes.reshape(*values.shape[:-1], -1)


def bench(directory: Path, window: Window, cases: Sequence[Case], results: int) -> Simulator:
    """Write the bench, with `results` output beats per frame, and compile it."""
    (directory / "mem").mkdir()
    in_bits, out_bits = window.word_width, sum(case.out_width for case in cases)
    in_axis, out_axis = -(-in_bits // 8) * 8, -(-out_bits // 8) * 8
    lines = [
        f"module top (input logic aclk, input logic aresetn, input logic [{in_axis - 1}:0] s_axis_tdata,",
        "  input logic s_axis_tvalid, output logic s_axis_tready,",
        f"  output logic [{out_axis - 1}:0] m_axis_tdata,",
        "  output logic m_axis_tvalid, input logic m_axis_tready, output logic m_axis_tlast);",
        f"  logic take, step, first, last; logic [{in_bits - 1}:0] word;",
        f"  logic [{len(cases) - 1}:0] credit, valid, ready; logic [{out_axis - 1}:0] results;",
        "  assign m_axis_tvalid = &valid;",
        "  assign m_axis_tdata = results;",
        f"  assign ready = {{{len(cases)}{{&valid & m_axis_tready}}}};",
    ]
    if out_axis > out_bits:
        lines.append(f"  assign results[{out_axis - 1}:{out_bits}] = '0;")
    clock: Ports = [("clk_i", "aclk"), ("rst_ni", "aresetn")]
    ports: Ports = [("valid_i", "s_axis_tvalid"), ("ready_o", "s_axis_tready"), ("credit_i", "&credit")]
    ports += [("data_i", f"s_axis_tdata[{in_bits - 1}:0]"), ("take_o", "take"), ("valid_o", "step")]
    ports += [("first_o", "first"), ("last_o", "last"), ("data_o", "word")]
    lines += instance("cs_window", "u_window", window.parameters(), [*clock, *ports])
    low = out_low = 0
    for i, case in enumerate(cases):
        lines.append(f"  logic push{i}; logic [{case.out_width - 1}:0] data{i};")
        ports = [*clock, ("valid_i", "step")]
        if case.pipe.module in ("cs_mac", "cs_mac_depthwise", "cs_max", "cs_sum", "cs_argmax"):
            ports += [("first_i", "first"), ("last_i", "last")]
        names = ["data_i"] if len(case.inputs) == 1 else ["data_a_i", "data_b_i"]
        for name, (dtype, lanes) in zip(names, case.inputs, strict=True):
            ports.append((name, f"word[{low} +: {lanes * dtype.bits}]"))
            low += lanes * dtype.bits
        parameters = dict(case.pipe.parameters())
        for parameter, words in case.pipe.memories().items():
            parameters[parameter] = f"mem/{i}_{parameter}.mem"
            (directory / str(parameters[parameter])).write_text("\n".join(words) + "\n")
        ports += [("valid_o", f"push{i}"), ("data_o", f"data{i}")]
        lines += instance(case.pipe.module, f"u_pipe{i}", parameters, ports)
        probe: dict[str, int | str] = {"Name": case.name, "Latency": case.pipe.latency}
        ports = [*clock, ("valid_i", "step & last"), ("valid_o", f"push{i}")]
        lines += instance("latency_probe", f"u_probe{i}", probe, ports)
        fifo = Fifo(case.out_width, case.depth, case.style)
        ports = [*clock, ("take_i", "take"), ("credit_o", f"credit[{i}]"), ("push_i", f"push{i}")]
        ports += [("data_i", f"data{i}"), ("valid_o", f"valid[{i}]"), ("ready_i", f"ready[{i}]")]
        ports.append(("data_o", f"results[{out_low} +: {case.out_width}]"))
        lines += instance("cs_fifo", f"u_fifo{i}", fifo.parameters(), ports)
        out_low += case.out_width
    end = [*clock, ("valid_i", "m_axis_tvalid"), ("ready_i", "m_axis_tready"), ("last_o", "m_axis_tlast")]
    lines += [*instance("cs_frame_end", "u_end", {"Beats": results}, end), "endmodule", ""]
    (directory / "top.sv").write_text("\n".join(lines))
    modules = {case.pipe.module for case in cases} | {"cs_window", "cs_fifo", "cs_frame_end"}
    sources = [LIBRARY / f"{name}.sv" for name in library_files(sorted(modules))]
    return build([*sources, PROBE, directory / "top.sv"], "top", directory=directory)


def check(simulator: Simulator, cases: Sequence[Case], results: int, stall: float) -> None:
    """Run all frames and compare every pipe's results with its golden ones."""
    parts = [bits_of(x, t) for case in cases for x, (t, _) in zip(case.feeds, case.inputs, strict=True)]
    beats = np.packbits(np.concatenate(parts, axis=-1).astype(np.uint8), axis=-1, bitorder="little")
    outputs = simulator.run(beats, results, stall=stall, seed=5).outputs
    bits = np.unpackbits(outputs, axis=-1, bitorder="little").astype(np.int64)
    low = 0
    for case in cases:
        field = bits[..., low : low + case.out_width].reshape(*bits.shape[:2], case.out_lanes, case.out_type.bits)
        seen = case.out_type.decode(field @ (np.int64(1) << np.arange(case.out_type.bits)))
        wrong = np.argwhere(seen.reshape(case.golden.shape) != case.golden)
        assert wrong.size == 0, f"{case.name}: {len(wrong)} of {seen.size} results differ, the first at {wrong[0]}"
        low += case.out_width


def word_bits(cases: Sequence[Case]) -> int:
    """Bits of the word that carries the inputs of all cases."""
    return sum(lanes * dtype.bits for case in cases for dtype, lanes in case.inputs)
