"""The Brevitas networks that recipes name. Input: images (N, 1, 28, 28) from 0 to 1; output: ten scores (N, 10)."""

from __future__ import annotations

from collections import OrderedDict

import brevitas.nn as qnn
import torch
from brevitas.core.restrict_val import RestrictValueType
from brevitas.inject.enum import ScalingImplType
from brevitas.quant import (
    Int8WeightPerTensorFloat,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
    Uint8ActPerTensorFloat,
)
from torch import nn

from codesign.train.recipe import Cnn, Mlp

CLASSES = 10
STATISTICS_BATCHES = 20  # forward passes in training mode that set the activations' first scales
SIZE = 28


class ImageQuant(Uint8ActPerTensorFloat):  # type: ignore[misc]
    """Bytes as they are: q = round_half_even(255 * x), the scale being the constant 1/255."""

    scaling_impl_type = ScalingImplType.CONST
    restrict_scaling_type = RestrictValueType.FP
    scaling_init = 1.0


class NarrowWeight(Int8WeightPerTensorFloat):  # type: ignore[misc]
    """Weights from -(2^(b-1) - 1) to 2^(b-1) - 1 in one scale; at 2 bits: -1, 0, +1."""

    narrow_range = True


def build(model: Mlp | Cnn) -> nn.Module:
    """The network that the recipe describes, with random weights."""
    return _mlp(model) if isinstance(model, Mlp) else _cnn(model)


def _weight(bits: int) -> dict[str, object]:
    if bits == 1:
        return {"weight_quant": SignedBinaryWeightPerTensorConst, "bias": False}
    return {"weight_quant": NarrowWeight, "weight_bit_width": bits, "bias": False}


def _activation(bits: int) -> nn.Module:
    """At 1 bit the sign (bipolar), else a ReLU with a learned scale."""
    activation: nn.Module
    if bits == 1:
        activation = qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst)
    else:
        activation = qnn.QuantReLU(bit_width=bits, collect_stats_steps=STATISTICS_BATCHES)
    return activation


def _mlp(model: Mlp) -> nn.Module:
    layers: dict[str, nn.Module] = {
        "image": qnn.QuantIdentity(act_quant=ImageQuant, return_quant_tensor=True),
        "flatten": nn.Flatten(),
    }
    width = SIZE * SIZE
    for i, neurons in enumerate(model.hidden, start=1):
        layers[f"dense{i}"] = qnn.QuantLinear(width, neurons, **_weight(model.weight_bits))
        layers[f"norm{i}"] = nn.BatchNorm1d(neurons)
        layers[f"act{i}"] = _activation(model.activation_bits)
        width = neurons
    layers["scores"] = qnn.QuantLinear(width, CLASSES, **_weight(model.weight_bits))
    return nn.Sequential(OrderedDict(layers))


def _cnn(model: Cnn) -> nn.Module:
    layers: dict[str, nn.Module] = {"image": qnn.QuantIdentity(act_quant=ImageQuant, return_quant_tensor=True)}
    channels, size = 1, SIZE
    for i, wider in enumerate(model.channels, start=1):
        layers[f"conv{i}"] = qnn.QuantConv2d(channels, wider, 3, **_weight(model.weight_bits))
        layers[f"norm{i}"] = nn.BatchNorm2d(wider)
        layers[f"act{i}"] = _activation(model.activation_bits)
        layers[f"pool{i}"] = nn.MaxPool2d(2)
        channels, size = wider, (size - 2) // 2
    layers["flatten"] = nn.Flatten()
    layers["scores"] = qnn.QuantLinear(channels * size * size, CLASSES, **_weight(model.weight_bits))
    return nn.Sequential(OrderedDict(layers))


def example_input() -> torch.Tensor:
    """One black image, for exporting."""
    return torch.zeros(1, 1, SIZE, SIZE)
