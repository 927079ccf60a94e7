"""Operators for ONNX's evaluator: the quantisers it lacks, and those it computes otherwise than the standard says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


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


def custom_operators(domain: str) -> list[Any]:
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


def standard_operators() -> list[Any]:
    """Operators of the standard domain that ONNX 1.21's own evaluator does not compute as the standard says.

    BatchNormalization: before opset 14 it takes a momentum for training mode. (De)QuantizeLinear: none in opset 13.
    Conv: auto_pad is worked out from the batch and channel axes.
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

    class Conv(OpRun):  # type: ignore[misc]
        op_domain = ""

        def _run(self, x: Any, w: Any, bias: Any = None, group: int = 1, **attributes: Any) -> Any:
            view = _windows(x, w.shape[2:], attributes)
            axes = [1, *range(x.ndim, view.ndim)]
            inputs, outputs = w.shape[1], w.shape[0] // group
            parts = [
                np.tensordot(
                    view[:, g * inputs : (g + 1) * inputs],
                    w[g * outputs : (g + 1) * outputs],
                    (axes, list(range(1, w.ndim))),
                )
                for g in range(group)
            ]
            y = np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)
            return ((y if bias is None else y + bias.reshape(-1, *[1] * (x.ndim - 2))).astype(x.dtype),)

    return [BatchNormalization, QuantizeLinear, DequantizeLinear, Conv]


def _windows(x: Any, kernel: Any, attributes: Any) -> Any:
    """All windows of a convolution, (N, C, …positions, …kernel)."""
    rank = len(kernel)
    strides = attributes.get("strides") or [1] * rank
    dilations = attributes.get("dilations") or [1] * rank
    pads = attributes.get("pads") or [0] * (2 * rank)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto = attributes.get("auto_pad") or "NOTSET"
    if auto.startswith("SAME"):
        sizes = zip(x.shape[2:], strides, spans, strict=True)
        total = [max(0, (-(-size // s) - 1) * s + span - size) for size, s, span in sizes]
        less, more = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = [*less, *more] if auto == "SAME_UPPER" else [*more, *less]
    padded = np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    axes = tuple(range(2, 2 + rank))
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, axes)  # type: ignore[call-overload]
    steps = [slice(None, None, n) for n in (*strides, *dilations)]
    return view[(slice(None), slice(None), *steps)]


def _along(values: Any, axis: int, rank: int) -> Any:
    """A per-axis parameter, shaped to broadcast."""
    return values if values.size == 1 else values.reshape([-1 if i == axis % rank else 1 for i in range(rank)])
