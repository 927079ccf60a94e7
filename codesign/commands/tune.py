"""`codesign tune`: search for a processor's fastest kernels, keep them on record, and compile with them."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign.commands.common import Parser, print_json, progress_bars

if TYPE_CHECKING:
    from codesign.backends.tvm.tune.budget import State

EXAMPLE = "codesign tune model.tflite -t cortex-a76 -o out --minutes 15"

MINUTES = 15.0
SAY_S = 20.0  # between two lines where stderr is no terminal


def arguments(parser: Parser) -> None:
    parser.add_model()
    parser.add_target()
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR", help="the build directory to write")
    parser.add_argument("--minutes", type=float, metavar="M", help=f"how long to search (default {MINUTES:g})")
    parser.add_argument("--trials", type=int, metavar="N", help="how many candidates to try, instead of --minutes")
    parser.add_argument(
        "--objective", choices=("latency", "throughput"), help="both mean the same here: the time of one inference"
    )
    parser.add_argument(
        "--require", action="append", default=[], metavar="R", help='"fps>=100", "latency_ns<=2e6"; repeatable'
    )
    parser.add_json()


def run(args: argparse.Namespace) -> int:
    from codesign.build import compile_graph, pick_backend, source_gap
    from codesign.commands.figures import print_report
    from codesign.errors import UsageError
    from codesign.frontend import import_model
    from codesign.requirements import parse_requirements
    from codesign.target import load_target

    budget = _budget(args)
    requirements = parse_requirements(args.require)
    target = load_target(args.target)
    backend: Any = pick_backend(target, None)
    if target.cpu is None or not hasattr(backend, "tune"):
        hint = f"codesign compile -t {target.name}, which searches by itself"
        raise UsageError.at("target", f"{target.name} has no kernels to tune", "a processor", hint)
    told = _Told()
    with progress_bars() as progress:
        imported = import_model(args.model)
        tuned = backend.tune(imported.graph, target, budget, progress, told)
        report = compile_graph(
            imported.graph,
            target,
            args.output,
            progress,
            model=args.model,
            objective=args.objective,
            requirements=requirements,
            gap_to_source=source_gap(imported),
            notes=[*imported.notes, f"tuned: {tuned.state}"],
        )
    if args.json:
        print_json({**report.to_data(), "tuning": tuned.to_data()})
        return 0
    print_report(report, target, f"{args.model} for {target.name}")
    for reason, count in sorted(tuned.rejected.items(), key=lambda item: -item[1]):
        print(f"rejected {count}: {reason}")
    print(f"\ntuned: {tuned.state}")
    print(f"written to {args.output}; next: codesign simulate {args.output}")
    return 0


def _budget(args: argparse.Namespace) -> Any:
    from codesign.backends.tvm.tune.budget import Budget
    from codesign.errors import UsageError

    if args.minutes is not None and args.trials is not None:
        raise UsageError.at("--trials", "together with --minutes", "one of them")
    if args.minutes is not None and not 0 < args.minutes < float("inf"):
        raise UsageError.at("--minutes", f"{args.minutes:g}", "more than 0")
    if args.trials is not None and args.trials < 1:
        raise UsageError.at("--trials", str(args.trials), "1 or more")
    if args.trials is not None:
        return Budget(trials=args.trials)
    return Budget(seconds=60 * (MINUTES if args.minutes is None else args.minutes))


class _Told:
    """Where stderr is no terminal, a line on how far the search is, now and then; bars show it otherwise."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, state: State) -> None:
        if not sys.stderr.isatty() and time.monotonic() - self._last >= SAY_S:
            self._last = time.monotonic()
            print(state, file=sys.stderr, flush=True)
