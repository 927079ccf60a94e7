"""The networks of the FINN paper's MNIST experiments as Brevitas modules: 784-64-64-64-10, 1 or 2 bits.

    codesign inspect examples/tfc.py:tfc_w1a1
    codesign compile examples/tfc.py:tfc_w2a2 -t pynq-z2 -o build/tfc --require "interval_cycles<=64"

The weights are random: train them with `codesign train`, or load a state of your own in a function like these.
"""

from __future__ import annotations

import torch
from torch import nn

from codesign.train.models import build, example_input
from codesign.train.recipe import Mlp


def tfc_w1a1() -> tuple[nn.Module, torch.Tensor]:
    """Bipolar weights and activations."""
    return _tfc(1, 1)


def tfc_w1a2() -> tuple[nn.Module, torch.Tensor]:
    """Bipolar weights, 2-bit activations."""
    return _tfc(1, 2)


def tfc_w2a2() -> tuple[nn.Module, torch.Tensor]:
    """Weights -1, 0, +1, 2-bit activations."""
    return _tfc(2, 2)


def _tfc(weight_bits: int, activation_bits: int) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    module = build(Mlp((64, 64, 64), weight_bits, activation_bits))
    with torch.no_grad():
        for _ in range(50):  # statistics for the scales and the batch normalisation
            module(torch.rand(64, 1, 28, 28))
    return module.eval(), example_input()
