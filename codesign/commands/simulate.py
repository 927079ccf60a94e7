"""`codesign simulate`: a design executed, compared with the golden evaluation.

A streaming design runs cycle by cycle and is compared with the cycle model, too; what is made for a processor or a GPU
runs as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from codesign.commands.common import Parser, print_json, progress_bars

if TYPE_CHECKING:
    from codesign.build import Simulation

EXAMPLE = "codesign simulate out --frames 100 --stall 0.3"
_STAMPS_SHOWN = 4
_SEED_LIMIT = (1 << 31) - 1


def arguments(parser: Parser) -> None:
    parser.add_argument("directory", type=Path, metavar="DIR", help="what 'codesign compile' wrote")
    parser.add_argument(
        "--inputs", action="append", type=Path, metavar="X.npy", help="other inputs than those of the build"
    )
    parser.add_argument("--frames", type=int, metavar="N", help="how many frames; the inputs are repeated as needed")
    parser.add_argument(
        "--stall",
        type=float,
        default=0.0,
        metavar="P",
        help="stall source and sink at random, each with this probability",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the random stalls (1)")
    parser.add_argument("--trace", type=Path, metavar="FILE.fst", help="write all signals to a trace file")
    parser.add_argument("--trace-frame", type=int, metavar="K", help="trace only while frame K, from 0, goes through")
    parser.add_json()


def run(args: argparse.Namespace) -> int:
    from codesign.arrays import read_array
    from codesign.backends.base import RunOptions
    from codesign.build import simulate
    from codesign.errors import Diagnostic, MismatchError, UsageError, raise_all

    found = []
    if args.frames is not None and args.frames < 1:
        found.append(Diagnostic("--frames", str(args.frames), "1 or more"))
    if not 0 <= args.stall < 1:
        found.append(Diagnostic("--stall", f"{args.stall:g}", "from 0 to less than 1"))
    if args.trace_frame is not None and (args.trace is None or args.trace_frame < 0):
        found.append(Diagnostic("--trace-frame", str(args.trace_frame), "0 or more, together with --trace FILE.fst"))
    if args.frames is not None and args.trace_frame is not None and args.trace_frame >= args.frames:
        found.append(Diagnostic("--trace-frame", str(args.trace_frame), f"0 to {args.frames - 1}, the frames that run"))
    if not 0 <= args.seed <= _SEED_LIMIT:
        found.append(Diagnostic("--seed", str(args.seed), f"from 0 to {_SEED_LIMIT}"))
    raise_all(UsageError, found)
    options = RunOptions(args.frames or 0, args.stall, args.seed, args.trace, args.trace_frame)
    inputs = [read_array(path) for path in args.inputs] if args.inputs else None
    with progress_bars() as progress:
        result = simulate(args.directory, options, progress, inputs)
    if args.json:
        frames = {key: result.details[key] for key in ("completed", "predicted") if key in result.details}
        print_json(result.report.to_data() | {"frames": frames, "failures": [str(f) for f in result.failures]})
    else:
        _print(result, args)
    raise_all(MismatchError, list(result.failures))
    return 0


def _print(result: Simulation, args: argparse.Namespace) -> None:
    from codesign.builddir import read_build
    from codesign.commands.figures import print_report

    title = f"{args.directory}, {result.frames} frames" + (f", stalls of {args.stall:g}" if args.stall else "")
    print_report(result.report, read_build(args.directory).target, title)
    completed, predicted = result.details.get("completed", []), result.details.get("predicted")
    shown = ", ".join(f"{cycle:,}" for cycle in completed[:_STAMPS_SHOWN])
    if shown:
        more = f", … {completed[-1]:,}" if len(completed) > _STAMPS_SHOWN else ""
        against = "" if predicted is None else ", as predicted" if predicted == completed else ", NOT as predicted"
        print(f"frames complete in cycles {shown}{more}{against}")
    if "trace" in result.details:
        trace = result.details["trace"]
        first, last = trace["cycles"]
        around = "the whole run" if trace["frame"] is None else f"frame {trace['frame']}"
        print(f"signals of {around}, cycles {first:,} to {last:,}: {trace['file']}")
