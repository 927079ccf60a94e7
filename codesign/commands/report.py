"""`codesign report`: the figures of build directories, side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from codesign.commands.common import Parser, print_json, print_table

EXAMPLE = "codesign report build/mlp-pynq build/mlp-ulx3s"


def arguments(parser: Parser) -> None:
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="what 'codesign compile' wrote")
    parser.add_json()


def run(args: argparse.Namespace) -> int:
    from codesign.builddir import read_build
    from codesign.commands.figures import number, print_report, sentence
    from codesign.errors import CodesignError, Diagnostic, InputError, raise_all

    builds = []
    found: list[Diagnostic] = []
    for directory in args.directories:
        try:
            builds.append(read_build(directory))
        except CodesignError as error:
            found += error.diagnostics
    raise_all(InputError, found)
    if args.json:
        print_json([{"directory": str(build.directory), **build.report.to_data()} for build in builds])
        return 0
    if len(builds) == 1:
        print_report(builds[0].report, builds[0].target, str(builds[0].directory))
        return 0
    keys = dict.fromkeys((m.name, m.basis, m.unit) for build in builds for m in build.report.metrics)
    names = [str(build.directory) for build in builds]
    rows = [["target", "", *(build.target.name for build in builds), ""]]
    for name, basis, unit in keys:
        values = [build.report.value(name, basis) for build in builds]
        rows.append([name, basis.value, *("" if v is None else number(v) for v in values), unit])
    print_table(["figure", "basis", *names, "unit"], rows, right=names)
    for build in builds:
        if build.report.verification is not None:
            print(f"{build.directory} {sentence(build.report.verification)}")
    return 0
