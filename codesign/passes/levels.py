"""Level tables: the exact inverse of the operators that never decrease."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codesign.ir.ops import Op, Requant, Threshold
from codesign.ir.ops.rescale import requant_preimage
from codesign.ir.types import IntArray, IntType


def preimage(op: Op, x: IntType, constants: Sequence[IntArray], targets: IntArray) -> IntArray | None:
    """The smallest input of a Requant or Threshold that gives at least each target.

    x        the type of the input
    targets  (1 or rows, L); the result is (rows, L): x.lo where every input gives the target, x.hi + 1 where none does.
    None for another operator, or for a Requant that decreases in some channel.
    """
    match op:
        case Requant():
            multiplier, shift = constants
            return requant_preimage(op, x, multiplier, shift, targets) if int(multiplier.min()) >= 0 else None
        case Threshold(out):
            (levels,) = constants
            count = levels.shape[1]
            ends = np.full((len(levels), 1), x.lo), np.full((len(levels), 1), x.hi + 1)
            table = np.concatenate([ends[0], np.clip(levels, x.lo, x.hi + 1), ends[1]], axis=1)
            needed = np.clip(-((out.lo - targets) // out.step), 0, count + 1)  # levels to reach, rounded up
            rows = max(len(levels), len(targets))
            table = np.broadcast_to(table, (rows, count + 2))
            return np.take_along_axis(table, np.broadcast_to(needed, (rows, needed.shape[1])), axis=1)
    return None


def fits(levels: IntArray) -> bool:
    """Whether a level table can be a constant: its values need at most 32 bits."""
    try:
        IntType.smallest(int(levels.min()), int(levels.max()))
    except ValueError:
        return False
    return True
