"""The table of supported operators, made from the code: what is imported, what each backend builds.

python -m codesign.testing.operators README.md      writes it between its markers in a file
"""

from __future__ import annotations

import sys
from pathlib import Path

from codesign.backends import BACKENDS, load_backend
from codesign.build import check_graph
from codesign.ir.ops import OPERATORS
from codesign.target import load_target, target_names
from codesign.testing.cases import CASES

BEGIN = "<!-- operators: written by scripts/update-docs -->"
END = "<!-- end of operators -->"


def operator_table() -> str:
    """Markdown: one row per integer operator, one column per backend; the cases are those of the conformance suite."""
    names = [name for name in BACKENDS if "-" not in name]  # hls-vivado and the like are flows of one backend
    lines = [f"| operator | meaning | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for name, operator in OPERATORS.items():
        meaning = (operator.__doc__ or "").splitlines()[0].replace("|", r"\|").replace("*", r"\*")
        cells = " | ".join(_support(name, backend) for backend in names)
        lines.append(f"| {name} | {meaning} | {cells} |")
    return "\n".join(lines)


def _support(operator: str, backend_name: str) -> str:
    """`yes`, or what is refused, over all cases of the conformance suite that hold the operator."""
    backend = load_backend(backend_name)
    target = next(t for t in map(load_target, target_names()) if backend_name in t.backends)
    graphs = [graph for graph in (make() for make in CASES.values()) if any(_is(n.op, operator) for n in graph.nodes)]
    refused = [check_graph(graph, target, backend) for graph in graphs]
    reasons = dict.fromkeys(d.found for found in refused for d in found)
    if not reasons:
        return "yes"
    text = "; ".join(reasons)
    return f"no: {text}" if all(refused) else f"yes, but {text}"


def _is(op: object, name: str) -> bool:
    return type(op).__name__ == name


def imported_operators() -> str:
    """Markdown: the operators that the importers know."""
    from codesign.frontend.onnx import HANDLERS as ONNX
    from codesign.frontend.tflite.importer import HANDLERS as TFLITE

    kinds = (("ONNX", ONNX), ("TensorFlow Lite", TFLITE))
    return "\n\n".join(f"Imported from {k}: {', '.join(f'`{n}`' for n in sorted(names))}." for k, names in kinds)


def section() -> str:
    """What stands between the markers."""
    return f"{BEGIN}\n{operator_table()}\n\n{imported_operators()}\n{END}"


def update(text: str) -> str:
    """`text` with a current section. ValueError when it has no markers."""
    start, end = text.index(BEGIN), text.index(END) + len(END)
    return text[:start] + section() + text[end:]


def main(paths: list[str]) -> None:
    """Bring the section of each file up to date."""
    for path in map(Path, paths):
        path.write_text(update(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
