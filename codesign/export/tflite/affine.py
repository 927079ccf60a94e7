"""The weight scale, bias and weight factor with which a TFLite kernel computes a given function of its sum.

A kernel computes, per output channel c, from the sum A of products (x - zero_x) * w,

    q = clamp(round((k*A + B) * M) + zero_y),    M = scale_x * scale_w / scale_y in 32 bits, rounded twice,

where k multiplies the weights (low-bit weights leave room in 8 bits), B is the int32 bias, and scale_w is ours to
choose. A function of A given by levels, q >= j exactly when A >= T[j], is equal to it when for every level that
occurs (h = j - zero_y - 1/2)

    (k*T[j] + B) * M >= h   and   (k*(T[j] - 1) + B) * M < h:

the line w*h - b, w = 1/(k*M) and b = B/k, runs between the points (h, T - 1) and (h, T). Of all such lines the one
with the most room is taken, rounded to an integer B and a float32 scale_w, and proved with the kernel's own rounding
at both sides of every level; the smallest k that can be proved wins, since small weights compress best.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codesign.export.affine import Bounds, Levels, Reals, best_slope, centre, room
from codesign.frontend.tflite.params import Params, rescale, rescale_wide
from codesign.ir.ops.rescale import round_shift
from codesign.ir.types import IntArray

_INT32_MAX = (1 << 31) - 1
_NEIGHBOURS = (0, 1, -1, 2, -2)


@dataclass(frozen=True, eq=False)
class Realisation:
    """factor (C,): what the weights are multiplied by; bias (C,); scale (C,) or (1,): of the weights, float32 values.

    failed  the channels for which nothing could be proved; they have the nearest that was found
    """

    factor: IntArray
    bias: IntArray
    scale: Reals
    failed: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


def same_multiplier(multiplier: IntArray, shift: IntArray, x: Params, out: Params, per_tensor: bool) -> Reals | None:
    """The weight scales (1 or C) from which the kernel derives exactly these multipliers and shifts; None without any.

    per_tensor  FULLY_CONNECTED with one scale, which rounds scale_x * scale_w to float32 first
    """
    wide = x.dtype.bits == 16
    m, s = np.broadcast_arrays(multiplier, shift)
    if per_tensor and len(set(zip(m.tolist(), s.tolist(), strict=True))) > 1:
        return None
    m, s = (m[:1], s[:1]) if per_tensor else (m, s)
    ideal = m.astype(np.float64) / np.exp2(s.astype(np.float64)) * out.scale / x.scale
    found = np.zeros(m.shape)
    open_ = np.ones(m.shape, dtype=bool)
    for step in _NEIGHBOURS:
        scale = _neighbour(ideal, step)
        reals = kernel_factors(x, scale.astype(np.float64), out, per_tensor)
        if not np.isfinite(reals).all() or (reals >= 1 << (15 if wide else 31)).any():
            return None
        by = rescale_wide(reals.tolist()) if wide else rescale(reals.tolist())
        hit = open_ & (by.multiplier == m) & (by.shift == s)
        found[hit] = scale[hit]
        open_ &= ~hit
        if not open_.any():
            return found
    return None


def kernel_factors(x: Params, scale: Reals, out: Params, single_product: bool) -> Reals:
    """The factor between sum and result as the kernel computes it from float32 scales."""
    product = (x.single * scale.astype(np.float32)).astype(np.float64) if single_product else x.scale * scale
    return np.asarray(product / out.scale)


def _neighbour(ideal: Reals, step: int) -> NDArray[np.float32]:
    """The float32 nearest to each number, or one `step` away."""
    scale = ideal.astype(np.float32)
    for _ in range(abs(step)):
        scale = np.nextafter(scale, np.float32(np.inf if step > 0 else 0))
    return scale


def realise(levels: Levels, most_factor: IntArray, x: Params, out: Params, matrix: bool = False) -> Realisation:
    """The realisation for all channels, as far as there is one.

    most_factor  (C,): the largest k for which the weights still fit
    matrix       the kernel is FULLY_CONNECTED, which with a single scale rounds scale_x * scale_w to float32 first
    """
    single_product = matrix and levels.lo.size == 1
    channels = levels.lo.size
    factor, bias, scale = np.ones(channels, np.int64), np.zeros(channels, np.int64), np.zeros(channels)
    left = np.arange(channels)
    single = Bounds.of(levels, left, out.zero_point, np.zeros(channels))
    rough = best_slope(single)
    # The second rounding moves no level by more than one step of the sum, so that more than two are out of reach.
    hopeless = room(single, rough) < -2
    factors = np.where(hopeless, np.minimum(most_factor, 1), most_factor)
    for k in range(1, int(factors.max(initial=0)) + 1):
        rows = left[factors[left] >= k]
        if not rows.size:
            break
        bounds = Bounds.of(levels, rows, out.zero_point, _second_rounding(k * rough[rows], x))
        omega = best_slope(bounds)
        middle = k * centre(*bounds.offsets(omega))
        for rounding in (np.rint, np.floor, np.ceil):
            b = rounding(middle).astype(np.int64)
            slope = bounds.slope(b / k, omega)
            weight = (out.scale / (x.scale * k * slope)).astype(np.float32).astype(np.float64)
            done = _proved(levels, rows, k, b, kernel_factors(x, weight, out, single_product), x, out)
            still = np.isin(rows, left)
            factor[rows[still]], bias[rows[still]], scale[rows[still]] = k, b[still], weight[still]
            left = np.setdiff1d(left, rows[done])
    return Realisation(factor, bias, scale, left)


def _second_rounding(slope: Reals, x: Params) -> Reals:
    """By how much the second of the kernel's two roundings moves the place of a level, in results.

    A multiplier M from 2^-(r+1) to 2^-r rounds first to multiples of 2^-r, then half away from zero to integers: the
    result reaches j > 0 when x * M >= j - 1/2 - 2^-(r+1), and j <= 0 when x * M >= j - 1/2 + 2^-(r+1).
    """
    right = np.floor(np.log2(np.maximum(slope, 1e-9)))  # M = 1 / slope, so 2^-(r+1) <= M < 2^-r
    return np.where((right > 0) & (x.dtype.bits <= 8), np.exp2(-right - 1), 0.0)


def _proved(
    levels: Levels, channels: IntArray, k: int, bias: IntArray, reals: Reals, x: Params, out: Params
) -> NDArray[np.bool_]:
    """Whether the kernel with k, bias and factor, one for each channel, reaches every level exactly where it should."""
    wide = x.dtype.bits == 16
    limit = float(1 << (15 if wide else 31))
    sane = np.isfinite(reals) & (reals < limit) & (np.abs(bias) <= _INT32_MAX)
    reals = np.where(sane, reals, 0.5)
    by = rescale_wide(reals.tolist()) if wide else rescale(reals.tolist())
    lo, hi, at = levels.lo[channels][:, None], levels.hi[channels][:, None], levels.at[channels]
    m, s, b = by.multiplier[:, None], by.shift[:, None], bias[:, None]
    left = np.maximum(0, 31 - s)
    largest = np.maximum(np.abs(k * lo + b), np.abs(k * hi + b)) << (0 if wide else left)
    sane &= (largest <= _INT32_MAX).all(axis=1)

    def kernel(sums: IntArray) -> IntArray:
        product = np.where(sane[:, None], (k * sums + b) * m, 0)
        return np.clip(round_shift(product, s, by.rounding) + out.zero_point, levels.low, levels.high)

    reached = (at > hi) | (kernel(np.clip(at, lo, hi)) >= levels.targets)
    missed = (at <= lo) | (kernel(np.clip(at - 1, lo, hi)) < levels.targets)
    return np.asarray(sane & (reached & missed).all(axis=1))
