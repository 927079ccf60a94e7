"""A slow evaluation of ONNX models in exact rational arithmetic, written apart from the importer it checks.

Every tensor is a NumPy object array of Fractions; nothing is rounded but by the model's own quantisers.
"""

from __future__ import annotations

from decimal import Decimal, getcontext
from fractions import Fraction
from itertools import product
from math import ceil, floor
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

getcontext().prec = 80


def exact(array: Any) -> Any:
    """The Fractions of an array of numbers."""
    array = np.asarray(array)
    return np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(array) if array.size else array.astype(object)


def half_even(u: Fraction) -> int:
    return round(u)  # Python rounds a Fraction half to even


ROUND = {
    "ROUND": half_even,
    "FLOOR": floor,
    "CEIL": ceil,
    "DOWN": int,
    "HALF_EVEN": half_even,
    "UP": lambda u: ceil(u) if u > 0 else floor(u),
    "HALF_UP": lambda u: floor(u + Fraction(1, 2)) if u > 0 else ceil(u - Fraction(1, 2)),
    "HALF_DOWN": lambda u: ceil(u - Fraction(1, 2)) if u > 0 else floor(u + Fraction(1, 2)),
}


def _each(function: Any, *arrays: Any) -> Any:
    return np.frompyfunc(function, len(arrays), 1)(*arrays)


