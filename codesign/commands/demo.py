"""`codesign demo`: the whole way on real data, one table at the end."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from codesign.commands.common import Parser, print_json, print_table, progress_bars

if TYPE_CHECKING:
    from codesign.demo import Design, NpuModel

EXAMPLE = "codesign demo"
_RESOURCES = ("lut", "ff", "bram", "dsp")


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
        designs, npu, notes = run_demo(args.output, progress)
    if args.json:
        print_json({"designs": [to_data(design) for design in designs], "npu": to_data(npu), "notes": notes})
    else:
        _print(designs)
        _print_npu(npu)
        for note in notes:
            print(f"note: {note}")
        print(f"builds in {args.output}; {time.monotonic() - started:.0f} s")
    failures = [failure for design in designs for failure in design.failures]
    raise_all(MismatchError, [*failures, *npu.failures])
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


def _print_npu(npu: NpuModel) -> None:
    from codesign.commands.figures import number

    def best(name: str) -> str:
        metric = npu.report.best(name)
        return "0" if metric is None else number(metric.value)

    memory = f"{best('sram_bytes')} bytes of SRAM, {best('flash_bytes')} of flash"
    print(f"\n{npu.network} on {npu.target}: {best('latency_cycles')} cycles, {memory} (Vela's estimates)")
    run = f"LiteRT's reference kernels run the model that Vela is given on {npu.images:,} images"
    print(f"{run}: {npu.mismatching_bits} mismatching bits to golden, {npu.accuracy:.2%} right")
    for note in npu.report.notes:
        if note.startswith("audit"):
            print(note)


def _count(images: set[int]) -> str:
    return " or ".join(f"{n:,}" for n in sorted(images))
