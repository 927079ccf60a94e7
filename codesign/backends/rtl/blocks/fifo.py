"""cs_fifo: the FIFO with credits at the end of every layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codesign.backends.rtl.blocks.base import Fabric, Resources
from codesign.backends.rtl.blocks.cost import counter, ram, style_of


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
        """Depth 1, 2: that many words of flip-flops, one LUT a bit to choose; else a memory (`cost.ram`), its head's
        bypass (one LUT a bit, and a second register with block RAM), two pointers and two counters."""
        control = counter(self.depth + 1) + Resources(lut=4, ff=2)
        if self.depth <= 2:
            return control + Resources(lut=self.width * (self.depth - 1), ff=self.width * self.depth)
        second = self.width if style_of(fabric, self.width, self.depth, self.style) == "block" else 0
        bypass = Resources(lut=self.width, ff=second)
        pointers = counter(self.depth) + counter(self.depth) + counter(self.depth + 1)
        return control + ram(fabric, self.width, self.depth, self.style) + bypass + pointers
