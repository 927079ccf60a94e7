"""Models that nobody here wrote as HLS projects: the C simulation gives the answers that their own tools gave."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from codesign.backends.base import Requirement, RunOptions
from codesign.backends.hls.backend import HlsBackend
from codesign.frontend import import_model
from codesign.ir.types import IntArray
from codesign.target import load_target
from codesign.testing.conformance import quiet

pytestmark = pytest.mark.usefixtures("cxx")


@pytest.fixture
def cases() -> Path:
    folder = os.environ.get("CODESIGN_CASES")
    if not folder or not (Path(folder) / "finn").is_dir():
        pytest.skip("the folder of third-party cases is missing: set CODESIGN_CASES")
    return Path(folder)


def simulated(model: Path, device: str, inputs: IntArray, out: Path, fps: float = 0) -> IntArray:
    """The outputs of the project for integer inputs; the smallest design of a speed, else the fastest that fits."""
    graph, backend, target = import_model(model).graph, HlsBackend(), load_target(device)
    required = [Requirement("fps", ">=", fps)] if fps else []
    backend.build(graph, backend.schedule(graph, target, None, required, quiet), target, out)
    feed = inputs.reshape(-1, *graph.type(graph.inputs[0].name).shape)
    return np.asarray(backend.run(out, graph, [feed], RunOptions(), quiet).outputs[0])


@pytest.mark.parametrize(("name", "fps"), [("ad01_int8", 20_000), ("kws_ref_model", 1_000)])
def test_mlperf_tiny_models_give_the_answers_of_litert(cases: Path, name: str, fps: float, tmp_path: Path) -> None:
    """Ten dense layers of 8 bits; a depthwise-separable CNN with padding, average pooling and Softmax."""
    answers = np.load(cases / "mlperf_tiny" / f"{name}.ref.npz")
    x = answers["x"].astype(np.int64)
    found = simulated(cases / "mlperf_tiny" / f"{name}.tflite", "zcu104", x, tmp_path, fps)
    np.testing.assert_array_equal(found, answers["y"].reshape(found.shape))


def test_tfc_gives_the_class_that_finn_expects(cases: Path, tmp_path: Path) -> None:
    model = cases / "finn" / "build_dataflow_model.onnx"
    images = import_model(model).graph.quantise_inputs(np.load(cases / "finn" / "build_dataflow_input.npy"))[0]
    found = simulated(model, "pynq-z2", images, tmp_path)
    assert found.reshape(-1).tolist() == np.load(cases / "finn" / "build_dataflow_expected_output.npy").tolist()
