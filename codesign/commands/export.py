"""`codesign export`: the integer graph as a file of another framework."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign.commands.common import Parser, print_json, print_table, progress_bars

if TYPE_CHECKING:
    from codesign.backends.base import Progress
    from codesign.frontend.imported import Imported

EXAMPLE = "codesign export model.onnx -o model.tflite"


def arguments(parser: Parser) -> None:
    parser.add_model()
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="a .tflite or a .tosa file")
    parser.add_argument(
        "--nearest",
        action="store_true",
        help="where TFLite has no exact form of a layer, take the nearest and report the difference",
    )
    parser.add_argument("--frames", type=int, default=0, metavar="N", help="how many random frames to compare")
    parser.add_json()


def run(args: argparse.Namespace) -> int:
    from codesign.errors import UsageError
    from codesign.export import FORMATS
    from codesign.frontend import import_model

    suffix = args.output.suffix
    if suffix not in FORMATS:
        raise UsageError.at("-o", f"a file named {args.output.name!r}", " or ".join(f"FILE{s}" for s in FORMATS))
    if args.nearest and suffix != ".tflite":
        raise UsageError.at("--nearest", f"together with {suffix}", "a .tflite file; a .tosa file is always exact")
    if args.frames < 0:
        raise UsageError.at("--frames", str(args.frames), "0 or more")
    with progress_bars() as progress:
        imported = import_model(args.model)
        result = _export(imported, args, progress)
    if args.json:
        print_json({"model": args.model, "file": str(args.output), **result})
    else:
        _print(args, result)
    return 0


def _export(imported: Imported, args: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Write the file and run it: what was compared, layer by layer."""
    from codesign.export import export_file

    graph = imported.graph
    written = export_file(graph, args.output, nearest=args.nearest, frames=args.frames, progress=progress)
    return {
        "bytes": written.size,
        "reference": written.reference,
        "frames": written.frames,
        "layers": [
            {"layer": d.name, "elements": d.elements, "mismatches": d.mismatches, "max_abs_diff": d.largest}
            for d in written.differences
        ],
        "inexact": dict(written.inexact),
        "offsets": dict(written.offsets),
        "notes": list(dict.fromkeys((*imported.notes, *written.notes))),
    }


def _print(args: argparse.Namespace, result: dict[str, Any]) -> None:
    rows = [
        [
            row["layer"],
            f"{row['elements']:,}",
            f"{row['mismatches'] / row['elements']:.4%}" if row["mismatches"] else "0",
            str(row["max_abs_diff"]),
            result["inexact"].get(row["layer"], ""),
        ]
        for row in result["layers"]
    ]
    title = f"{args.output}, {result['bytes']:,} bytes"
    if rows:
        print_table(["tensor", "compared", "differ", "by", ""], rows, title=title, right=["compared", "differ", "by"])
        wrong = sum(row["mismatches"] for row in result["layers"])
        compared = "output" if args.output.suffix == ".tosa" else "tensor"
        verdict = f"{wrong:,} elements differ" if wrong else f"every {compared} equal"
        print(f"\nagainst {result['reference']}: {result['frames']} frames, {verdict}")
    else:
        print(title)
    for name, offset in result["offsets"].items():
        print(f"note: {name} is stored {offset:+d}: the file's integer less {offset} is the graph's")
    for note in result["notes"]:
        print(f"note: {note}")
