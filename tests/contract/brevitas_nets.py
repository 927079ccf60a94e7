"""Small Brevitas modules, together every construct that the importer promises to take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brevitas.nn as qnn
import torch
from brevitas.quant import (
    Int8ActPerTensorFixedPoint,
    Int8ActPerTensorFloat,
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFixedPoint,
    Int8WeightPerTensorFloat,
    Int16Bias,
    Int32Bias,
    ShiftedUint8ActPerTensorFloat,
    ShiftedUint8WeightPerChannelFloat,
    ShiftedUint8WeightPerTensorFloat,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
    SignedTernaryWeightPerTensorConst,
    Uint8ActPerTensorFloat,
)
from torch import nn

Net = tuple[Any, tuple[int, ...]]


class Chain(nn.Sequential):
    """Layers one after the other, named by position."""


class Residual(nn.Module):  # type: ignore[misc]
    """y = out(body(x) + skip(x)), the sum in floating point or through a quantised addition."""

    def __init__(self, head: Any, body: Any, skip: Any, out: Any, add: Any = None) -> None:
        super().__init__()
        self.head, self.body, self.skip, self.out, self.add = head, body, skip, out, add

    def forward(self, x: Any) -> Any:
        x = self.head(x)
        a, b = self.body(x), self.skip(x)
        return self.out(self.add(a, b) if self.add is not None else a + b)


class Branches(nn.Module):  # type: ignore[misc]
    """Two convolutions of one tensor, concatenated along the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.inp = inp()
        self.left = qnn.QuantConv2d(2, 3, 3, padding=1, weight_bit_width=3)
        self.left_act = qnn.QuantReLU(bit_width=4)
        self.right = qnn.QuantConv2d(2, 2, 1, weight_bit_width=4)
        self.right_act = qnn.QuantIdentity(bit_width=4)
        self.out = qnn.QuantIdentity(bit_width=4)
        self.fc = qnn.QuantLinear(5 * 25, 3, weight_bit_width=3)

    def forward(self, x: Any) -> Any:
        x = self.inp(x)
        y = torch.cat([self.left_act(self.left(x)), self.right_act(self.right(x))], dim=1)
        return self.fc(torch.flatten(self.out(y), 1))


def inp(bits: int = 4, quant: Any = Int8ActPerTensorFloat) -> Any:
    return qnn.QuantIdentity(bit_width=bits, act_quant=quant, return_quant_tensor=True)


def act(bits: int = 3, quant: Any = Int8ActPerTensorFloat) -> Any:
    return qnn.QuantIdentity(bit_width=bits, act_quant=quant, return_quant_tensor=True)


def relu(bits: int = 3) -> Any:
    return qnn.QuantReLU(bit_width=bits, return_quant_tensor=True)


def linear(i: int, o: int, bits: int = 3, **more: Any) -> Any:
    return qnn.QuantLinear(i, o, bias=more.pop("bias", False), weight_bit_width=bits, **more)


def conv(i: int, o: int, k: int = 3, bits: int = 3, **more: Any) -> Any:
    return qnn.QuantConv2d(i, o, k, bias=more.pop("bias", False), weight_bit_width=bits, **more)


def weights(bits: int, quant: Any, **more: Any) -> Callable[[], Net]:
    return lambda: (Chain(inp(), linear(12, 6, bits, weight_quant=quant, **more), act(), linear(6, 3)), (12,))


def image(*layers: Any, size: int = 6, channels: int = 2) -> Net:
    return Chain(inp(), *layers), (channels, size, size)


def acts(*layers: Any) -> Net:
    return Chain(*layers), (12,)


