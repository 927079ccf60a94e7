"""Rules for the tensors of any operator: types, shapes, quantisation."""

from __future__ import annotations

from codesign.backends.ethosu.rules.base import LINEAR, OLDER, POOLS, U85, Rule, View, shape_text
from codesign.frontend.tflite.schema import Tensor

_NO_QUANTISATION = ("ARG_MAX", "EXPAND_DIMS", "MIRROR_PAD", "PAD", "PADV2", "QUANTIZE", "TRANSPOSE")
_ONLY_U85 = ("GATHER", "REDUCE_ALL", "REDUCE_ANY", "SCATTER_ND", "SELECT", "SELECT_V2")
_ANY_ZERO_POINT = (
    "AVERAGE_POOL_2D",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "DIV",
)
_INT32 = (
    "ADD", "ARG_MAX", "BATCH_MATMUL", "EXPAND_DIMS", "FULLY_CONNECTED", "MIRROR_PAD", "MUL", "NEG", "RESHAPE",
    "SQUEEZE", "SUB", "SUM", "TRANSPOSE",
)  # fmt: skip
_INT32_STOPS = (
    "RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "QUANTIZE", "SOFTMAX", "EXP", "RESIZE_NEAREST_NEIGHBOR",
    "RESIZE_BILINEAR", *POOLS,
)  # fmt: skip
_SAME_TYPE = ("LOGISTIC", "TANH", "HARD_SWISH", "SOFTMAX", "LEAKY_RELU", "MAXIMUM", "MINIMUM", *POOLS)


def _quantised(v: View) -> tuple[Tensor, ...]:
    return v.feature_maps + ((v.weights,) if v.weights is not None else ())


def types(v: View) -> str:
    """feature maps of int8, uint8, int16, int32 or int64, on Ethos-U85 also bool"""
    allowed = ("int8", "uint8", "int16", "int32", "int64") + (("bool",) if v.family == "ethos-u85" else ())
    return ", ".join(dict.fromkeys(f"{t.where} is {t.kind}" for t in v.feature_maps if t.kind not in allowed))


def narrow(v: View) -> str:
    """feature maps of 8 or 16 bits for this operator"""
    allowed = ("int32",) if v.op.name in _INT32 else ()
    wide = [t for t in v.feature_maps if t.kind in ("int32", "int64") and t.kind not in allowed]
    return ", ".join(dict.fromkeys(f"{t.where} is {t.kind}" for t in wide))


def narrow_input(v: View) -> str:
    """an input of 8 or 16 bits: Vela 5.2 stops with an error at a wider one"""
    return "" if v.ifm.kind in ("int8", "uint8", "int16") else f"{v.ifm.where} is {v.ifm.kind}"


def no_int64(v: View) -> str:
    """inputs of 8, 16 or 32 bits: Vela 5.2 stops with an error at wider ones"""
    return ", ".join(f"{t.where} is int64" for t in v.feature_maps if t.kind == "int64")


def has_shape(v: View) -> str:
    """feature maps with at least one axis"""
    return ", ".join(f"{t.where} is a scalar" for t in v.feature_maps if not t.shape)


def fixed_shape(v: View) -> str:
    """a size that is not fixed on the first axis only"""
    free = [t for t in v.feature_maps if -1 in t.signature[1:]]
    return ", ".join(f"{t.where} has the shape {shape_text(t.signature).replace('-1', '?')}" for t in free)


def quantised(v: View) -> str:
    """tensors with a scale and a zero point"""
    return ", ".join(f"{t.where} has no scale" for t in _quantised(v) if not t.scale.size)


def per_tensor(v: View) -> str:
    """one scale for the whole tensor, per channel only for weights"""
    return ", ".join(f"{t.where} has {t.scale.size} scales" for t in v.feature_maps if t.scale.size > 1)


def zero_points(v: View) -> str:
    """zero points of 0 for int32, not negative for unsigned types"""
    return ", ".join(
        f"{t.where} ({t.kind}) has the zero point {z}"
        for t in v.feature_maps
        for z in t.zero_point.tolist()
        if (t.kind == "int32" and z) or (t.kind == "uint8" and z < 0)
    )


def zero_points_u85(v: View) -> str:
    """zero points within the type for 8 bits, 0 for inputs of more bits"""
    limits = {"int8": (-128, 127), "uint8": (0, 255)}
    found = [(t, z, limits.get(t.kind, (0, 0))) for t in v.inputs for z in t.zero_point.tolist()]
    found += [(t, z, limits.get(t.kind, (-128, 127))) for t in v.outputs for z in t.zero_point.tolist()]
    return ", ".join(f"{t.where} ({t.kind}) has the zero point {z}" for t, z, (lo, hi) in found if not lo <= z <= hi)


def same_input_types(v: View) -> str:
    """two inputs of the same type"""
    kinds = dict.fromkeys(t.kind for t in v.inputs)
    return " and ".join(kinds) if len(kinds) > 1 else ""


def same_type(v: View) -> str:
    """an output of the input's type"""
    return "" if v.ifm.kind == v.ofm.kind else f"{v.ifm.kind} becomes {v.ofm.kind}"


def same_quantisation(v: View) -> str:
    """one scale and zero point for both inputs and the output"""
    pairs = dict.fromkeys((t.scale.tolist()[0], t.zero_point.tolist()[0]) for t in v.feature_maps if t.scale.size)
    text = ", ".join(f"scale {scale:g} with zero point {zero}" for scale, zero in pairs)
    return text if len(pairs) > 1 else ""


def eight_bits(v: View) -> str:
    """an input of int8 or uint8"""
    return "" if v.ifm.kind in ("int8", "uint8") else f"{v.ifm.where} is {v.ifm.kind}"


def signed(v: View) -> str:
    """an input of int8 or int16"""
    return "" if v.ifm.kind in ("int8", "int16") else f"{v.ifm.where} is {v.ifm.kind}"


def int8_only(v: View) -> str:
    """input and output of int8"""
    return ", ".join(f"{t.where} is {t.kind}" for t in v.feature_maps if t.kind != "int8")


RULES = (
    Rule(types),
    Rule(narrow, families=OLDER, exempt=("ARG_MAX",)),
    Rule(narrow_input, (*LINEAR, *_INT32_STOPS), U85),
    Rule(narrow_input, ("FULLY_CONNECTED",), OLDER),
    Rule(no_int64, ("ADD", "SUB", "MUL"), U85),
    Rule(has_shape),
    Rule(fixed_shape),
    Rule(quantised, exempt=(*_NO_QUANTISATION, *_ONLY_U85)),
    Rule(per_tensor, exempt=LINEAR),
    Rule(zero_points, families=OLDER, exempt=_ANY_ZERO_POINT),
    Rule(zero_points_u85, families=U85, exempt=_ANY_ZERO_POINT),
    Rule(same_input_types, ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM")),
    Rule(same_type, _SAME_TYPE),
    Rule(same_quantisation, ("MAXIMUM", "MINIMUM")),
    Rule(eight_bits, ("HARD_SWISH", "GELU", "ARG_MAX")),
    Rule(signed, ("LOG", "RSQRT")),
    Rule(int8_only, ("ELU",)),
)
