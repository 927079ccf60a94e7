"""`codesign calibrate`: a board's measurements to the factors that its simulated cycles are multiplied by."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from codesign.commands.common import Parser, print_json, print_table

EXAMPLE = """codesign calibrate measurements.csv -t rpi4

measurements.csv is artifact/layers.csv of a build for the target with a column more, measured_ms (one inference, one
thread); what is read of it, other columns may stay:
  layer,pipeline_cycles,stall_cycles,measured_ms"""


def arguments(parser: Parser) -> None:
    parser.add_argument("measurements", metavar="MEASUREMENTS.csv", help="what was simulated, and what the board took")
    parser.add_target()
    parser.add_json()


def run(args: argparse.Namespace) -> int:
    from codesign.backends.tvm.sim import calibrate
    from codesign.errors import UsageError
    from codesign.target import load_target

    target = load_target(args.target)
    if target.cpu is None or target.cpu.arch != "aarch64":
        allowed = "a target whose cycles are simulated: an ARM core or board"
        raise UsageError.at(
            "target", f"{target.name} has no simulated cycles to calibrate", allowed, "codesign targets"
        )
    path = Path(args.measurements)
    rows = calibrate.read_measurements(path, target.clock_hz)
    found = calibrate.fit(rows)
    calibrate.check(found, str(path))
    before = calibrate.median_error(rows, calibrate.Calibration())
    kept = calibrate.save(found, target.name)
    if args.json:
        print_json({"target": target.name, **asdict(found), "error_before": before, "file": str(kept)})
        return 0
    per_ms = 1e3 / target.clock_hz
    shown = [
        [row.layer, f"{row.measured_cycles * per_ms:.3f}"]
        + [
            f"{calibration.predict(row) * per_ms:.3f} ({calibration.predict(row) / row.measured_cycles - 1:+.0%})"
            for calibration in (calibrate.Calibration(), found)
        ]
        for row in rows
    ]
    columns = ["layer", "measured ms", "simulated", "calibrated"]
    print_table(columns, shown, title=f"{target.name}: {path}", right=columns[1:])
    factors = f"pipeline x {found.pipeline:.3f}, stalls x {found.stall:.3f}"
    print(f"\n{factors}; median error {before:.1%} before, {found.error:.1%} after; kept in {kept}")
    return 0
