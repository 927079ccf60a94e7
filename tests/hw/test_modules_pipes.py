"""Every pipe against the operator that it computes, on many types at once, with and without stalls; latencies too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codesign.backends.rtl.blocks.mac import Mac, MacDepthwise
from codesign.backends.rtl.blocks.reduce import Add as AddPipe
from codesign.backends.rtl.blocks.reduce import ArgMax as ArgMaxPipe
from codesign.backends.rtl.blocks.reduce import Max, Sum
from codesign.backends.rtl.blocks.rescale import Requant as RequantPipe
from codesign.backends.rtl.blocks.rescale import Threshold as ThresholdPipe
from codesign.backends.rtl.blocks.window import Window
from codesign.ir.ops import Add, Arg, ArgMax, AvgPool2d, Conv2d, Dense, MaxPool2d, Op, Requant, Rounding, Threshold
from codesign.ir.types import BIPOLAR, IntArray, IntType, TensorType
from tests.hw.pipe_bench import Case, bench, check, random_feed, word_bits

FRAMES = 60
U1, U2, U3, U4, U8, U12 = (IntType(bits, False) for bits in (1, 2, 3, 4, 8, 12))
I1, I2, I3, I5, I8, I11, I20, I32 = (IntType(bits, True) for bits in (1, 2, 3, 5, 8, 11, 20, 32))


def constant(value: IntArray, dtype: IntType | None = None) -> Arg:
    """A constant operand of the smallest type, or of `dtype`."""
    return Arg(TensorType(value.shape, dtype or IntType.smallest(int(value.min()), int(value.max()))), value)


def evaluate(op: Op, x: IntArray, dtype: IntType, *consts: Arg) -> tuple[IntType, IntArray]:
    """The type and the values that the operator gives for a batch `x`."""
    args = [Arg(TensorType(x.shape[1:], dtype)), *consts]
    values = [x, *(arg.constant("a constant") for arg in consts)]
    return op.infer(args).dtype, op.evaluate(values, args)


def folded(x: IntArray, lanes: int) -> IntArray:
    """(frames, …, channels) in stream order: (frames, beats, lanes)."""
    return x.reshape(x.shape[0], -1, lanes)


STEPS, NEURONS, PE = 3, 6, 2


def mac_case(rng: np.random.Generator, a: IntType, w: IntType, simd: int, depth: int, **options: object) -> Case:
    """A dense layer of NEURONS neurons on STEPS * simd inputs, PE neurons at a time."""
    x = random_feed(rng, a, (FRAMES, STEPS * simd))
    weights = random_feed(rng, w, (NEURONS, STEPS * simd))
    bias = rng.integers(-9, 9, NEURONS) if options.pop("bias", False) else None
    consts = [constant(weights, w), *([constant(bias)] if bias is not None else [])]
    acc, golden = evaluate(Dense(), x, a, *consts)
    pipe = Mac(weights, w, bias, a, acc, PE, simd, **options)  # type: ignore[arg-type]
    name = f"mac {a} x {w} simd {simd} {options} {bias is not None}"
    feeds = (folded(x, simd),)
    return Case(name, pipe, ((a, simd),), acc, PE, feeds, folded(golden, PE).reshape(-1, PE), depth)


def mac_cases(rng: np.random.Generator) -> list[Case]:
    lut, dsp = {"mul_style": "lut"}, {"mul_style": "dsp"}
    return [
        mac_case(rng, BIPOLAR, BIPOLAR, 7, 1, bias=True),
        mac_case(rng, BIPOLAR, BIPOLAR, 13, 3, tree_stride=2),
        mac_case(rng, U2, BIPOLAR, 5, 4, bias=True, rom_reg=True),
        mac_case(rng, I3, BIPOLAR, 4, 2, tree_stride=1),
        mac_case(rng, BIPOLAR, I3, 6, 5, bias=True),
        mac_case(rng, BIPOLAR, U2, 3, 8, tree_stride=2, rom_reg=True),
        mac_case(rng, U1, I1, 1, 4, **lut),
        mac_case(rng, U2, I2, 9, 4, **lut, tree_stride=3),
        mac_case(rng, I5, U4, 2, 4, **lut, bias=True),
        mac_case(rng, U8, I8, 3, 4, **lut),
        mac_case(rng, U8, I8, 5, 9, **dsp, rom_reg=True, mul_reg=True, tree_stride=1),
        mac_case(rng, I8, U3, 1, 4, **dsp, mul_reg=True),
        mac_case(rng, U4, U8, 4, 4, **dsp, bias=True),
        mac_case(rng, I3, I5, 6, 4, **dsp, tree_stride=4),
    ]


def reduce_cases(rng: np.random.Generator) -> list[Case]:
    """Maximum, sum and argmax over the STEPS inner steps, each repeated for every outer one."""
    found: list[Case] = []
    for dtype, lanes in ((U4, 3), (I5, 1), (BIPOLAR, 5), (I1, 2), (U1, 2)):
        x = random_feed(rng, dtype, (FRAMES, 1, STEPS, lanes))
        for op in (MaxPool2d((1, STEPS), (1, 1)), AvgPool2d((1, STEPS), (1, 1))):
            acc, golden = evaluate(op, x, dtype)
            pipe = Max(lanes, dtype) if isinstance(op, MaxPool2d) else Sum(lanes, dtype, acc)
            repeated = np.repeat(folded(golden, lanes), NEURONS // PE, axis=1).reshape(-1, lanes)
            name = f"{pipe.module} {dtype}"
            found.append(Case(name, pipe, ((dtype, lanes),), acc, lanes, (folded(x, lanes),), repeated, 2))
    for dtype in (U8, I2, BIPOLAR):
        x = random_feed(rng, dtype, (FRAMES, STEPS))
        out, golden = evaluate(ArgMax(), x, dtype)
        repeated = np.repeat(golden, NEURONS // PE, axis=1).reshape(-1, 1)
        block = ArgMaxPipe(dtype, STEPS, out)
        found.append(Case(f"argmax {dtype}", block, ((dtype, 1),), out, 1, (folded(x, 1),), repeated, 3))
    return found


def depthwise_case(rng: np.random.Generator, a: IntType, w: IntType, lanes: int, **options: object) -> Case:
    """A depthwise layer: two folds of `lanes` channels, STEPS taps."""
    channels = 2 * lanes
    x = random_feed(rng, a, (FRAMES, 1, STEPS, channels))
    weights = random_feed(rng, w, (channels, 1, STEPS, 1))
    bias = rng.integers(-9, 9, channels) if options.pop("bias", False) else None
    consts = [constant(weights, w), *([constant(bias)] if bias is not None else [])]
    acc, golden = evaluate(Conv2d(groups=channels), x, a, *consts)
    pipe = MacDepthwise(weights.reshape(channels, -1), w, bias, a, acc, lanes, **options)  # type: ignore[arg-type]
    name = f"depthwise {a} x {w} lanes {lanes} {options}"
    feeds = (folded(x, lanes),)
    return Case(name, pipe, ((a, lanes),), acc, lanes, feeds, folded(golden, lanes).reshape(-1, lanes))


def depthwise_cases(rng: np.random.Generator) -> list[Case]:
    return [
        depthwise_case(rng, U4, I2, 3, mul_style="lut", bias=True),
        depthwise_case(rng, I8, I8, 1, mul_style="dsp", mul_reg=True, rom_reg=True),
        depthwise_case(rng, BIPOLAR, BIPOLAR, 5),
        depthwise_case(rng, BIPOLAR, I3, 2, bias=True, rom_reg=True),
        depthwise_case(rng, U3, BIPOLAR, 4),
        depthwise_case(rng, I5, U2, 2, mul_style="dsp"),
    ]


CHANNELS = 6


def threshold_case(
    rng: np.random.Generator, a: IntType, out: IntType, lanes: int,
    missing: int = 0, alike: bool = False, reg: bool = False,
) -> Case:  # fmt: skip
    """Levels over the whole range and a little beyond both ends; `missing` fewer than the output could count."""
    x = random_feed(rng, a, (FRAMES, CHANNELS))
    rows = 1 if alike else CHANNELS
    levels = np.sort(rng.integers(a.lo - 1, a.hi + 3, (rows, out.count - 1 - missing)), axis=1)
    _, golden = evaluate(Threshold(out), x, a, constant(levels))
    pipe = ThresholdPipe(np.broadcast_to(levels, (CHANNELS, levels.shape[1])), a, out, lanes, table_reg=reg)
    name = f"threshold {a} to {out} lanes {lanes} missing {missing} alike {alike}"
    repeat = CHANNELS // lanes
    return Case(name, pipe, ((a, lanes),), out, lanes, (folded(x, lanes),), folded(golden, lanes), repeat + 1)


def requant_case(
    rng: np.random.Generator, a: IntType, out: IntType, rounding: Rounding, lanes: int,
    multipliers: tuple[int, int], shifts: tuple[int, int], zero_point: int = 0, alike: bool = False, regs: int = 1,
) -> Case:  # fmt: skip
    """Multipliers and shifts between the given ends; results cover the output range by the caller's choice."""
    x = random_feed(rng, a, (FRAMES, CHANNELS))
    count = 1 if alike else CHANNELS
    m, s = rng.integers(multipliers[0], multipliers[1] + 1, count), rng.integers(shifts[0], shifts[1] + 1, count)
    _, golden = evaluate(Requant(out, rounding, zero_point), x, a, constant(m), constant(s))
    wide = [np.broadcast_to(v, (CHANNELS,)) for v in (m, s)]
    pipe = RequantPipe(wide[0], wide[1], zero_point, rounding, a, out, lanes, mul_regs=regs)
    name = f"requant {a} to {out} {rounding} lanes {lanes} shift {s} zero point {zero_point}"
    return Case(name, pipe, ((a, lanes),), out, lanes, (folded(x, lanes),), folded(golden, lanes), 3)


