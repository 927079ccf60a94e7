"""FIFOs and engines: every bit and every cycle, with memories of all styles and depths, windows of odd shapes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codesign.backends.rtl.actors import least_capacity
from codesign.backends.rtl.blocks.engines import Concat, Fork, Join, Pad, Pass, WidthDown, WidthUp
from codesign.backends.rtl.blocks.mac import Mac
from codesign.backends.rtl.blocks.reduce import Add as AddPipe
from codesign.backends.rtl.blocks.reduce import Max, Sum
from codesign.backends.rtl.blocks.rescale import Requant
from codesign.backends.rtl.blocks.rescale import Threshold as ThresholdPipe
from codesign.backends.rtl.blocks.window import Window
from codesign.backends.rtl.blocks.window_parallel import WindowParallel
from codesign.ir.ops import Rounding
from codesign.ir.ops.base import windows
from codesign.ir.types import BIPOLAR, IntArray, IntType
from codesign.schedule import MemStyle
from tests.hw.layer_chain import Chain, check, random_values

Pair = tuple[int, int]

FRAMES = 7
U4, I2, I8 = IntType(4, False), IntType(2, True), IntType(8, True)


def identity(dtype: IntType, lanes: int, registers: int) -> Requant:
    """A pipe that changes nothing and takes registers + 2 cycles."""
    one, none = np.ones(1, np.int64), np.zeros(1, np.int64)
    return Requant(one, none, 0, Rounding.HALF_UP, dtype, dtype, lanes, mul_regs=registers)


@pytest.mark.parametrize("order", [1, -1])
def test_fifos_of_every_depth_and_style(order: int, tmp_path: Path) -> None:
    """Depths below and above latency + 2, so that credits run out; from the fastest to the slowest and back."""
    chain = Chain(I8, 2, 11)
    styles: list[MemStyle] = ["block", "auto", "registers", "distributed"]
    for i, depth in enumerate([9, 7, 6, 5, 4, 3, 2, 1][::order]):
        pipes = [identity(I8, 2, 1 + i % 3)] if i % 4 else []
        chain.add(Pass(16), pipes, I8, 2, 11, depths=(depth,), style=styles[i % 4])
    x = random_values(1, I8, (FRAMES, 22))
    check(chain.design(), tmp_path, x, x)


def pooled(x: IntArray, kernel: Pair, stride: Pair) -> IntArray:
    """(frames, positions, channels, kernel pixels)."""
    view = windows(x, kernel, stride)
    return view.reshape(*view.shape[:4], -1)


@pytest.mark.parametrize(
    ("style", "out_reg", "spare"), [("block", True, 0), ("distributed", False, 1), ("registers", False, 40)]
)
def test_windows_of_odd_shapes(style: MemStyle, out_reg: bool, spare: int, tmp_path: Path) -> None:
    """Strides beyond the kernel, rows and columns that no window covers, one position, memories just large enough."""

    def window(size: Pair, kernel: Pair, stride: Pair, outer: int, folds: int) -> Window:
        """Folds of channels outermost when `outer` is 0, else `outer` folds of neurons."""
        channel_outer = outer == 0
        made = Window(
            word_width=chain.layers[-1].outputs[0].width, height=size[0], width=size[1], folds=folds,
            kernel_h=kernel[0], kernel_w=kernel[1], stride_h=stride[0], stride_w=stride[1],
            outer=outer or folds, channel_outer=channel_outer, capacity=1, style=style, out_reg=out_reg,
        )  # fmt: skip
        return replace(made, capacity=least_capacity(made) + spare)

    x = random_values(2, U4, (FRAMES, 13, 11, 4))
    chain = Chain(U4, 2, 13 * 11 * 2)
    # 13 x 11 x 4, two folds of channels -> 4 x 3 x 4: one row and one column between windows, two left over
    chain.add(window((13, 11), (2, 3), (3, 4), 0, 2), [Max(2, U4)], U4, 2, 4 * 3 * 2, depths=(3,))
    y = pooled(x, (2, 3), (3, 4)).max(axis=-1)
    # 4 x 3 x 4 -> 2 x 2 x 6: a convolution of kernel 1 x 2 and stride 2 x 1, the last row not covered
    weights = random_values(3, I2, (6, 8))
    acc = IntType(9, True)
    mac = Mac(weights, I2, None, U4, acc, pe=3, simd=2)
    chain.add(window((4, 3), (1, 2), (2, 1), 2, 2), [mac], acc, 3, 2 * 2 * 2, depths=(5,))
    taps = windows(y, (1, 2), (2, 1)).transpose(0, 1, 2, 4, 5, 3).reshape(FRAMES, 2, 2, 8)
    y = taps @ weights.T
    # 2 x 2 x 6 -> 1 x 1 x 6: strides beyond the image
    total = IntType(10, True)
    chain.add(window((2, 2), (2, 1), (5, 3), 0, 2), [Sum(3, acc, total)], total, 3, 2, depths=(2,))
    y = pooled(y, (2, 1), (5, 3)).sum(axis=-1)
    # a dense layer on it, every word read six times
    chain.add(window((1, 1), (1, 1), (1, 1), 6, 2), [mac_of(total, y)], IntType(14, True), 1, 6, depths=(3,))
    golden = y.reshape(FRAMES, 6) @ mac_of(total, y).weights.T
    check(chain.design(), tmp_path, x, golden)


def convolved(x: IntArray, weights: IntArray, stride: Pair) -> IntArray:
    """A convolution without padding; weights (outputs, kernel height, kernel width, channels)."""
    view = windows(x, weights.shape[1:3], stride)
    return np.einsum("nhwcij,oijc->nhwo", view, weights)


def parallel_order(weights: IntArray, lanes: int) -> IntArray:
    """The weights in the order of a parallel window: channel folds outermost, then kernel pixels, then lanes."""
    outputs, kh, kw, channels = weights.shape
    return weights.reshape(outputs, kh * kw, channels // lanes, lanes).swapaxes(1, 2).reshape(outputs, -1)


@pytest.mark.parametrize("style", ["block", "distributed"])
def test_parallel_windows_of_odd_shapes(style: MemStyle, tmp_path: Path) -> None:
    """Neuron folds, channel folds, strides beyond the kernel, leftovers, an image one pixel wide, a 1x1 kernel."""

    def conv(x: IntArray, dtype: IntType, kernel: Pair, stride: Pair, outputs: int, pe: int, lanes: int, acc: IntType,
             depth: int) -> IntArray:  # fmt: skip
        height, width, channels = x.shape[1:]
        weights = random_values(outputs, I2, (outputs, *kernel, channels))
        window = WindowParallel(lanes * dtype.bits, height, width, channels // lanes, *kernel, *stride,
                                outer=outputs // pe, style=style)  # fmt: skip
        mac = Mac(
            parallel_order(weights, lanes), I2, None, dtype, acc, pe, kernel[0] * kernel[1] * lanes, tree_stride=2
        )
        y = convolved(x, weights, stride)
        chain.add(window, [mac], acc, pe, y[0].size // pe, depths=(depth,))
        return y

    x = random_values(8, U4, (FRAMES, 9, 8, 4))
    chain = Chain(U4, 2, 9 * 8 * 2)
    y = conv(x, U4, (3, 2), (2, 3), 3, 3, 2, IntType(10, True), 4)  # two channel folds; 4 x 3 x 3
    y = conv(y, IntType(10, True), (2, 3), (1, 1), 6, 2, 3, IntType(16, True), 2)  # three neuron folds; 3 x 1 x 6
    chain.add(WidthUp(32, 3), [], IntType(16, True), 6, 3, depths=(2,))
    y = conv(y, IntType(16, True), (2, 1), (2, 1), 4, 1, 6, IntType(21, True), 1)  # one pixel wide, one row left over
    chain.add(WidthUp(21, 4), [], IntType(21, True), 4, 1, depths=(2,))
    y = conv(y, IntType(21, True), (1, 1), (4, 4), 2, 1, 4, IntType(25, True), 3)  # nothing but one pixel
    check(chain.design(), tmp_path, x, y.reshape(FRAMES, -1))


def mac_of(dtype: IntType, y: IntArray) -> Mac:
    """Six neurons on the six values of `y`, one at a time, three inputs a step."""
    return Mac(random_values(4, I2, (6, y[0].size)), I2, None, dtype, IntType(14, True), pe=1, simd=3)


def test_beats_that_come_late(tmp_path: Path) -> None:
    """Pixels of three words, each read as soon as it is there; a slow converter behind one that has to wait for it."""
    x = random_values(7, I8, (FRAMES, 5, 6))
    chain = Chain(I8, 2, 15)
    window = Window(16, 1, 5, 3, 1, 1, 1, 1, outer=3, channel_outer=True, capacity=3)
    chain.add(window, [Max(2, I8)], I8, 2, 15, depths=(3,))
    chain.add(WidthUp(16, 3), [], I8, 6, 5, depths=(1,))
    chain.add(WidthDown(8, 6), [], I8, 1, 30, depths=(2,))
    check(chain.design(), tmp_path, x, x)


def test_streams_are_rearranged(tmp_path: Path) -> None:
    """Fork, widths up and down, concatenation of unequal inputs, padding that widens the type, fork and join."""
    height, width, channels = 3, 4, 6
    x = random_values(5, BIPOLAR, (FRAMES, height, width, channels))
    pixels = height * width
    chain = Chain(BIPOLAR, 2, pixels * 3)
    plain, wide, narrow = chain.add(Fork(2, 3), [], BIPOLAR, 2, pixels * 3, depths=(9, 2, 1))
    chain.add(WidthUp(2, 3), [], BIPOLAR, 6, pixels, inputs=(wide,), depths=(1,))
    up = chain.add(WidthDown(1, 6), [], BIPOLAR, 1, pixels * 6, depths=(2,))
    up = chain.add(WidthUp(1, 6), [], BIPOLAR, 6, pixels, inputs=up, depths=(2,))
    up = chain.add(WidthDown(2, 3), [], BIPOLAR, 2, pixels * 3, inputs=up, depths=(3,))
    weights = random_values(6, BIPOLAR, (2, channels))
    acc = IntType(4, True)
    window = Window(2, height, width, 3, 1, 1, 1, 1, outer=1, channel_outer=False, capacity=4)
    sign = ThresholdPipe(np.array([[0], [1]]), acc, BIPOLAR, 2)
    mac = Mac(weights, BIPOLAR, None, BIPOLAR, acc, pe=2, simd=2)
    few = chain.add(window, [mac, sign], BIPOLAR, 2, pixels, inputs=(narrow,), depths=(4,))
    joined = chain.add(Concat(2, (3, 1, 3)), [], BIPOLAR, 2, pixels * 7, inputs=(plain, *few, *up), depths=(3,))
    signs = np.where(x @ weights.T >= np.array([0, 1]), 1, -1)
    y = np.concatenate([x, signs, x], axis=3)
    pad = Pad(2, BIPOLAR, I2, height, width, top=1, left=0, bottom=2, right=1, folds=7, value=0)
    beats = pad.out_height * pad.out_width * 7
    chain.add(pad, [], I2, 2, beats, inputs=joined, depths=(2,))
    y = np.pad(y, ((0, 0), (1, 2), (0, 1), (0, 0)))
    a, b = chain.add(Fork(4, 2), [], I2, 2, beats, depths=(3, 6))
    chain.add(Pass(4), [identity(I2, 2, 1)], I2, 2, beats, inputs=(b,), depths=(4,))
    three = IntType(3, True)
    join = [a, chain.layers[-1].outputs[0].name]
    chain.add(Join(4, 4), [AddPipe(2, I2, I2, three)], three, 2, beats, inputs=join, depths=(3,))
    check(chain.design(), tmp_path, x, 2 * y)
