"""An ONNX model evaluated in floating point by ONNX's reference implementation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from codesign.errors import UnsupportedError
from codesign.frontend.context import Probe
from codesign.frontend.reference_ops import custom_operators, standard_operators
from codesign.ir.types import RealArray

# Operators whose constants often hold the batch size of the export: such models are evaluated frame by frame.
_BATCH_BOUND = ("Reshape", "Shape", "Expand", "Tile")
# Frames evaluated at once in other models.
_FRAMES = 16


def _without_batch(array: Any, frames: int) -> tuple[int, ...]:
    """The shape of a result without its batch axis; some results (an ArgMax) have none."""
    shape = tuple(int(n) for n in np.shape(array))
    return shape[1:] if shape[:1] == (frames,) else shape


class OnnxSource:
    """A ModelProto, evaluated in floating point."""

    name = "onnx"

    def __init__(self, model: Any) -> None:
        self._model = model

    @cached_property
    def _evaluator(self) -> Any:
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        domains = {node.domain for node in self._model.graph.node} - {"", "ai.onnx", "ai.onnx.ml"}
        operators = [op for domain in sorted(domains) for op in custom_operators(domain)]
        operators += standard_operators()
        model = type(self._model)()
        model.CopyFrom(self._model)
        # FINN's files use its domain without importing it, which the evaluator insists on.
        for domain in domains - {o.domain for o in model.opset_import}:
            model.opset_import.append(helper.make_opsetid(domain, 1))
        return ReferenceEvaluator(model, new_ops=operators)

    def evaluate(self, *inputs: Any) -> list[RealArray]:
        """Real outputs, each (N, …), for real inputs in the model's axes."""
        return self.trace((), *inputs)[0]

    def trace(self, probes: Sequence[Probe], *inputs: Any) -> tuple[list[RealArray], Mapping[int, RealArray]]:
        """The outputs, and the tensor of each probe by its position. Raises UnsupportedError where ONNX fails."""
        constants = {t.name for t in self._model.graph.initializer}
        ports = [i for i in self._model.graph.input if i.name not in constants]
        names = [output.name for output in self._model.graph.output]
        outputs: list[list[Any]] = [[] for _ in names]
        traced: dict[int, list[Any]] = {i: [] for i in range(len(probes))}
        step = 1 if any(node.op_type in _BATCH_BOUND for node in self._model.graph.node) else _FRAMES
        for start in range(0, len(inputs[0]), step):
            feeds = {p.name: self._feed(p, x[start : start + step]) for p, x in zip(ports, inputs, strict=True)}
            frames = len(inputs[0][start : start + step])
            results = self._run(feeds)
            for column, name in zip(outputs, names, strict=True):
                column.append(np.asarray(results[name]).reshape(frames, *_without_batch(results[name], frames)))
            for i, probe in enumerate(probes):
                traced[i].append(np.asarray(results[probe.tensor]))
        return [np.concatenate(o).astype(np.float64) for o in outputs], {
            i: np.concatenate(frames).astype(np.float64) for i, frames in traced.items()
        }

    def _run(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            results: Mapping[str, Any] = self._evaluator.run(None, feeds, intermediate=True)
        except Exception as error:
            # Whatever an operator of ONNX's evaluator raises, the import itself is not affected.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            found = f"ONNX's evaluator cannot run it: {reason}"
            raise UnsupportedError.at("source model", found, "a model that onnx.reference evaluates") from error
        return results

    @staticmethod
    def _feed(port: Any, x: Any) -> Any:
        from onnx import helper

        return np.asarray(x).astype(helper.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type))
