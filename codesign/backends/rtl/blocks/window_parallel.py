"""cs_window_parallel: the sliding window of a convolution that works on all its kernel's pixels in one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codesign.backends.rtl.blocks.base import Fabric, Resources
from codesign.backends.rtl.blocks.cost import counter, ram


@dataclass(frozen=True)
class WindowParallel:
    """All kernel_h x kernel_w pixels of a window over an image of height x width at once, from line buffers.

    word_width  bits of an input beat; `folds` beats make a pixel
    outer       neuron folds, each of which gets the whole window; 1 unless folds is 1
    """

    word_width: int
    height: int
    width: int
    folds: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    outer: int
    style: str = "auto"
    module: str = "cs_window_parallel"
    latency: int = 1

    @property
    def out_bits(self) -> int:
        """Bits of data_o: a word of every pixel of the window."""
        return self.kernel_h * self.kernel_w * self.word_width

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_window_parallel."""
        return {
            "Width": self.word_width,
            "Height": self.height,
            "ImageWidth": self.width,
            "Folds": self.folds,
            "KernelH": self.kernel_h,
            "KernelW": self.kernel_w,
            "StrideH": self.stride_h,
            "StrideW": self.stride_w,
            "Outer": self.outer,
            "Style": self.style,
        }

    def memories(self) -> Mapping[str, list[str]]:
        """None: the line buffers are filled by the stream."""
        return {}

    def resources(self, fabric: Fabric) -> Resources:
        """Line buffers of kernel_h - 1 rows (`cost.ram`), shift registers of every kernel row (a flip-flop per bit, or
        per tap and a shift-register LUT of 16 bits in between), the loop counters."""
        words = self.width * self.folds
        lines = (
            ram(fabric, (self.kernel_h - 1) * self.word_width, words, self.style) if self.kernel_h > 1 else Resources()
        )
        taps = self.kernel_h * self.kernel_w * self.word_width
        between = self.kernel_h * (self.kernel_w - 1) * self.word_width if self.folds > 2 else 0
        delays = -(-max(self.folds - 1, 0) // 16)
        extra = self.kernel_h * (self.kernel_w - 1) * self.word_width if self.folds == 2 else 0
        control = sum(
            (counter(n) for n in (words, self.height, self.width, self.folds, self.outer)), Resources(lut=8, ff=3)
        )
        return lines + control + Resources(lut=between * delays, ff=taps + extra)
