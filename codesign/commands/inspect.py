"""`codesign inspect`: what is in a model, and what its import rounded."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign.commands.common import Parser, print_json, print_table

if TYPE_CHECKING:
    from codesign.frontend import Imported, LayerGap
    from codesign.ir.graph import Graph

EXAMPLE = "codesign inspect model.onnx --inputs images.npy"


def arguments(parser: Parser) -> None:
    parser.add_model()
    parser.add_argument(
        "--inputs",
        action="append",
        type=Path,
        metavar="X.npy",
        help="real inputs to compare the golden evaluation with the source model on, instead of random ones; "
        "once for each input of the model",
    )
    parser.add_argument(
        "--text", action="store_true", help="print the graph in its text form, which 'codesign' reads back"
    )
    parser.add_json()


def run(args: argparse.Namespace) -> int:
    from codesign.arrays import read_array
    from codesign.frontend import gap, import_model
    from codesign.frontend.gap import require_close

    imported = import_model(args.model)
    if args.text:
        from codesign.ir.text import print_graph

        print(print_graph(imported.graph), end="")
        return 0
    samples = [read_array(path) for path in args.inputs] if args.inputs else []
    gaps = gap(imported, *samples) if imported.source is not None else []
    rows = layer_rows(imported.graph, gaps)
    if args.json:
        print_json(_data(args.model, imported, rows, gaps))
    else:
        _print(args.model, imported, rows, gaps)
    if imported.source is not None:
        require_close(gaps, imported.source.name)
    return 0


def layer_rows(graph: Graph, gaps: list[LayerGap]) -> list[dict[str, Any]]:
    """One row per node: name, the user's layer, operator, output type, work, weights, and the gap where it is known."""
    compared = {g.node: g for g in gaps}
    work = graph.work()
    rows = []
    for node in graph.nodes:
        weights = [graph.type(name) for name in node.inputs if name in graph.consts]
        row: dict[str, Any] = {
            "node": node.name,
            "layer": node.where,
            "operator": type(node.op).__name__,
            "output": str(graph.type(node.name)),
            "macs": work[node.name].macs,
            "constants": ", ".join(str(type_) for type_ in weights),
            "constant_bytes": -(-sum(type_.bits for type_ in weights) // 8),
        }
        if node.name in compared:
            g = compared[node.name]
            row |= {"compared": g.elements, "mismatches": g.mismatches, "max_diff": g.max_diff}
        rows.append(row)
    return rows


def _data(model: str, imported: Imported, rows: list[dict[str, Any]], gaps: list[LayerGap]) -> dict[str, Any]:
    graph = imported.graph
    outputs = [g for g in gaps if g.argmax_agreement is not None]
    return {
        "model": model,
        "digest": graph.digest(),
        "inputs": [{"name": p.name, "type": str(graph.type(p.name)), **_scale(graph, p.name)} for p in graph.inputs],
        "outputs": [{"name": p.name, "type": str(graph.type(p.name))} for p in graph.outputs],
        "layers": rows,
        "macs": sum(row["macs"] for row in rows),
        "constant_bytes": sum(row["constant_bytes"] for row in rows),
        "source": imported.source.name if imported.source is not None else None,
        "argmax_agreement": outputs[0].argmax_agreement if outputs else None,
        "notes": list(imported.notes),
    }


def _scale(graph: Graph, name: str) -> dict[str, Any]:
    quant = graph.type(name).quant
    return {} if quant is None else {"scale": list(quant.scale), "zero_point": list(quant.zero_point)}


def _print(model: str, imported: Imported, rows: list[dict[str, Any]], gaps: list[LayerGap]) -> None:
    graph = imported.graph
    columns = ["layer", "operator", "output", "MACs", "bytes", "constants"]
    if gaps:
        columns[-1:-1] = ["differ", "by"]
    table = []
    for row in rows:
        line = [row["layer"], row["operator"], row["output"], f"{row['macs']:,}", f"{row['constant_bytes']:,}"]
        if gaps and "compared" in row:
            line += [f"{row['mismatches'] / row['compared']:.3%}" if row["mismatches"] else "0", str(row["max_diff"])]
        elif gaps:
            line += ["", ""]
        table.append([*line, row["constants"]])
    print_table(columns, table, title=model, right=["MACs", "bytes", "differ", "by"])
    macs, size = sum(r["macs"] for r in rows), sum(r["constant_bytes"] for r in rows)
    inputs = ", ".join(f"{p.name} {graph.type(p.name)}" for p in graph.inputs)
    print(f"\ninput {inputs}; {len(rows)} layers, {macs:,} MACs a frame, {size:,} bytes of constants")
    for g in gaps:
        if g.layer.startswith("output "):
            source = imported.source.name if imported.source is not None else ""
            same = "" if g.argmax_agreement is None else f", the same class in {g.argmax_agreement:.2%}"
            differ = f"{g.mismatches:,} of {g.elements:,} elements differ{same}"
            found = differ if g.mismatches else "every element equal"
            print(f"{g.layer} against {source}: {found}")
    for note in imported.notes:
        print(f"note: {note}")
