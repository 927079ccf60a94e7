"""`codesign doctor`: which tools there are."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from codesign.commands.common import Parser, print_json, print_table

EXAMPLE = "codesign doctor"


def arguments(parser: Parser) -> None:
    parser.add_json()


def run(args: argparse.Namespace) -> int:
    from codesign.doctor import examine, shown_path
    from codesign.errors import Diagnostic, ToolError, raise_all

    findings = examine()
    if args.json:
        print_json([asdict(f) for f in findings])
    else:
        rows = [
            [f.name, shown_path(f.version) or "MISSING", f.needed_for, f.install if f.missing else ""] for f in findings
        ]
        print_table(["tool", "version", "needed for", "how to get it"], rows)
    missing = [f for f in findings if f.missing and not f.optional]
    raise_all(ToolError, [Diagnostic(f.name, f"missing, needed for {f.needed_for}", hint=f.install) for f in missing])
    return 0
