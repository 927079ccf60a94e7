"""`codesign report`: figures of builds, beside each other; those of vendors' tools where there are reports."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from codesign.commands.common import Parser, print_json, print_table, progress_bars

if TYPE_CHECKING:
    from codesign.builddir import Build

EXAMPLE = "codesign report build/mlp-pynq build/mlp-ulx3s"


def arguments(parser: Parser) -> None:
    parser.add_argument("directories", nargs="*", type=Path, metavar="DIR", help="what 'codesign compile' wrote")
    parser.add_argument(
        "--vendor", type=Path, metavar="DIR",
        help="read the reports that vendors' tools left below DIR: into the build, or alone without one",
    )  # fmt: skip
    parser.add_argument(
        "--run", metavar="STEPS",
        help="run the vendor's tools on the HLS project of a build: csim, csynth, cosim, export, implement",
    )  # fmt: skip
    parser.add_argument("--time-limit", type=float, metavar="S", help="seconds for each step of --run (28800)")
    parser.add_json()


def run(args: argparse.Namespace) -> int:
    from codesign.builddir import read_build
    from codesign.errors import CodesignError, Diagnostic, InputError, UsageError, raise_all

    if not args.directories and (args.vendor is None or args.run):
        raise UsageError.at("DIR", "none given", "one or more build directories, or --vendor DIR")
    if (args.vendor or args.run) and len(args.directories) > 1:
        raise UsageError.at("--vendor", f"{len(args.directories)} builds", "one")
    if args.time_limit is not None and not args.time_limit > 0:
        raise UsageError.at("--time-limit", f"{args.time_limit:g}", "above 0")
    builds = []
    found: list[Diagnostic] = []
    for directory in args.directories:
        try:
            builds.append(read_build(directory))
        except CodesignError as error:
            found += error.diagnostics
    raise_all(InputError, found)
    if not builds:
        return _print_vendor(args.vendor, args.json)
    if args.run:
        _run_vendor(builds[0], args.run, args.time_limit)
    if args.vendor or args.run:
        builds = [_with_vendor(builds[0], args.vendor or builds[0].artifact)]
    _print(builds, args.json)
    _raise_failures(builds)
    return 0


def _raise_failures(builds: list[Build]) -> None:
    """RequirementError for requirements that are not met, MismatchError where a tool found the design wrong."""
    from codesign.backends.hls.reports import VendorReport
    from codesign.errors import Diagnostic, MismatchError, RequirementError, raise_all
    from codesign.requirements import unmet

    failed, missed = [], []
    for build in builds:
        prefix = f"{build.directory}, " if len(builds) > 1 else ""
        missed += [replace(d, where=prefix + d.where) for d in unmet(build.report.requirements)]
        if "vendor" in build.report.provenance:
            failures = VendorReport.from_data(build.report.provenance["vendor"]).failures
            failed += [Diagnostic(str(build.directory), text) for text in failures.values()]
    raise_all(MismatchError if failed else RequirementError, failed + missed)


def _print(builds: list[Build], as_json: bool) -> None:
    """One build as a table of bases, several side by side."""
    from codesign.commands.figures import number, print_report, sentence

    if as_json:
        print_json([{"directory": str(build.directory), **build.report.to_data()} for build in builds])
        return
    if len(builds) == 1:
        print_report(builds[0].report, builds[0].target, str(builds[0].directory))
        return
    keys = dict.fromkeys((m.name, m.basis, m.unit) for build in builds for m in build.report.metrics)
    names = [str(build.directory) for build in builds]
    rows = [["target", "", *(build.target.name for build in builds), ""]]
    rows.append(["backend", "", *(str(build.manifest["backend"]) for build in builds), ""])
    for name, basis, unit in keys:
        values = [build.report.value(name, basis) for build in builds]
        rows.append([name, basis.value, *("" if v is None else number(v) for v in values), unit])
    print_table(["figure", "basis", *names, "unit"], rows, right=names)
    for build in builds:
        if build.report.verification is not None:
            print(f"{build.directory} {sentence(build.report.verification)}")


def _run_vendor(build: Build, steps: str, time_limit_s: float | None) -> None:
    """Run the vendor's tools on the project of a build."""
    from codesign.backends.hls.flows import FLOWS
    from codesign.backends.hls.vendor import TIME_LIMIT_S, parse_steps, run_steps
    from codesign.errors import UsageError

    flow = next((f for f in FLOWS.values() if f.backend == build.manifest["backend"]), None)
    if flow is None:
        allowed = "a build of the HLS backends"
        raise UsageError.at("--run", f"{build.directory} is one of {build.manifest['backend']}", allowed)
    with progress_bars() as progress:
        run_steps(build.artifact, flow, parse_steps(steps), time_limit_s or TIME_LIMIT_S, progress)


def _with_vendor(build: Build, folder: Path) -> Build:
    """The build with the tools' figures, which are written into its report.json; requirements are judged again."""
    from codesign.backends.hls.extension import PROJECT
    from codesign.backends.hls.flows import FLOWS, NOTHING_RAN
    from codesign.backends.hls.reports import VendorReport, read_reports
    from codesign.builddir import write_json
    from codesign.report import Basis
    from codesign.requirements import judge, parse_requirements

    flow = next((f for f in FLOWS.values() if f.backend == build.manifest["backend"]), None)
    top = "" if flow is None else f"{PROJECT}_axi" if flow.boards else PROJECT
    read = read_reports(folder, build.target.part, top)
    old = build.report
    if "vendor" in old.provenance:
        read = VendorReport.from_data(old.provenance["vendor"]).updated(read)
    kept = [note.removesuffix(NOTHING_RAN) for note in old.notes if not note.startswith("tool: ")]
    report = replace(
        old,
        metrics=(*(m for m in old.metrics if m.basis is not Basis.TOOL), *read.metrics),
        notes=(*kept, *read.notes),
        provenance={**old.provenance, "vendor": read.to_data()},
    )
    report = replace(report, requirements=judge(parse_requirements(build.manifest["requirements"]), report))
    write_json(build.directory / "report.json", report.to_data())
    return replace(build, report=report)


def _print_vendor(folder: Path, as_json: bool) -> int:
    """The figures of a folder of reports alone."""
    from codesign.backends.hls.reports import read_reports
    from codesign.commands.figures import number
    from codesign.errors import Diagnostic, MismatchError, raise_all

    read = read_reports(folder)
    failures = [Diagnostic(str(folder), text) for text in read.failures.values()]
    if as_json:
        metrics = [{"name": m.name, "value": m.value, "unit": m.unit, "basis": m.basis.value} for m in read.metrics]
        print_json({"directory": str(folder), "metrics": metrics, "files": list(read.files.values())})
    else:
        rows = [[m.name, number(m.value), m.unit] for m in read.metrics]
        print_table(["figure", "tool", "unit"], rows, title=str(folder), right=["tool"])
        for note in read.notes:
            print(f"note: {note}")
    raise_all(MismatchError, failures)
    return 0
