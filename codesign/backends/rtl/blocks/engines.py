"""The engines without a memory: they own the flow control of a layer. The tables of their steps are in the header of
each module and in docs/guide/microarchitecture.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codesign.backends.rtl.blocks.base import Fabric, Resources
from codesign.backends.rtl.blocks.cost import counter, logic, multiplexer
from codesign.backends.rtl.blocks.encode import type_parameters, word_literal
from codesign.ir.types import IntType


class _Engine:
    """What all engines have: no latency, no memory files."""

    latency = 0

    def memories(self) -> Mapping[str, list[str]]:
        """None."""
        return {}


@dataclass(frozen=True)
class Skid(_Engine):
    """cs_skid: a stream with registers in both directions, two words of `width` bits."""

    width: int
    module: str = "cs_skid"

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_skid."""
        return {"Width": self.width}

    def resources(self, fabric: Fabric) -> Resources:
        """Two words of flip-flops, one LUT a bit to choose."""
        return Resources(lut=self.width + 3, ff=2 * self.width + 2)


@dataclass(frozen=True)
class Pass(_Engine):
    """cs_pass: hands every beat on."""

    width: int
    module: str = "cs_pass"

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_pass."""
        return {"Width": self.width}

    def resources(self, fabric: Fabric) -> Resources:
        """One gate."""
        return Resources(lut=1)


@dataclass(frozen=True)
class WidthDown(_Engine):
    """cs_width_down: a beat of ratio * out_width bits as `ratio` beats, the low part first."""

    out_width: int
    ratio: int
    module: str = "cs_width_down"

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_width_down."""
        return {"OutWidth": self.out_width, "Ratio": self.ratio}

    def resources(self, fabric: Fabric) -> Resources:
        """A multiplexer of `ratio` inputs and its index."""
        return multiplexer(fabric, self.ratio, self.out_width) + counter(self.ratio) + Resources(lut=2)


@dataclass(frozen=True)
class WidthUp(_Engine):
    """cs_width_up: `ratio` beats of in_width bits as one, the first in the low part."""

    in_width: int
    ratio: int
    module: str = "cs_width_up"

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_width_up."""
        return {"InWidth": self.in_width, "Ratio": self.ratio}

    def resources(self, fabric: Fabric) -> Resources:
        """A shift register of ratio - 1 beats and an index."""
        return Resources(lut=2, ff=self.in_width * (self.ratio - 1)) + counter(self.ratio)


@dataclass(frozen=True)
class Fork(_Engine):
    """cs_fork: every beat to `outputs` streams at once."""

    width: int
    outputs: int
    module: str = "cs_fork"

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_fork."""
        return {"Width": self.width, "Outputs": self.outputs}

    def resources(self, fabric: Fabric) -> Resources:
        """The conjunction of the credits."""
        return Resources(lut=2 * -(-self.outputs // fabric.lut_inputs))


@dataclass(frozen=True)
class Join(_Engine):
    """cs_join: the beats of two streams in pairs."""

    width_a: int
    width_b: int
    module: str = "cs_join"

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_join."""
        return {"WidthA": self.width_a, "WidthB": self.width_b}

    def resources(self, fabric: Fabric) -> Resources:
        """Three gates."""
        return Resources(lut=3)


@dataclass(frozen=True)
class Concat(_Engine):
    """cs_concat: of every pixel folds[i] beats of input i, input after input."""

    width: int
    folds: tuple[int, ...]
    module: str = "cs_concat"

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_concat; Folds packs 32 bits per input."""
        packed = sum(count << (32 * i) for i, count in enumerate(self.folds))
        return {
            "Width": self.width,
            "Inputs": len(self.folds),
            "Folds": word_literal(packed, 32 * len(self.folds)),
        }

    def resources(self, fabric: Fabric) -> Resources:
        """A multiplexer of the inputs, which input, which beat of it."""
        which = counter(len(self.folds)) + counter(max(self.folds)) + Resources(lut=2 * len(self.folds))
        return multiplexer(fabric, len(self.folds), self.width) + which


@dataclass(frozen=True)
class Pad(_Engine):
    """cs_pad: `value` around an image of height x width pixels, `folds` beats of `lanes` elements each.

    Elements come as in_type and leave as out_type, which holds `value` too.
    """

    lanes: int
    in_type: IntType
    out_type: IntType
    height: int
    width: int
    top: int
    left: int
    bottom: int
    right: int
    folds: int
    value: int
    module: str = "cs_pad"

    @property
    def out_height(self) -> int:
        """Rows with the padding."""
        return self.height + self.top + self.bottom

    @property
    def out_width(self) -> int:
        """Columns with the padding."""
        return self.width + self.left + self.right

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_pad."""
        code = int(self.out_type.encode(np.array([self.value]))[0])
        return {
            "Lanes": self.lanes,
            **type_parameters("In", self.in_type),
            "OutBits": self.out_type.bits,
            "Height": self.height,
            "ImageWidth": self.width,
            "Top": self.top,
            "Left": self.left,
            "Bottom": self.bottom,
            "Right": self.right,
            "Folds": self.folds,
            "PadCode": word_literal(code, self.out_type.bits),
        }

    def resources(self, fabric: Fabric) -> Resources:
        """Three counters, comparisons with the image's edges (another 1.5 LUTs a bit), a gate per bit of the beat."""
        place = counter(self.out_height) + counter(self.out_width) + counter(self.folds)
        control = logic(fabric, Resources(lut=2 * place.lut + 4, ff=place.ff + 2))
        return control + Resources(lut=self.lanes * self.out_type.bits)
