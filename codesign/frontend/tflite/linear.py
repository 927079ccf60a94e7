"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED."""

from __future__ import annotations

import numpy as np

from codesign.frontend.problems import Refusal, bad
from codesign.frontend.tflite.context import Layer, frame
from codesign.frontend.tflite.params import Params, Rescale, rescale, rescale_wide, weight_scales
from codesign.frontend.tflite.spatial import padding_of
from codesign.ir.ops import Conv2d, Dense
from codesign.ir.types import IntArray


def conv(layer: Layer) -> None:
    """CONV_2D: reference_integer_ops::ConvPerChannel (kernels/internal/reference/integer_ops/conv.h).

    acc[o] = bias[o] + sum (x - zero_x) * w; y = clamp(acc * (s_x * s_w[o] / s_y) + zero_y), the factor in double
    precision (PopulateConvolutionQuantizationParams, kernels/kernel_util.cc). Pixels outside the image count as 0.
    """
    _check_image(layer)
    weight = _weight(layer, 4)
    per_group = weight.shape[3]
    channels = layer.tensor(0).shape[3]
    if per_group == 0 or channels % per_group:
        raise bad(f"a weight of shape {weight.shape} for {channels} channels", "channels divisible by its last axis")
    _convolve(layer, weight, channels // per_group, 0)


def depthwise(layer: Layer) -> None:
    """DEPTHWISE_CONV_2D: reference_integer_ops::DepthwiseConvPerChannel (integer_ops/depthwise_conv.h).

    As CONV_2D with one input channel for each output: output c * multiplier + m reads channel c. Scales run along
    axis 3 of the weight (1, height, width, outputs).
    """
    _check_image(layer)
    weight = _weight(layer, 4)
    channels, outputs = layer.tensor(0).shape[3], weight.shape[3]
    if weight.shape[0] != 1 or outputs % channels:
        raise bad(
            f"a weight of shape {weight.shape} for {channels} channels", "(1, height, width, channels * multiplier)"
        )
    _convolve(layer, weight.transpose(3, 1, 2, 0), channels, 3)


def _check_image(layer: Layer) -> None:
    layer.image()
    strides = [layer.option(f"{what}_{axis}") for what in ("stride", "dilation") for axis in "hw"]
    if min(strides) < 1:
        raise bad(f"strides and dilations {strides}", "1 or more")


def _convolve(layer: Layer, weight: IntArray, groups: int, axis: int) -> None:
    value, x = layer.x()
    outputs = weight.shape[0]
    factors = x.scale * weight_scales(layer.tensor(1), outputs, axis) / layer.out.scale
    stride = layer.option("stride_h"), layer.option("stride_w")
    dilation = layer.option("dilation_h"), layer.option("dilation_w")
    padding = padding_of(layer, weight.shape[1:3], stride, dilation)
    op = Conv2d(stride, padding, groups, dilation, x.zero_point if any(padding) else 0)
    acc = layer.emit(op, [value], "acc", weight=weight, bias=_bias(layer, weight, x, outputs))
    layer.rescaled_result(acc, _factor(layer, x, factors.tolist()), layer.limits())


def fully_connected(layer: Layer) -> None:
    """FULLY_CONNECTED: reference_integer_ops::FullyConnected and …PerChannel (integer_ops/fully_connected.h).

    acc[o] = bias[o] + sum (x - zero_x) * (w - zero_w); y = clamp(acc * factor + zero_y). With one scale for the whole
    weight the factor is double(float32(s_x * s_w)) / s_y: the product of the scales is rounded to single precision
    (GetQuantizedConvolutionMultipler, kernels/kernel_util.cc). With a scale per output it is that of CONV_2D.
    """
    if layer.option("weights_format"):
        raise Refusal("shuffled weights", "weights in the default format")
    weight = _weight(layer, 2)
    value, x = layer.x()
    outputs, inputs = weight.shape
    scales = weight_scales(layer.tensor(1), outputs, 0)
    if scales.size == 1:
        product = float(x.single * np.float32(scales[0]))
        factors = [product / layer.out.scale]
    else:
        factors = (x.scale * scales / layer.out.scale).tolist()
    size = layer.type(value).size
    if size % inputs:
        raise bad(f"an input of {size} elements for a weight of shape {weight.shape}", f"a multiple of {inputs}")
    rows = size // inputs
    rowed = layer.reshaped(value, (rows, inputs) if rows > 1 else (inputs,), "rows")
    acc = layer.emit(Dense(), [rowed], "acc", weight=weight, bias=_bias(layer, weight, x, outputs))
    acc = layer.reshaped(acc, frame(layer.result().shape), "shaped")
    layer.rescaled_result(acc, _factor(layer, x, factors), layer.limits())


def _weight(layer: Layer, rank: int) -> IntArray:
    """The weight as integers, its zero point subtracted; Refusal for anything but constant int8."""
    tensor, data = layer.tensor(1), layer.tensor(1).data
    if data is None and tensor.kind != "int4":
        raise Refusal(f"the weight {tensor.where!r} that is computed", "a constant")
    if tensor.kind != "int8" or data is None:
        raise Refusal(f"the weight {tensor.where!r} of type {tensor.kind}", "int8")
    if data.ndim != rank or 0 in data.shape:
        raise bad(f"a weight of shape {data.shape}", f"{rank} axes")
    zero = tensor.zero_point if tensor.zero_point.size else np.zeros(1, np.int64)
    # The kernels for int8 convolutions take every zero point as 0; only FULLY_CONNECTED subtracts one.
    if zero.any() and (rank == 4 or zero.size > 1):
        raise bad(f"the weight {tensor.where!r} with the zero point {zero[zero != 0][0]}", "zero points of 0")
    weight: IntArray = data.astype(np.int64) - int(zero[0])
    return weight


def _bias(layer: Layer, weight: IntArray, x: Params, outputs: int) -> IntArray:
    """The bias, or zeros, less the sum of the weights times the input's zero point: the graph's x has none."""
    folded: IntArray = -x.zero_point * weight.reshape(outputs, -1).sum(axis=1)
    tensor = layer.optional(2)
    if tensor is None:
        return folded
    kinds = ("int32", "int64") if x.dtype.bits == 16 else ("int32",)
    if tensor.data is None or tensor.kind not in kinds:
        raise Refusal(f"the bias {tensor.where!r} of type {tensor.kind}", f"constant {' or '.join(kinds)}")
    if tensor.data.size != outputs:
        raise bad(f"a bias of {tensor.data.size} elements", f"{outputs}, one for each output")
    values = tensor.data.astype(np.int64).reshape(-1)
    if max(values.max(), -values.min() - 1) >= 1 << 31:
        raise Refusal(f"the bias {tensor.where!r} from {values.min()} to {values.max()}", "a bias of at most 32 bits")
    return np.asarray(values + folded)


def _factor(layer: Layer, x: Params, factors: list[float]) -> Rescale:
    """The rescaling of the sums: of 64 bits for int16 activations."""
    if x.dtype != layer.out.dtype or not x.dtype.signed:
        raise Refusal(f"{layer.op.name} of {x.dtype} to {layer.out.dtype}", "int8 to int8, or int16 to int16")
    return rescale_wide(factors) if x.dtype.bits == 16 else rescale(factors)
