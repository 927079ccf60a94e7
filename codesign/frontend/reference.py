"""An ONNX model evaluated in floating point: ONNX's reference implementation, with the quantisers it lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from codesign.frontend.context import Probe
from codesign.ir.types import RealArray


def _limits(bits: Any, signed: int, narrow: int) -> tuple[int, int]:
    width = int(np.asarray(bits).reshape(-1)[0])
    return (-(2 ** (width - 1)) + narrow, 2 ** (width - 1) - 1) if signed else (0, 2**width - 1 - narrow)


def _away(x: Any) -> Any:
    return np.sign(x) * np.ceil(np.abs(x))


_ROUND: dict[str, Callable[[Any], Any]] = {
    "ROUND": np.rint,
    "HALF_EVEN": np.rint,
    "FLOOR": np.floor,
    "CEIL": np.ceil,
    "UP": _away,
    "DOWN": np.trunc,
    "ROUND_TO_ZERO": np.trunc,
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - 0.5),
}


def _operators(domain: str) -> list[Any]:
    """The custom operators of one domain, as classes that ONNX's evaluator takes."""
    from onnx.reference.op_run import OpRun

    class Quant(OpRun):  # type: ignore[misc]
        op_domain = domain

        def _run(
            self,
            x: Any,
            scale: Any,
            zero: Any,
            bits: Any,
            signed: int = 1,
            narrow: int = 0,
            rounding_mode: str = "ROUND",
        ) -> Any:
            u = x / scale + zero
            if int(np.asarray(bits).reshape(-1)[0]) == 1 and signed:
                return (np.where(u >= 0, scale, -scale).astype(x.dtype),)
            q = _ROUND[rounding_mode.upper()](np.clip(u, *_limits(bits, signed, narrow)))
            return (((q - zero) * scale).astype(x.dtype),)

    class IntQuant(Quant):
        pass

    class BipolarQuant(OpRun):  # type: ignore[misc]
        op_domain = domain

        def _run(self, x: Any, scale: Any) -> Any:
            return (np.where(x >= 0, scale, -scale).astype(x.dtype),)

    class Trunc(OpRun):  # type: ignore[misc]
        op_domain = domain

        def _run(
            self,
            x: Any,
            scale: Any,
            zero: Any,
            *rest: Any,
            signed: int = 1,
            narrow: int = 0,
            rounding_mode: str = "FLOOR",
        ) -> Any:
            n = np.rint(x / scale + zero)
            function = _ROUND[rounding_mode.upper()]
            if len(rest) == 2:
                bits_in, bits_out = (float(np.asarray(b).reshape(-1)[0]) for b in rest)
                return (((function(n / 2 ** (bits_in - bits_out)) - zero) * scale).astype(x.dtype),)
            divisor = 2 ** np.rint(np.log2(rest[1] / scale))
            y = function(np.clip(n / divisor, *_limits(rest[-1], signed, narrow)))
            return (((y - zero / divisor) * rest[1]).astype(x.dtype),)

    class MultiThreshold(OpRun):  # type: ignore[misc]
        op_domain = domain

        def _run(self, x: Any, levels: Any, out_scale: float = 1.0, out_bias: float = 0.0, **_: Any) -> Any:
            rows = levels.reshape(levels.shape[0], *[1] * (x.ndim - 2), -1) if x.ndim > 1 else levels
            count = (x[..., None] >= rows).sum(axis=-1)
            return ((count * np.float32(out_scale or 1.0) + np.float32(out_bias or 0.0)).astype(x.dtype),)

    return [Quant, IntQuant, BipolarQuant, Trunc, MultiThreshold]


def _standard_operators() -> list[Any]:
    """Operators of the standard domain that ONNX's own evaluator computes otherwise or not at all in older opsets.

    BatchNormalization: before opset 14 it takes a momentum for training mode. (De)QuantizeLinear: none in opset 13.
    """
    from onnx.reference.op_run import OpRun

    class BatchNormalization(OpRun):  # type: ignore[misc]
        op_domain = ""

        def _run(self, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, epsilon: float = 1e-5, **_: Any) -> Any:
            gamma, beta, mean, var = (p.reshape(-1, *[1] * (x.ndim - 2)) for p in (gamma, beta, mean, var))
            return ((gamma * (x - mean) / np.sqrt(var + np.float32(epsilon)) + beta).astype(x.dtype),)

    class QuantizeLinear(OpRun):  # type: ignore[misc]
        op_domain = ""

        def _run(self, x: Any, scale: Any, zero: Any = None, axis: int = 1, **_: Any) -> Any:
            zero = np.zeros(1, dtype=np.uint8) if zero is None else zero
            q = np.rint(x / _along(scale, axis, x.ndim)) + _along(zero, axis, x.ndim)
            limits = np.iinfo(zero.dtype)
            return (np.clip(q, limits.min, limits.max).astype(zero.dtype),)

    class DequantizeLinear(OpRun):  # type: ignore[misc]
        op_domain = ""

        def _run(self, x: Any, scale: Any, zero: Any = None, axis: int = 1, **_: Any) -> Any:
            offset = 0 if zero is None else _along(zero, axis, x.ndim).astype(np.int64)
            return (((x.astype(np.int64) - offset) * _along(scale, axis, x.ndim)).astype(scale.dtype),)

    return [BatchNormalization, QuantizeLinear, DequantizeLinear]


def _along(values: Any, axis: int, rank: int) -> Any:
    """A per-axis parameter, shaped to broadcast."""
    return values if values.size == 1 else values.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


class OnnxSource:
    """A ModelProto evaluated frame by frame: exported models often hold their batch size in a Reshape."""

    name = "onnx"

    def __init__(self, model: Any) -> None:
        self._model = model

    @cached_property
    def _evaluator(self) -> Any:
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        domains = {node.domain for node in self._model.graph.node} - {"", "ai.onnx", "ai.onnx.ml"}
        operators = [op for domain in sorted(domains) for op in _operators(domain)]
        operators += _standard_operators()
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
        """The outputs, and the tensor of each probe by its position."""
        constants = {t.name for t in self._model.graph.initializer}
        ports = [i for i in self._model.graph.input if i.name not in constants]
        outputs: list[list[Any]] = [[] for _ in self._model.graph.output]
        traced: dict[int, list[Any]] = {i: [] for i in range(len(probes))}
        for frame in range(len(inputs[0])):
            feeds = {p.name: self._feed(p, x[frame : frame + 1]) for p, x in zip(ports, inputs, strict=True)}
            results = self._evaluator.run(None, feeds, intermediate=True)
            for column, output in zip(outputs, self._model.graph.output, strict=True):
                column.append(np.asarray(results[output.name]))
            for i, probe in enumerate(probes):
                traced[i].append(np.asarray(results[probe.tensor]))
        joined = [
            np.stack([np.reshape(f, f.shape[1:] if f.shape[:1] == (1,) else f.shape) for f in c]) for c in outputs
        ]
        return [np.asarray(o, dtype=np.float64) for o in joined], {
            i: np.concatenate(frames).astype(np.float64) for i, frames in traced.items()
        }

    @staticmethod
    def _feed(port: Any, x: Any) -> Any:
        from onnx import helper

        return np.asarray(x).astype(helper.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type))