def add_case(rng: np.random.Generator, a: IntType, b: IntType, lanes: int) -> Case:
    x, y = (random_feed(rng, t, (FRAMES, CHANNELS)) for t in (a, b))
    args = [Arg(TensorType((CHANNELS,), t)) for t in (a, b)]
    out = Add().infer(args).dtype
    golden = folded(Add().evaluate([x, y], args), lanes)
    feeds = (folded(x, lanes), folded(y, lanes))
    return Case(f"add {a} {b}", AddPipe(lanes, a, b, out), ((a, lanes), (b, lanes)), out, lanes, feeds, golden)


def elementwise_cases(rng: np.random.Generator, lanes: int) -> list[Case]:
    half_up, half_even, tflite = Rounding.HALF_UP, Rounding.HALF_EVEN, Rounding.TFLITE_DOUBLE
    return [
        threshold_case(rng, I11, U2, lanes),
        threshold_case(rng, U8, I3, lanes, missing=2, reg=True),
        threshold_case(rng, I5, BIPOLAR, lanes),
        threshold_case(rng, BIPOLAR, BIPOLAR, lanes),
        threshold_case(rng, U1, U1, lanes, alike=True),
        threshold_case(rng, I20, U8, lanes),
        threshold_case(rng, I8, U4, lanes, alike=True, missing=1),
        threshold_case(rng, I1, I2, lanes),
        requant_case(rng, I20, I8, half_up, lanes, (1, 255), (9, 21), zero_point=-3),
        requant_case(rng, I20, U4, half_even, lanes, (-128, 127), (13, 13), zero_point=5, regs=3),
        requant_case(rng, I11, I8, half_even, lanes, (1, 1), (1, 3)),  # one input in two to eight is a tie
        requant_case(rng, I11, I8, half_up, lanes, (1, 1), (1, 3)),
        requant_case(rng, I11, I8, tflite, lanes, (1, 1), (1, 3)),
        requant_case(rng, U12, U8, half_even, lanes, (1, 7), (0, 6)),
        requant_case(rng, I20, I8, tflite, lanes, (1 << 30, (1 << 31) - 1), (30, 43), zero_point=-128),
        requant_case(rng, I32, IntType(32, True), tflite, lanes, (1 << 30, (1 << 31) - 1), (31, 32)),
        requant_case(rng, BIPOLAR, I5, half_up, lanes, (-9, 9), (0, 0), alike=True),
        requant_case(rng, U4, I8, half_up, lanes, (-5, 5), (0, 0), regs=2),
        requant_case(rng, I8, I11, half_even, lanes, (3, 3), (0, 0), alike=True),
        requant_case(rng, I8, U8, half_up, lanes, (1, 100), (50, 62), zero_point=200),
        add_case(rng, U4, U4, lanes),
        add_case(rng, I5, U8, lanes),
        add_case(rng, BIPOLAR, BIPOLAR, lanes),
        add_case(rng, I3, BIPOLAR, lanes),
    ]


