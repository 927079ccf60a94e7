"""`codesign evaluate`: the golden evaluation."""

from __future__ import annotations

import argparse
from pathlib import Path

from codesign.commands.common import Parser, print_json
from codesign.errors import UsageError

EXAMPLE = "codesign evaluate model.onnx --inputs images.npy -o scores.npy"


def arguments(parser: Parser) -> None:
    parser.add_model()
    parser.add_argument(
        "--inputs",
        action="append",
        required=True,
        type=Path,
        metavar="X.npy",
        help="real values, which are quantised as the model says, or integers as they are; the first axis may be "
        "a batch; once for each input of the model",
    )
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        required=True,
        type=Path,
        metavar="Y.npy",
        help="where the outputs go; once for each output of the model",
    )
    parser.add_argument("--raw", action="store_true", help="write the integers instead of the real values")
    parser.add_json()


def run(args: argparse.Namespace) -> int:
    from codesign.arrays import read_array, write_array
    from codesign.frontend import import_model

    graph = import_model(args.model).graph
    if len(args.output) != len(graph.outputs):
        names = ", ".join(port.name for port in graph.outputs)
        raise UsageError.at("-o", f"{len(args.output)} files", f"{len(graph.outputs)}, one for each output: {names}")
    arrays = [read_array(path) for path in args.inputs]
    raw = graph.evaluate(*graph.quantise_inputs(*arrays))
    outputs = raw if args.raw else graph.dequantise_outputs(raw)
    single = arrays[0].ndim == len(graph.type(graph.inputs[0].name).shape)
    for path, output in zip(args.output, outputs, strict=True):
        write_array(path, output[0] if single else output)
    if args.json:
        print_json(
            [
                {"file": str(path), "output": port.name, "frames": len(q), "shape": list(q.shape[1:])}
                for path, port, q in zip(args.output, graph.outputs, outputs, strict=True)
            ]
        )
    return 0