NETS: dict[str, Callable[[], Net]] = {
    **{f"w{b}_tensor": weights(b, Int8WeightPerTensorFloat) for b in range(2, 9)},
    **{f"w{b}_channel": weights(b, Int8WeightPerChannelFloat) for b in (2, 4, 8)},
    "w1_binary": weights(1, SignedBinaryWeightPerTensorConst),
    "w2_ternary": weights(2, SignedTernaryWeightPerTensorConst),
    "w4_wide_range": weights(4, Int8WeightPerTensorFloat, weight_narrow_range=False),
    "w8_fixed_point": weights(8, Int8WeightPerTensorFixedPoint),
    "w5_zero_point": weights(5, ShiftedUint8WeightPerTensorFloat),
    "w5_zero_point_channel": weights(5, ShiftedUint8WeightPerChannelFloat),
    "act_zero_point": lambda: acts(
        inp(8, ShiftedUint8ActPerTensorFloat), linear(12, 5), act(5, ShiftedUint8ActPerTensorFloat), linear(5, 3)
    ),
    "act_unsigned": lambda: acts(
        inp(8, Uint8ActPerTensorFloat), linear(12, 5), act(4, Uint8ActPerTensorFloat), linear(5, 3)
    ),
    "act_narrow": lambda: acts(
        qnn.QuantIdentity(bit_width=4, narrow_range=True, return_quant_tensor=True),
        linear(12, 5),
        qnn.QuantIdentity(bit_width=3, narrow_range=True, return_quant_tensor=True),
        linear(5, 3),
    ),
    "act_ties": lambda: acts(
        inp(4, Int8ActPerTensorFixedPoint),
        linear(12, 6, weight_quant=Int8WeightPerTensorFixedPoint),
        act(4, Int8ActPerTensorFixedPoint),
        linear(6, 3, weight_quant=Int8WeightPerTensorFixedPoint),
    ),
    "act_bipolar": lambda: acts(
        inp(),
        linear(12, 7, bias=True),
        qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst),
        linear(7, 3, 1, weight_quant=SignedBinaryWeightPerTensorConst),
    ),
    "input_bipolar": lambda: acts(
        qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst), linear(12, 5, bias=True), act(), linear(5, 3)
    ),
    "act_8_bits_float_bias": lambda: acts(inp(8), linear(12, 4, 8, bias=True), act(8), linear(4, 3)),
    "bias_int32": lambda: acts(inp(), linear(12, 5, bias=True, bias_quant=Int32Bias), act(8), linear(5, 3)),
    "bias_int16": lambda: acts(inp(), linear(12, 5, bias=True, bias_quant=Int16Bias), relu(), linear(5, 3, bias=True)),
    "batch_norm": lambda: acts(inp(), linear(12, 8), nn.BatchNorm1d(8), relu(), linear(8, 3)),
    "hard_tanh": lambda: acts(
        inp(),
        linear(12, 5),
        nn.Hardtanh(-0.7, 0.4),
        act(),
        linear(5, 4),
        qnn.QuantHardTanh(bit_width=3, min_val=-1.0, max_val=1.0, return_quant_tensor=True),
        linear(4, 3),
    ),
    "relu_then_signed": lambda: acts(inp(), linear(12, 5), nn.ReLU(), act(), linear(5, 3)),
    "relu6_before_input": lambda: acts(nn.ReLU6(), inp(), linear(12, 3)),
    "affine_before_input": lambda: (Chain(nn.Flatten(), nn.BatchNorm1d(1, affine=False), inp(8), linear(1, 3)), (1,)),
    "dropout": lambda: acts(inp(), linear(12, 5), nn.Dropout(0.5), act(), linear(5, 3)),
    "last_quantised": lambda: acts(inp(), linear(12, 5), act(8)),
    "conv_pool": lambda: image(
        conv(2, 4, padding=1), nn.BatchNorm2d(4), relu(), nn.MaxPool2d(2), nn.Flatten(), linear(36, 3), channels=2
    ),
    "conv_zero_point": lambda: (
        Chain(inp(6, ShiftedUint8ActPerTensorFloat), conv(2, 3, padding=1), relu(), nn.Flatten(), linear(3 * 36, 3)),
        (2, 6, 6),
    ),
    "conv_bipolar_padding": lambda: image(
        conv(2, 3, bias=True),
        qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst),
        conv(3, 2, 3, 1, padding=1, bias=True, weight_quant=SignedBinaryWeightPerTensorConst),
        act(2),
        nn.Flatten(),
        linear(2 * 16, 3),
    ),
    "conv_stride_dilation": lambda: image(conv(2, 3, stride=2, padding=(1, 2), dilation=(2, 1)), act(), size=8),
    "conv_depthwise": lambda: image(
        conv(2, 4, 1), act(), conv(4, 4, 3, groups=4, weight_quant=Int8WeightPerChannelFloat), nn.BatchNorm2d(4), relu()
    ),
    "conv_bias_per_channel": lambda: image(
        conv(2, 4, bias=True, bias_quant=Int32Bias, weight_quant=Int8WeightPerChannelFloat), act(8), conv(4, 2, 1)
    ),
    "conv_groups": lambda: image(conv(2, 4, 1), act(), conv(4, 6, 3, groups=2, bias=True), act()),
    "conv_1d": lambda: (
        Chain(
            inp(),
            qnn.QuantConv1d(3, 4, 3, padding=1, stride=2, bias=True, weight_bit_width=3),
            nn.BatchNorm1d(4),
            relu(),
            nn.Flatten(),
            linear(16, 3),
        ),
        (3, 8),
    ),
    "pool_before_quantiser": lambda: image(
        conv(2, 4), nn.BatchNorm2d(4), nn.MaxPool2d(2), relu(), nn.Flatten(), linear(16, 2)
    ),
    "pool_average": lambda: image(conv(2, 3), relu(4), nn.AvgPool2d(2), act(4), nn.Flatten(), linear(12, 3)),
    "pool_average_3": lambda: image(conv(2, 3), act(4), nn.AvgPool2d(3, stride=1), nn.Flatten(), act(5), linear(12, 3)),
    "pool_average_global": lambda: image(conv(2, 3), relu(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear(3, 3)),
    "pool_trunc_floor": lambda: image(
        conv(2, 3),
        relu(4),
        qnn.TruncAvgPool2d(2, bit_width=4, float_to_int_impl_type="floor"),
        nn.Flatten(),
        linear(12, 3),
    ),
    "pool_trunc_round": lambda: image(
        conv(2, 3),
        act(4),
        qnn.TruncAvgPool2d(2, bit_width=4, float_to_int_impl_type="round"),
        nn.Flatten(),
        linear(12, 3),
    ),
    "flatten_after_norm": lambda: image(conv(2, 3), nn.Flatten(), nn.BatchNorm1d(48), act(), linear(48, 3)),
    "residual_equal": lambda: _residual(shared=True),
    "residual_unequal": lambda: _residual(shared=False),
    "residual_eltwise": lambda: (
        Residual(
            inp(),
            Chain(conv(2, 2, padding=1), act(4)),
            Chain(conv(2, 2, 1), act(4)),
            Chain(nn.Flatten(), linear(32, 3)),
            qnn.QuantEltwiseAdd(bit_width=5),
        ),
        (2, 4, 4),
    ),
    "residual_float": lambda: (
        Residual(
            inp(3),
            Chain(conv(2, 2, padding=1), nn.BatchNorm2d(2)),
            nn.Identity(),
            Chain(relu(3), nn.Flatten(), linear(32, 3)),
        ),
        (2, 4, 4),
    ),
    "concat": lambda: (Branches(), (2, 5, 5)),
    "one_by_one": lambda: image(conv(2, 4, 1, weight_quant=Int8WeightPerChannelFloat), nn.BatchNorm2d(4), relu()),
}


def _residual(shared: bool) -> Net:
    common = act(4)
    one, two = (common, common) if shared else (qnn.QuantIdentity(bit_width=4), qnn.QuantIdentity(bit_width=3))
    body, skip = Chain(conv(2, 2, padding=1), one), Chain(conv(2, 2, 1), two)
    return Residual(inp(), body, skip, Chain(relu(3), nn.Flatten(), linear(32, 3))), (2, 4, 4)


def make(name: str, seed: int = 0) -> tuple[Any, Any]:
    """A calibrated module in evaluation mode, with random statistics (gamma of both signs), and an example input."""
    torch.manual_seed(seed)
    module, shape = NETS[name]()
    for layer in module.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            if layer.affine:
                layer.weight.data.normal_()
                layer.bias.data.normal_()
    module.train()
    module(torch.randn(32, *shape))
    for i, (name, buffer) in enumerate(module.named_buffers()):
        if name.endswith("scaling_impl.buffer"):
            # A scale that was just calibrated is a multiple of the accumulator's step, so that many sums are ties but
            # for the float32 rounding of the source. Training moves it off, and so does this.
            buffer.mul_(0.71 + 0.01 * (i % 7))
    return module.eval(), torch.randn(1, *shape)
