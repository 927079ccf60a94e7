"""cs_window_parallel: the sliding window of a convolution that works on all its kernel's pixels in one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codesign.backends.rtl.blocks.base import Fabric, Resources
from codesign.backends.rtl.blocks.cost import counter, logic, ram


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
        """Line buffers of kernel_h - 1 rows (`cost.ram`), the pixels of every kernel row in shift registers, the loop
        counters.

        Between two pixels are `folds` words. From three on, 6-input fabrics keep all but the first of a row in
        shift-register LUTs of 32 bits (UG474); else every bit is a flip-flop.
        """
        words = self.width * self.folds
        lines = (
            ram(fabric, (self.kernel_h - 1) * self.word_width, words, self.style) if self.kernel_h > 1 else Resources()
        )
        row = self.kernel_h * self.word_width
        if self.folds > 2 and fabric.lut_inputs >= 6:
            taps = Resources(lut=row * (self.kernel_w - 1) * -(-self.folds // 32), ff=row)
        else:
            taps = Resources(ff=row * ((self.kernel_w - 1) * self.folds + 1))
        loops = (words, self.height, self.width, self.folds, self.outer)
        phases = counter(max(self.kernel_h, self.stride_h)) + counter(max(self.kernel_w, self.stride_w))
        control = sum((counter(n) for n in loops), phases + Resources(lut=4, ff=3))
        return lines + taps + logic(fabric, control)
