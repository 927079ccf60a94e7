"""Exported TOSA files in tests: what is in them, and what the reference model makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from conftest import missing

from codesign.errors import ToolError
from codesign.export.tosa import decode, encode, export_tosa
from codesign.export.tosa.worker import evaluate
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray
from codesign.testing.graphs import feeds
from codesign.toolchain import require


def tosa_tools() -> None:
    """End the test where tosa-tools are missing."""
    try:
        require("tosa")
    except ToolError as error:
        missing(str(error))


def block(content: bytes) -> Any:
    """The one block of a .tosa file of TOSA 1.0, through the classes of its flatbuffer schema."""
    from tosa.TosaGraph import TosaGraph

    graph = TosaGraph.GetRootAs(content)
    version = graph.Version()
    assert (version._Major(), version._Minor(), version._Patch(), version._Draft()) == (1, 0, 0, False)
    assert graph.RegionsLength() == graph.Regions(0).BlocksLength() == 1
    return graph.Regions(0).Blocks(0)


def operators(content: bytes) -> list[str]:
    """The operators of a .tosa file in order, constants left out."""
    from tosa.Op import Op

    names = {value: name for name, value in vars(Op).items() if name.isupper()}
    made = block(content)
    found = [names[made.Operators(i).Op()] for i in range(made.OperatorsLength())]
    return [name for name in found if not name.startswith("CONST")]


def ports(content: bytes) -> tuple[dict[str, object], dict[str, object]]:
    """Name -> (shape, element type) of the inputs and of the outputs."""
    from tosa.DType import DType

    made = block(content)
    types = {value: name for name, value in vars(DType).items() if name.isupper()}
    tensors = {t.Name().decode(): t for t in (made.Tensors(i) for i in range(made.TensorsLength()))}

    def described(names: list[str]) -> dict[str, object]:
        return {n: (tensors[n].ShapeAsNumpy().tolist(), types[tensors[n].Type()]) for n in names}

    inputs = [made.Inputs(i).decode() for i in range(made.InputsLength())]
    return described(inputs), described([made.Outputs(i).decode() for i in range(made.OutputsLength())])


def assert_exact(graph: Graph, *inputs: IntArray, batch: int = 4, seed: int = 1) -> bytes:
    """Compare every bit of every output with the golden evaluation, for `inputs` or random ones; the file's content.

    In this process: a graph that the model does not accept ends it, which says enough.
    """
    given = list(inputs) or feeds(graph, batch, seed)
    content = export_tosa(graph, len(given[0]))
    found = decode(graph, evaluate(content, encode(graph, given), level="EIGHTK"))
    for port, values, expected in zip(graph.outputs, found, graph.evaluate(*given), strict=True):
        np.testing.assert_array_equal(values, expected, err_msg=f"output {port.name}")
    return content
