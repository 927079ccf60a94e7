"""cs_window: the sliding window that convolution, dense layers, depthwise convolution and pooling read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codesign.backends.rtl.blocks.base import Fabric, Resources
from codesign.backends.rtl.blocks.cost import counter, logic, ram


@dataclass(frozen=True)
class Window:
    """A window of kernel_h x kernel_w pixels over an image of height x width, read `outer` times at each position.

    word_width     bits of an input beat, which is a word of the memory; `folds` words make a pixel
    channel_outer  False: `outer` neuron folds, each reads all words of the window; True: `outer` channel folds, each
                   reads its own word of every pixel
    capacity       words that the circular memory holds
    out_reg        a register more behind the memory
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
    channel_outer: bool
    capacity: int
    style: str = "auto"
    out_reg: bool = False
    module: str = "cs_window"

    @property
    def out_height(self) -> int:
        """Rows of positions."""
        return (self.height - self.kernel_h) // self.stride_h + 1

    @property
    def out_width(self) -> int:
        """Positions of a row."""
        return (self.width - self.kernel_w) // self.stride_w + 1

    @property
    def latency(self) -> int:
        """1 + OutReg cycles from a step to valid_o."""
        return 1 + int(self.out_reg)

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_window."""
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
            "ChannelOuter": int(self.channel_outer),
            "Capacity": self.capacity,
            "Style": self.style,
            "OutReg": int(self.out_reg),
        }

    def memories(self) -> Mapping[str, list[str]]:
        """None: the memory is filled by the stream."""
        return {}

    def resources(self, fabric: Fabric) -> Resources:
        """The memory (`cost.ram`); five loop counters; write, read and start address, offset and occupancy, the last
        four with an addition and a selection of two LUTs a bit, half of it when the memory wraps by itself."""
        run = self.kernel_w if self.channel_outer else self.kernel_w * self.folds
        loops = (run, self.kernel_h, self.outer, self.out_width, self.out_height)
        control = sum((counter(n) for n in loops), counter(self.capacity))
        bits = self.capacity.bit_length()
        wraps = self.capacity & (self.capacity - 1) == 0
        sums = Resources(lut=4 * (1 if wraps else 2) * bits + 8, ff=4 * bits + 5)
        register = Resources(ff=self.word_width * int(self.out_reg))
        return ram(fabric, self.word_width, self.capacity, self.style) + logic(fabric, control + sums) + register
