"""What the importer says about files and functions that give no model, word by word."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import model, node, quant

from codesign.errors import CodesignError, InputError, ToolError, UnsupportedError
from codesign.frontend import import_brevitas, import_model
from codesign.frontend.onnx import SUPPORTED

WEIGHT = np.ones((2, 2, 3, 3), dtype=np.float32)


def file_error(path: Path | str, error: type[CodesignError] = InputError) -> str:
    with pytest.raises(error) as caught:
        import_model(path)
    return str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    assert file_error(path) == f"{path}: no such file; allowed: an ONNX file"
    path = tmp_path / "graph.txt"
    assert file_error(path) == f"{path}: no such file; allowed: the text form of a graph"
    path = tmp_path / "net.py"
    assert file_error(f"{path}:make") == f"{path}: no such file; allowed: FILE.py:FUNCTION"


def test_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.mkdir()
    assert file_error(path) == f"{path}: cannot be read: Is a directory; allowed: a readable ONNX file"


@pytest.mark.parametrize("content", [b"this is no ONNX file", b"\x00\xff" * 50])
def test_no_onnx_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    expected = "not an ONNX file, or a truncated or corrupt one; allowed: a complete ONNX file; try: export it again"
    assert file_error(path) == f"{path}: {expected}"


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"")
    expected = "an ONNX file without layers, or no ONNX file; allowed: a complete ONNX file; try: export it again"
    assert file_error(path) == f"{path}: {expected}"


def test_truncated_and_corrupt_files_end_in_a_message(tmp_path: Path) -> None:
    whole = model([quant("x", "q"), node("Conv", "q w", "c"), quant("c", "y")], w=WEIGHT).SerializeToString()
    path, rng, accepted = tmp_path / "net.onnx", random.Random(1), 0
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(CodesignError):
            import_model(path)
    for _ in range(300):
        data = bytearray(whole)
        data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        with suppress(CodesignError):
            import_model(path)
            accepted += 1
    assert 0 < accepted < 270


def test_other_kinds_of_files() -> None:
    function = "FILE.py:FUNCTION that returns a Brevitas module and an example input"
    kinds = f"a .onnx or .tflite file, {function}, or a graph .txt file"
    assert file_error("net.h5") == f"net.h5: no model that codesign knows; allowed: {kinds}"
    expected = "net.py: a Python file without a function; allowed: FILE.py:FUNCTION; try: net.py:model"
    assert file_error("net.py") == expected


def test_a_graph_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "graph.txt"
    path.write_bytes(b"\xff\xfe\xfd")
    assert file_error(path) == f"{path}: cannot be read; allowed: the text form of a graph"


def test_files_without_outputs_or_of_impossible_sizes(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"

    def error(change: Callable[[Any], None]) -> str:
        proto = model([quant("x", "q"), node("Conv", "q w", "c"), quant("c", "y")], w=WEIGHT)
        change(proto.graph)
        onnx.save(proto, str(path))
        return file_error(path).replace(str(path), "FILE")

    found = error(lambda graph: graph.ClearField("output"))
    assert found == "FILE: a model without outputs; allowed: at least one output; try: export it again"
    found = error(lambda graph: graph.node[1].ClearField("output"))
    assert found.endswith(": a Conv node without outputs; allowed: at least one output")

    def enlarge(graph: Any) -> None:
        graph.input[0].type.tensor_type.shape.dim[3].dim_value = 10**9

    limit = "at most 67,108,864; try: export with the sizes of real frames"
    assert error(enlarge) == f"input x: an input of 8,000,000,000 elements; allowed: {limit}"

    def retype(graph: Any) -> None:
        graph.initializer[3].data_type = 99

    expected = "numbers of the unknown type 99; allowed: a type of the ONNX standard; try: export it again"
    assert error(retype) == f"constant w: {expected}"


# -- Python functions ----------------------------------------------------------------------------------------


def function_error(tmp_path: Path, source: str, error: type[CodesignError] = InputError, function: str = "make") -> str:
    path = tmp_path / "net.py"
    path.write_text(source)
    return file_error(f"{path}:{function}", error).replace(str(tmp_path), "DIR")


def test_no_such_function(tmp_path: Path) -> None:
    found = function_error(tmp_path, "def other():\n    pass\n")
    assert found == "DIR/net.py:make: no such function; allowed: other"


def test_a_function_that_raises(tmp_path: Path) -> None:
    found = function_error(tmp_path, "def make():\n    return 1 / 0\n")
    assert (
        found
        == "DIR/net.py:make: raises ZeroDivisionError in line 2: division by zero; allowed: a function that returns"
    )


def test_a_file_that_is_no_python(tmp_path: Path) -> None:
    found = function_error(tmp_path, "def make(:\n")
    assert found.startswith("DIR/net.py:make: raises SyntaxError in line 1: invalid syntax")


def test_a_function_that_exits(tmp_path: Path) -> None:
    found = function_error(tmp_path, "def make():\n    raise SystemExit(3)\n")
    assert found == "DIR/net.py:make: raises SystemExit in line 2: 3; allowed: a function that returns"


def test_a_function_that_returns_something_else(tmp_path: Path) -> None:
    found = function_error(tmp_path, "def make():\n    return 3\n")
    allowed = "a tuple of a Brevitas module and an example input; try: return model, torch.randn(1, 784)"
    assert found == f"DIR/net.py:make: returns int; allowed: {allowed}"


def test_brevitas_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "brevitas", None)
    with pytest.raises(ToolError) as caught:
        import_brevitas(None, None)
    hint = "pip install 'codesign[brevitas]'"
    assert (
        str(caught.value)
        == f"brevitas: not installed: brevitas; allowed: torch, brevitas and onnxoptimizer; try: {hint}"
    )
    assert caught.value.exit_status == 4


@pytest.mark.filterwarnings("ignore")
def test_wrong_modules_and_examples(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("brevitas")

    def error(module: Any, example: Any, kind: type[CodesignError] = InputError) -> str:
        with pytest.raises(kind) as caught:
            import_brevitas(module, example)
        return str(caught.value)

    assert error(3, 4) == "int: a int; allowed: a torch.nn.Module and an example input"
    import brevitas.nn as qnn

    recurrent = qnn.QuantRNN(input_size=4, hidden_size=3)
    found = error(recurrent, torch.ones(1, 2, 4), UnsupportedError)
    assert found.startswith("QuantRNN: the QONNX export of Brevitas refuses the module: ")
    hint = "export_qonnx(module, args=example, dynamo=False) shows the whole error"
    assert found.endswith(f"; allowed: layers that Brevitas exports to QONNX; try: {hint}")
    layer = torch.nn.Linear(4, 2)
    assert error(layer, "x") == "Linear: an example input of type str; allowed: a tensor or an array"
    found = error(layer, torch.ones(1, 5))
    assert found.startswith(
        "Linear: the module does not run on the example input: RuntimeError: mat1 and mat2 shapes cannot be multiplied"
    )
    assert found.endswith("; allowed: an example input of the right shape, with a batch axis")
    found = error(layer, torch.ones(1, 4), UnsupportedError)
    assert found.startswith("Linear: no quantisers: a floating-point model; allowed: Quant, BipolarQuant")


@pytest.mark.filterwarnings("ignore")
def test_a_sum_of_unequal_scales_that_brevitas_refuses() -> None:
    torch = pytest.importorskip("torch")
    qnn = pytest.importorskip("brevitas.nn")

    class Sum(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, tensors: bool) -> None:
            super().__init__()
            self.first = qnn.QuantIdentity(bit_width=4, return_quant_tensor=True)
            self.left, self.right = (qnn.QuantIdentity(bit_width=4, return_quant_tensor=tensors) for _ in range(2))
            self.out = qnn.QuantIdentity(bit_width=4)

        def forward(self, x: Any) -> Any:
            x = self.first(x).value
            return self.out(self.left(x) + self.right(x * 3))

    def sum_of(tensors: bool) -> Any:
        torch.manual_seed(1)
        module = Sum(tensors)
        module.left(torch.randn(8, 4)), module.right(torch.randn(8, 4) * 3)
        return module.eval()

    with pytest.raises(InputError) as caught:
        import_brevitas(sum_of(True), torch.randn(1, 4))
    assert str(caught.value) == (
        "Sum: the module does not run on the example input: RuntimeError: Scaling factors are different; "
        "allowed: a sum of QuantTensors of one scale, or of plain tensors; "
        "try: return_quant_tensor=False in the layers before the sum: unequal scales are then added"
    )
    assert [p.name for p in import_brevitas(sum_of(False), torch.randn(1, 4)).graph.outputs] == ["out"]


def test_the_same_messages_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(model([quant("x", "q"), node("Erf", "q", "y")]), str(path))
    assert file_error(path, UnsupportedError) == f"y: the operator Erf; allowed: {SUPPORTED}"