def window(
    cases: list[Case], width: int, kernel: int, folds: int, outer: int, channel_outer: bool, reg: bool
) -> Window:
    """A window of one row over an image of one row."""
    return Window(
        word_width=word_bits(cases), height=1, width=width, folds=folds, kernel_h=1, kernel_w=kernel, stride_h=1,
        stride_w=1, outer=outer, channel_outer=channel_outer, capacity=2 * width * folds, out_reg=reg,
    )  # fmt: skip


Setup = Callable[[np.random.Generator], tuple[list[Case], Window, int]]


def dense_setup(rng: np.random.Generator) -> tuple[list[Case], Window, int]:
    cases = mac_cases(rng) + reduce_cases(rng)
    return cases, window(cases, 1, 1, STEPS, NEURONS // PE, False, False), NEURONS // PE


def depthwise_setup(rng: np.random.Generator) -> tuple[list[Case], Window, int]:
    cases = depthwise_cases(rng)
    return cases, window(cases, STEPS, STEPS, 2, 2, True, True), 2


def elementwise_setup(rng: np.random.Generator) -> tuple[list[Case], Window, int]:
    beats = CHANNELS // 2
    cases = elementwise_cases(rng, 2)
    return cases, window(cases, beats, 1, 1, 1, False, False), beats


def scalar_setup(rng: np.random.Generator) -> tuple[list[Case], Window, int]:
    cases = elementwise_cases(rng, 1)
    return cases, window(cases, CHANNELS, 1, 1, 1, False, True), CHANNELS


@pytest.mark.parametrize("setup", [dense_setup, depthwise_setup, elementwise_setup, scalar_setup])
def test_pipes_equal_their_operators(setup: Setup, tmp_path: Path) -> None:
    cases, engine, results = setup(np.random.default_rng(11))
    simulator = bench(tmp_path, engine, cases, results)
    for stall in (0.0, 0.4):
        check(simulator, cases, results, stall)
