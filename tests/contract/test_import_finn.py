"""FINN's TFC network, a file that nobody here wrote, with the answer that FINN ships beside it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from codesign.frontend import gap, import_model
from codesign.ir.ops import ArgMax, Dense, Reshape, Threshold
from codesign.ir.types import BIPOLAR


@pytest.fixture
def case() -> Path:
    folder = os.environ.get("CODESIGN_CASES")
    if not folder or not (Path(folder) / "finn").is_dir():
        pytest.skip("the folder of third-party cases is missing: set CODESIGN_CASES")
    return Path(folder) / "finn"


def test_the_classes_are_those_that_finn_expects(case: Path) -> None:
    graph = import_model(case / "build_dataflow_model.onnx").graph
    images = np.load(case / "build_dataflow_input.npy")
    (classes,) = graph.evaluate(*graph.quantise_inputs(images))
    assert classes.reshape(-1).tolist() == np.load(case / "build_dataflow_expected_output.npy").tolist()


def test_it_becomes_bipolar_layers_and_thresholds_only(case: Path) -> None:
    graph = import_model(case / "build_dataflow_model.onnx").graph
    kinds = [type(node.op) for node in graph]
    assert kinds == [Threshold, Reshape, *[Dense, Threshold] * 3, Dense, ArgMax]
    dense = [node for node in graph if isinstance(node.op, Dense)]
    assert [graph.type(node.name).shape for node in dense] == [(64,), (64,), (64,), (10,)]
    assert all(graph.type(name).dtype == BIPOLAR for node in dense for name in node.inputs[:2])
    assert graph.node("MatMul_0").where == "MatMul_0"
    assert str(graph.type("global_in")) == "u8[28,28,1]"


def test_no_layer_differs_from_the_file_in_floating_point(case: Path) -> None:
    rows = gap(import_model(case / "build_dataflow_model.onnx"), count=16)
    assert [row.layer for row in rows] == [*(f"MultiThreshold_{i}" for i in range(4)), "output TopK_0"]
    assert [row.mismatches for row in rows] == [0] * 5