def _limits(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    return (-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1 - narrow)


def _scalar(array: Any) -> Any:
    return np.asarray(array).reshape(-1)[0]


def quant(x: Any, s: Any, z: Any, bits: Any, a: dict[str, Any]) -> Any:
    if _scalar(bits) == 1 and a.get("signed", 1):
        return _each(lambda v, s: s if v >= 0 else -s, x, s)
    lo, hi = _limits(int(_scalar(bits)), bool(a.get("signed", 1)), bool(a.get("narrow", 0)))
    rounding = ROUND[a.get("rounding_mode", b"ROUND").decode().upper()]
    return _each(lambda v, s, z: (Fraction(rounding(min(max(v / s + z, Fraction(lo)), Fraction(hi)))) - z) * s, x, s, z)


def trunc(x: Any, s: Any, z: Any, rest: list[Any], a: dict[str, Any]) -> Any:
    if len(rest) == 2:  # version 1
        step, rounding = 2 ** int(_scalar(rest[0]) - _scalar(rest[1])), ROUND[a["rounding_mode"].decode().upper()]
        return _each(
            lambda v: (rounding(Fraction(half_even(v / _scalar(s) + _scalar(z)), step)) - _scalar(z)) * _scalar(s), x
        )
    out_scale, bits = _scalar(rest[1]), int(_scalar(rest[2]))
    shift = Fraction(2) ** round(np.log2(float(out_scale / _scalar(s))))
    lo, hi = _limits(bits, bool(a.get("signed", 1)), bool(a.get("narrow", 0)))
    rounding = ROUND[a.get("rounding_mode", b"FLOOR").decode().upper()]

    def one(v: Fraction) -> Fraction:
        n = half_even(v / _scalar(s) + _scalar(z))
        return (rounding(min(max(n / shift, Fraction(lo)), Fraction(hi))) - _scalar(z) / shift) * out_scale

    return _each(one, x)


def normalise(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, epsilon: float) -> Any:
    def root(v: Fraction) -> Fraction:
        v += Fraction(epsilon)
        return Fraction((Decimal(v.numerator) / Decimal(v.denominator)).sqrt())

    shape = (1, -1, *[1] * (x.ndim - 2))
    deviation = _each(root, var)
    return (x - mean.reshape(shape)) * (gamma / deviation).reshape(shape) + beta.reshape(shape)


def _windows(x: Any, kernel: list[int], a: dict[str, Any], fill: Any) -> Any:
    """(N, C, OH, OW, KH * KW) of an image; `fill` pads."""
    strides, pads, dilations = a.get("strides", [1, 1]), a.get("pads", [0] * 4), a.get("dilations", [1, 1])
    n, c, h, w = x.shape
    if a.get("auto_pad", b"NOTSET") != b"NOTSET":
        total = [
            max((ceil(Fraction(v, s)) - 1) * s + k - v, 0) for v, s, k in zip((h, w), strides, kernel, strict=True)
        ]
        less, more = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = [*less, *more] if a["auto_pad"] == b"SAME_UPPER" else [*more, *less]
    padded = np.full((n, c, h + pads[0] + pads[2], w + pads[1] + pads[3]), fill, dtype=object)
    padded[:, :, pads[0] : pads[0] + h, pads[1] : pads[1] + w] = x
    size = [(padded.shape[2 + i] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1 for i in (0, 1)]
    out = np.empty((n, c, *size, kernel[0] * kernel[1]), dtype=object)
    for oy, ox in product(range(size[0]), range(size[1])):
        y, z = oy * strides[0], ox * strides[1]
        block = padded[:, :, y : y + dilations[0] * (kernel[0] - 1) + 1 : dilations[0]]
        block = block[:, :, :, z : z + dilations[1] * (kernel[1] - 1) + 1 : dilations[1]]
        out[:, :, oy, ox] = block.reshape(n, c, -1)
    return out


def conv(x: Any, w: Any, bias: Any, a: dict[str, Any]) -> Any:
    if x.ndim == 3:
        widened = {
            "strides": [1, *a.get("strides", [1])],
            "pads": [0, a.get("pads", [0, 0])[0], 0, a.get("pads", [0, 0])[1]],
            "dilations": [1, *a.get("dilations", [1])],
            "group": a.get("group", 1),
        }
        return conv(x[:, :, None], w[:, :, None], bias, widened)[:, :, 0]
    groups = a.get("group", 1)
    views = _windows(x, list(w.shape[2:]), a, Fraction(0))
    n, c, oh, ow, taps = views.shape
    outputs, per_group = w.shape[0], c // groups
    y = np.empty((n, outputs, oh, ow), dtype=object)
    for o in range(outputs):
        g = o // (outputs // groups)
        part = views[:, g * per_group : (g + 1) * per_group]
        y[:, o] = (part * w[o].reshape(1, per_group, 1, 1, taps)).sum(axis=(1, 4))
    return y if bias is None else y + bias.reshape(1, -1, 1, 1)


def run(model: Any, *feeds: Any) -> dict[str, Any]:
    """Every tensor of a model for exact inputs with a batch axis."""
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    values: dict[str, Any] = {name: exact(array) for name, array in constants.items()}
    inputs = [i.name for i in model.graph.input if i.name not in constants]
    values |= dict(zip(inputs, feeds, strict=True))
    for node in model.graph.node:
        a = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        args = [values[name] for name in node.input if name]
        if node.op_type == "QuantizeLinear":
            info = np.iinfo(constants[node.input[2]].dtype)
            a["limits"] = Fraction(int(info.min)), Fraction(int(info.max))
        values[node.output[0]] = _node(node.op_type, args, a)
    return values


def _along(values: Any, x: Any, a: dict[str, Any]) -> Any:
    """A scale or zero point of QuantizeLinear along its axis."""
    if values.size == 1:
        return values.reshape(-1)[0]
    return values.reshape([-1 if i == a.get("axis", 1) % x.ndim else 1 for i in range(x.ndim)])


def _node(op: str, args: list[Any], a: dict[str, Any]) -> Any:
    x = args[0] if args else None
    match op:
        case "Constant":
            return exact(numpy_helper.to_array(a["value"]))
        case "Quant":
            return quant(x, args[1], args[2], args[3], a)
        case "BipolarQuant":
            return _each(lambda v, s: s if v >= 0 else -s, x, args[1])
        case "Trunc":
            return trunc(x, args[1], args[2], args[3:], a)
        case "QuantizeLinear":
            lo, hi = a["limits"]
            scale, zero = _along(args[1], x, a), _along(args[2], x, a)
            return _each(lambda v, s, z: Fraction(min(max(half_even(v / s) + z, lo), hi)), x, scale, zero)
        case "DequantizeLinear":
            return (x - _along(args[2], x, a)) * _along(args[1], x, a)
        case "Conv":
            return conv(x, args[1], args[2] if len(args) > 2 else None, a)
        case "Gemm":
            y = x @ (args[1].T if a.get("transB") else args[1]) * Fraction(a.get("alpha", 1.0))
            return y + args[2] * Fraction(a.get("beta", 1.0)) if len(args) > 2 else y
        case "MatMul":
            return x @ args[1]
        case "BatchNormalization":
            return normalise(x, *args[1:5], epsilon=a.get("epsilon", 1e-5))
        case "Relu":
            return _each(lambda v: max(v, Fraction(0)), x)
        case "Clip":
            return _each(lambda v: min(max(v, _scalar(args[1])), _scalar(args[2])), x)
        case "Sign":
            return _each(lambda v: Fraction((v > 0) - (v < 0)), x)
        case "Add":
            return x + args[1]
        case "Sub":
            return x - args[1]
        case "Mul":
            return x * args[1]
        case "Div":
            return x / args[1]
        case "MaxPool":
            return _windows(x, a["kernel_shape"], a, Fraction(-(10**9))).max(axis=-1)
        case "AveragePool":
            area = a["kernel_shape"][0] * a["kernel_shape"][1]
            return _windows(x, a["kernel_shape"], a, Fraction(0)).sum(axis=-1) / area
        case "GlobalAveragePool":
            return x.sum(axis=(2, 3), keepdims=True) / (x.shape[2] * x.shape[3])
        case "ReduceMean":
            return x.sum(axis=(2, 3), keepdims=bool(a.get("keepdims", 1))) / (x.shape[2] * x.shape[3])
        case "Flatten":
            return x.reshape(len(x), -1)
        case "Reshape":
            return x.reshape(len(x), *[int(n) for n in args[1]][1:])
        case "Transpose":
            return x.transpose(a["perm"])
        case "Concat":
            return np.concatenate(args, axis=a["axis"])
        case "Identity" | "Cast" | "Dropout":
            return x
        case "Neg":
            return -x
        case "Pad":
            half = len(args[1]) // 2
            sides = [(int(p), int(q)) for p, q in zip(args[1][:half], args[1][half:], strict=True)]
            return np.pad(x, sides, constant_values=_scalar(args[2]))
    raise NotImplementedError(op)
