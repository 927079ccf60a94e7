"""Rules for convolutions and fully connected layers: weights, biases, strides."""

from __future__ import annotations

import math

import numpy as np

from codesign.backends.ethosu.rules.base import LINEAR, OLDER, U85, Rule, View, shape_text
from codesign.backends.ethosu.rules.windows import window_of

_CONVS = ("CONV_2D", "DEPTHWISE_CONV_2D")
WEIGHT_SUM = 127 * (1 << 16)
WEIGHT_SUM_16 = 127 * (1 << 24)
BIAS_BITS = {"ethos-u55": 40, "ethos-u65": 40, "ethos-u85": 48}
DEPTH = 1 << 16


def weight_type(v: View) -> str:
    """weights of 8 bits"""
    there = v.weights is not None and v.weights.kind not in ("int8", "uint8")
    return f"weights of {v.weights.kind}" if there and v.weights is not None else ""


def weight_sum(v: View) -> str:
    """a sum of absolute weights of at most 8,323,072 per output channel; 2,130,706,432 for 16 bits on Ethos-U85"""
    weights = v.weights
    if weights is None or weights.data is None or weights.data.ndim == 0:
        return ""
    data = np.abs(weights.data.astype(np.int64))
    channel = data.ndim - 1 if v.op.name == "DEPTHWISE_CONV_2D" else 0
    largest = int(data.sum(axis=tuple(i for i in range(data.ndim) if i != channel)).max(initial=0))
    wide = v.family == "ethos-u85" and v.ifm.kind == "int16"
    return f"a sum of {largest:,}" if largest > (WEIGHT_SUM_16 if wide else WEIGHT_SUM) else ""


def weight_form(v: View) -> str:
    """weights of one value per output and input: O x 1 x ... x 1 x I"""
    shape = v.weights.shape if v.weights is not None else ()
    return f"weights of {shape_text(shape)}" if math.prod(shape[1:-1]) > 1 else ""


def constant_weights(v: View) -> str:
    """constant weights: Vela 5.2 stops with an error at computed ones"""
    there = v.weights is not None and v.weights.data is None
    return f"{v.weights.where} is computed" if there and v.weights is not None else ""


def computed_weights(v: View) -> str:
    """with computed weights: an int8 input, at most 65,536 inputs and outputs"""
    weights = v.weights
    if weights is None or weights.data is not None:
        return ""
    if v.ifm.kind != "int8":
        return f"{weights.where} is computed, {v.ifm.where} is {v.ifm.kind}"
    return f"{weights.where} is {shape_text(weights.shape)}" if max(weights.shape) > DEPTH else ""


def depth(v: View) -> str:
    """at most 65,536 input channels: Vela 5.2 stops with an error at more"""
    shape = v.weights.shape if v.weights is not None and v.weights.data is not None else ()
    channels = shape[-1] if shape and v.op.name != "DEPTHWISE_CONV_2D" else 0
    return f"{channels:,} input channels" if channels > DEPTH else ""


def constant_bias(v: View) -> str:
    """a constant bias"""
    bias = v.bias
    return f"{bias.where} is computed" if bias is not None and bias.data is None else ""


def bias_type(v: View) -> str:
    """a bias of int32 or int64"""
    bias = v.bias
    return f"{bias.where} is {bias.kind}" if bias is not None and bias.kind not in ("int32", "int64") else ""


def bias_size(v: View) -> str:
    """int64 biases below 2^40, on Ethos-U85 below 2^48"""
    bias = v.bias
    if bias is None or bias.kind != "int64" or bias.data is None or not bias.data.size:
        return ""
    largest = int(bias.data.max())
    return f"a bias of {largest:,}" if largest >= 1 << BIAS_BITS[v.family] else ""


def bias_of_8_bits(v: View) -> str:
    """a bias of int32 for 8-bit inputs: Vela 5.2 stops with an error at int64"""
    wide = v.bias is not None and v.bias.kind == "int64" and v.ifm.kind in ("int8", "uint8")
    return f"{v.bias.where} is int64" if wide and v.bias is not None else ""


def depthwise_stride(v: View) -> str:
    """strides of at most 3"""
    stride = (int(v.op.options["stride_h"]), int(v.op.options["stride_w"]))
    return f"a stride of {stride[0]}x{stride[1]}" if max(stride) > 3 else ""


def conv_stride(v: View) -> str:
    """strides of at most 3; larger ones without padding and without dilation"""
    return window_of(v).large_stride()


RULES = (
    Rule(weight_type, LINEAR),
    Rule(weight_sum, LINEAR),
    Rule(weight_form, ("FULLY_CONNECTED",)),
    Rule(constant_weights, _CONVS, OLDER),
    Rule(computed_weights, ("FULLY_CONNECTED",), OLDER),
    Rule(depth, ("CONV_2D", "FULLY_CONNECTED")),
    Rule(constant_bias, LINEAR),
    Rule(bias_type, LINEAR),
    Rule(bias_size, LINEAR),
    Rule(bias_of_8_bits, LINEAR, U85),
    Rule(depthwise_stride, ("DEPTHWISE_CONV_2D",), OLDER),
    Rule(conv_stride, ("CONV_2D",), OLDER),
)
