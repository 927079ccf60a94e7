"""Small TFLite models for tests, written with the schema of LiteRT, and run by its reference kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from conftest import missing
from numpy.typing import NDArray

Array = NDArray[Any]

KINDS = {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "int16": 7, "int8": 9}


def schema() -> Any:
    """LiteRT's classes for the tables of the file; the test ends where LiteRT is missing."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        missing("ai-edge-litert")
        pytest.fail("unreachable")
    return schema_py_generated


class Writer:
    """Adds tensors and operators one by one; tensors are known by their index."""

    def __init__(self) -> None:
        self.s = schema()
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [self._make("Buffer", data=None)]
        self.operators: list[Any] = []
        self.codes: list[Any] = []
        self.inputs: list[int] = []

    def _make(self, table: str, **fields: Any) -> Any:
        made = getattr(self.s, f"{table}T")()
        for name, value in fields.items():
            assert hasattr(made, name), f"{table} has no {name}"
            setattr(made, name, value)
        return made

    def tensor(
        self,
        shape: Sequence[int],
        scale: float | Sequence[float] | None = 0.05,
        zero: int | Sequence[int] = 0,
        kind: str = "int8",
        name: str = "",
        data: Array | None = None,
        axis: int = 0,
        signature: Sequence[int] | None = None,
        is_input: bool = False,
    ) -> int:
        """A tensor; with `data` a constant, with scale None without quantisation."""
        quantization = None
        if scale is not None:
            scales = np.asarray(scale, dtype=np.float32).reshape(-1)
            zeros = np.broadcast_to(np.asarray(zero, dtype=np.int64), scales.shape) if np.ndim(zero) == 0 else zero
            quantization = self._make(
                "QuantizationParameters",
                scale=scales,
                zeroPoint=np.array(zeros, dtype=np.int64),
                quantizedDimension=axis,
            )
        buffer = 0
        if data is not None:
            array = np.asarray(data, dtype=kind)
            self.buffers.append(self._make("Buffer", data=np.frombuffer(array.tobytes(), dtype=np.uint8)))
            buffer = len(self.buffers) - 1
        index = len(self.tensors)
        fields: dict[str, Any] = {
            "shape": np.array(shape, dtype=np.int32),
            "type": KINDS[kind],
            "buffer": buffer,
            "name": name or f"{'t' if data is None else 'const'}{index}",
            "quantization": quantization,
        }
        if signature is not None:
            fields["shapeSignature"] = np.array(signature, dtype=np.int32)
        self.tensors.append(self._make("Tensor", **fields))
        if is_input:
            self.inputs.append(index)
        return index

    def input(self, shape: Sequence[int], scale: float | None = 0.05, zero: int = 0, **more: Any) -> int:
        """An input of the model."""
        return self.tensor(shape, scale, zero, is_input=True, **more)

    def ints(self, values: Any) -> int:
        """A constant of int32: axes, paddings, shapes."""
        array = np.asarray(values, dtype=np.int32)
        return self.tensor(array.shape, None, kind="int32", data=array)

    def op(self, name: str, inputs: Sequence[int], outputs: Sequence[int], table: str = "", **options: Any) -> None:
        """An operator of the built-in `name`, with options of the table `table`."""
        code = getattr(self.s.BuiltinOperator, name)
        self.codes.append(self._make("OperatorCode", builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=1))
        made = self._make(
            "Operator",
            opcodeIndex=len(self.codes) - 1,
            inputs=np.array(inputs, dtype=np.int32),
            outputs=np.array(outputs, dtype=np.int32),
        )
        if table:
            made.builtinOptions = self._make(table, **options)
            made.builtinOptionsType = getattr(self.s.BuiltinOptions, table)
        self.operators.append(made)

    def custom(self, name: str, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """An operator of somebody's own."""
        self.op("CUSTOM", inputs, outputs)
        self.codes[-1].customCode = name

    def model(self, *outputs: int) -> bytes:
        """The file."""
        import flatbuffers

        graph = self._make(
            "SubGraph",
            tensors=self.tensors,
            inputs=np.array(self.inputs, dtype=np.int32),
            outputs=np.array(outputs, dtype=np.int32),
            operators=self.operators,
        )
        model = self._make(
            "Model", version=3, operatorCodes=self.codes, subgraphs=[graph], buffers=self.buffers, description="test"
        )
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def interpreter(data: bytes) -> Any:
    """LiteRT with its reference kernels, every tensor kept."""
    schema()
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    made = Interpreter(
        model_content=data,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    made.allocate_tensors()
    return made


def reference(data: bytes, *feeds: Array) -> dict[str, Array]:
    """Every tensor that LiteRT's reference kernels compute, by name, frame by frame: the first axis are the frames."""
    run = interpreter(data)
    details = [d for d in run.get_tensor_details() if d["name"]]  # the others are the kernels' own
    found: dict[str, list[Array]] = {}
    for frame in range(len(feeds[0])):
        for port, feed in zip(run.get_input_details(), feeds, strict=True):
            run.set_tensor(port["index"], feed[frame].reshape(port["shape"]).astype(port["dtype"]))
        run.invoke()
        for detail in details:
            found.setdefault(detail["name"], []).append(run.get_tensor(detail["index"]).copy())
    return {name: np.stack(frames) for name, frames in found.items()}
