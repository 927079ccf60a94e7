"""`codesign demo`: the whole way on real data, one table at the end."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from codesign.commands.common import Parser, print_json, print_table, progress_bars

if TYPE_CHECKING:
    from codesign.demo import Design, Program

EXAMPLE = "codesign demo"
_RESOURCES = ("lut", "ff", "bram", "dsp")
_PROGRAM_FIGURES = (
    ("latency_cycles", "cycles"), ("latency_ns", "ns"), ("sram_bytes", "bytes of SRAM"), ("flash_bytes", "of flash"),
)  # fmt: skip


def arguments(parser: Parser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("demo-out"),
        metavar="DIR",
        help="where the trained networks, which are kept for the next run, and the builds go (demo-out)",
    )
    parser.add_json()


def run(args: argparse.Namespace) -> int:
    from codesign.demo import run_demo, to_data
    from codesign.errors import MismatchError, raise_all

    started = time.monotonic()
    with progress_bars() as progress:
        designs, programs, notes = run_demo(args.output, progress)
    if args.json:
        rows = {"designs": [to_data(d) for d in designs], "programs": [to_data(p) for p in programs]}
        print_json({**rows, "notes": notes})
    else:
        _print(designs)
        print()
        for program in programs:
            _print_program(program)
        for note in notes:
            print(f"note: {note}")
        print(f"builds in {args.output}; {time.monotonic() - started:.0f} s")
    failures = [*(f for design in designs for f in design.failures), *(f for p in programs for f in p.failures)]
    raise_all(MismatchError, failures)
    return 0


def _print(designs: list[Design]) -> None:
    from codesign.commands.figures import number
    from codesign.report import Basis

    def both(design: Design, name: str) -> str:
        values = (design.report.value(name, basis) for basis in (Basis.MODEL, Basis.RTL_SIM))
        return " / ".join("-" if v is None else number(v) for v in values)

    def best(design: Design, name: str) -> str:
        metric = design.report.best(name)
        return "-" if metric is None else number(metric.value)

    images = {d.test_images for d in designs}
    lines = {
        "": [d.target for d in designs],
        f"accuracy in Brevitas ({_count(images)} images)": [f"{d.accuracy_brevitas:.2%}" for d in designs],
        f"accuracy in the golden evaluation ({_count(images)} images)": [f"{d.accuracy_golden:.2%}" for d in designs],
        "images simulated": [f"{d.simulated_images:,}" for d in designs],
        "accuracy of golden / RTL on these": [f"{d.accuracy_golden_same:.2%} / {d.accuracy_rtl:.2%}" for d in designs],
        "mismatching bits, RTL to golden": [f"{d.mismatching_bits:,}" for d in designs],
        "interval in cycles, predicted / simulated": [both(d, "interval_cycles") for d in designs],
        "latency in cycles, predicted / simulated": [both(d, "latency_cycles") for d in designs],
        "frames per second": [f"{best(d, 'fps')} at {d.clock_mhz:g} MHz" for d in designs],
    }
    for name in _RESOURCES:
        lines[f"{name}, predicted"] = [best(d, name) for d in designs]
    columns = [designs[0].data, *(d.network for d in designs)]
    print_table(columns, [[name, *cells] for name, cells in lines.items()], right=columns[1:])


def _print_program(program: Program) -> None:
    from codesign.commands.figures import number
    from codesign.report import Basis

    bases = {Basis.MODEL: "simulated or modelled", Basis.TOOL: "Vela's estimates"}
    figures = [
        f"{number(m.value)} {unit}" for name, unit in _PROGRAM_FIGURES if (m := program.report.best(name)) is not None
    ]
    latency = program.report.best("latency_ns")
    basis = bases.get(latency.basis, "measured") if latency is not None else ""
    print(f"{program.network} on {program.target}: {', '.join(figures)} ({basis})")
    run = f"  executed on {program.images:,} images: {program.mismatching_bits} mismatching bits to golden"
    print(f"{run}, {program.accuracy:.2%} right")
    for note in program.report.notes:
        if note.startswith("audit"):
            print(f"  {note}")


def _count(images: set[int]) -> str:
    return " or ".join(f"{n:,}" for n in sorted(images))
