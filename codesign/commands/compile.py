"""`codesign compile`: a model to a design for a target."""

from __future__ import annotations

import argparse
from pathlib import Path

from codesign.commands.common import Parser, print_json, progress_bars

EXAMPLE = 'codesign compile model.onnx -t pynq-z2 -o out --require "fps>=10000" --require "lut<=20000"'


def arguments(parser: Parser) -> None:
    parser.add_model()
    parser.add_target()
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR", help="the build directory to write")
    parser.add_argument("--backend", metavar="B", help="another backend of the target than its first")
    parser.add_argument(
        "--objective",
        choices=("latency", "throughput", "area"),
        help="what to strive for among the designs that meet the requirements; by default the smallest that meets a "
        "required speed, else the fastest that fits",
    )
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="R",
        help='"fps>=10000", "lut<=20000" and the like; repeatable',
    )
    parser.add_argument("--schedule", type=Path, metavar="FILE", help="replay a schedule: that of a manifest.json")
    parser.add_argument(
        "--inputs",
        action="append",
        type=Path,
        metavar="X.npy",
        help="inputs for the golden evaluation kept with the build",
    )
    parser.add_json()


def run(args: argparse.Namespace) -> int:
    from codesign.arrays import read_array
    from codesign.build import compile_graph, source_gap
    from codesign.commands.figures import print_report
    from codesign.errors import UsageError
    from codesign.frontend import import_model
    from codesign.requirements import parse_requirements
    from codesign.target import load_target

    requirements = parse_requirements(args.require)
    target = load_target(args.target)
    if args.schedule and args.objective:
        raise UsageError.at("--schedule", "together with --objective", "one of them: a replay has nothing to choose")
    inputs = [read_array(path) for path in args.inputs] if args.inputs else None
    with progress_bars() as progress:
        imported = import_model(args.model)
        report = compile_graph(
            imported.graph,
            target,
            args.output,
            progress,
            model=args.model,
            backend_name=args.backend,
            objective=args.objective,
            requirements=requirements,
            schedule_file=args.schedule,
            inputs=inputs,
            gap_to_source=source_gap(imported, inputs),
            notes=imported.notes,
        )
    if args.json:
        print_json(report.to_data())
    else:
        print_report(report, target, f"{args.model} for {target.name}")
        print(f"\nwritten to {args.output}; next: codesign simulate {args.output}")
    return 0
