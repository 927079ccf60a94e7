"""SOFTMAX: the table of exponentials is compared, the operations around it are not established."""

from __future__ import annotations

import numpy as np

from codesign.backends.ethosu.audit.result import Verdict
from codesign.backends.ethosu.audit.step import Found, Step
from codesign.ir.ops import Softmax
from codesign.ir.ops.fixed_point import doubling_high_mul, exp_on_negative_values


def audit_softmax(step: Step) -> None:
    """Found: of no operation of a softmax more is established than its table."""
    text = "the arithmetic of SOFTMAX but for its table of exponentials"
    op = next((n.op for n in step.golden.nodes(step.result) if isinstance(n.op, Softmax)), None)
    if op is None or step.op.activation.table is None or step.op.ofm.bits != 32:
        raise Found(Verdict.OPEN, text)
    table = step.table()
    assert table is not None
    # The table's index is the difference to the largest input plus 127: from -255 to 0.
    difference = np.arange(-255, 1)
    inside = difference >= op.diff_min
    scaled = doubling_high_mul(np.where(inside, difference, 0) << op.left_shift, op.multiplier)
    wrong = int((table != np.where(inside, exp_on_negative_values(scaled), 0)).sum())
    if wrong:
        step.differs(f"{wrong} of 256 exponentials differ")
    raise Found(Verdict.OPEN, text)
