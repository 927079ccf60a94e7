"""`codesign check`: whether a target can run a model."""

from __future__ import annotations

import argparse

from codesign.commands.common import Parser, print_json

EXAMPLE = "codesign check model.onnx -t pynq-z2"


def arguments(parser: Parser) -> None:
    parser.add_model()
    parser.add_target()
    parser.add_argument("--backend", metavar="B", help="another backend of the target than its first")
    parser.add_json()


def run(args: argparse.Namespace) -> int:
    from codesign.build import check_graph, check_notes, pick_backend
    from codesign.errors import UnsupportedError, raise_all
    from codesign.frontend import import_model
    from codesign.target import load_target

    target = load_target(args.target)
    backend = pick_backend(target, args.backend)
    imported = import_model(args.model)
    refused = check_graph(imported.graph, target, backend)
    notes = check_notes(imported.graph, target, backend)
    if args.json:
        sides = {"refused": refused, "notes": notes}
        found = {key: [{"layer": d.where, "reason": d.found} for d in side] for key, side in sides.items()}
        print_json({"target": target.name, "backend": backend.name, "supported": not refused, **found})
    raise_all(UnsupportedError, refused)
    if not args.json:
        for note in (*imported.notes, *notes):
            print(f"note: {note}")
        print(f"{args.model}: all {len(imported.graph.nodes)} layers can run on {target.name} ({backend.name})")
    return 0
