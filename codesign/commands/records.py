"""`codesign records`: what tuning found so far, taken elsewhere, brought in, or repaired."""

from __future__ import annotations

import argparse
from pathlib import Path

from codesign.commands.common import Parser, print_json, print_table

EXAMPLE = "codesign records --export tuned.jsonl"


def arguments(parser: Parser) -> None:
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--export", type=Path, metavar="FILE", help="write the records of all cores to a file")
    action.add_argument("--import", dest="bring", type=Path, metavar="FILE", help="add the records of such a file")
    action.add_argument("--repair", action="store_true", help="move damaged lines aside, into FILE.damaged")
    parser.add_json()


def run(args: argparse.Namespace) -> int:
    from codesign.backends.tvm.tune import records

    if args.export:
        return _say(args, "exported", records.export(args.export), f"records written to {args.export}")
    if args.bring:
        return _say(args, "imported", records.import_(args.bring), f"new records in {records.records_dir()}")
    if args.repair:
        moved = sum(records.repair(path) for path in records.files())
        return _say(args, "moved", moved, f"damaged lines moved aside in {records.records_dir()}")
    rows = [(path.stem, *records.summary_of(path)) for path in records.files()]
    if args.json:
        print_json([{"core": c, "kernels": k, "trials": t, "damaged": d} for c, k, t, d in rows])
        return 0
    columns = ["core", "kernels", "trials", "damaged lines"]
    print_table(columns, [[str(v) for v in row] for row in rows], str(records.records_dir()), right=columns[1:])
    return 0


def _say(args: argparse.Namespace, name: str, count: int, text: str) -> int:
    if args.json:
        print_json({name: count})
    else:
        print(f"{count} {text}")
    return 0
