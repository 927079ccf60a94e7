"""cs_fifo: the FIFO with credits at the end of every layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codesign.backends.rtl.blocks.base import Fabric, Resources
from codesign.backends.rtl.blocks.cost import counter_bits, ram, style_of


@dataclass(frozen=True)
class Fifo:
    """A FIFO of `depth` beats of `width` bits; style: registers, distributed, block, auto. A push is visible one cycle
    later, a pop gives its credit back one cycle later."""

    width: int
    depth: int
    style: str = "auto"
    module: str = "cs_fifo"
    latency: int = 0

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_fifo."""
        return {"Width": self.width, "Depth": self.depth, "Style": self.style}

    def memories(self) -> Mapping[str, list[str]]:
        """None."""
        return {}

    def resources(self, fabric: Fabric) -> Resources:
        """Depth 1, 2: that many words of flip-flops, one LUT a bit to choose; else a memory (`cost.ram`) and its head's
        bypass (one LUT a bit, and a second register with block RAM). Two LUTs per bit of a counter: credits, beats
        stored, and the two pointers."""
        credits = Resources(lut=2 * counter_bits(self.depth + 1), ff=counter_bits(self.depth + 1) + 2)
        if self.depth <= 2:
            return credits + Resources(
                lut=self.width * (self.depth - 1) + 1, ff=self.width * self.depth + self.depth - 1
            )
        second = self.width if style_of(fabric, self.width, self.depth, self.style) == "block" else 0
        bypass = Resources(lut=self.width, ff=second)
        bits = 2 * counter_bits(self.depth) + counter_bits(self.depth + 1)
        return credits + ram(fabric, self.width, self.depth, self.style) + bypass + Resources(lut=2 * bits, ff=bits)
