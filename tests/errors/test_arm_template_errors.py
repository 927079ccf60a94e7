"""A schedule from another core or layer: a message that names the layer and the schedule, no traceback."""

from __future__ import annotations

import numpy as np
import pytest

from codesign.backends.tvm.plan import Policy, plan
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates import make
from codesign.errors import InputError
from codesign.ir.types import IntType
from codesign.target import load_target
from codesign.testing.build import GraphBuilder

TILE = {"rows": 1, "columns": 1, "blocks": 1}


def product() -> Task:
    b = GraphBuilder()
    x = b.input((4, 4, 16), IntType(8, True))
    y = b.conv(x, np.full((4, 1, 1, 16), 100), IntType(8, True))
    return plan(b.graph(y), Policy("int8")).tasks[0]


@pytest.mark.parametrize(
    ("core", "choice"),
    [
        ("cortex-a72", {"template": "lanes", "groups": 4, **TILE}),  # no SDOT
        ("cortex-a76", {"template": "lanes", "groups": 3, **TILE}),  # 16 bytes are no multiple of 12
        ("cortex-a72", {"template": "narrow", "sums": 8, "bits": 8, **TILE}),  # weights too large for sums of 8 bits
        ("cortex-a72", {"template": "widening", "patches": True, **TILE}),  # nothing to copy
        ("host-x86", {"template": "widening", **TILE}),
        ("cortex-a76", {"template": "interleaved", "columns": 1}),  # not depthwise
        ("cortex-a76", {"template": "depthwise", "lanes": 8, "columns": 1}),
    ],
)
def test_a_schedule_that_does_not_fit_is_named(core: str, choice: dict[str, object]) -> None:
    cpu = load_target(core).cpu
    assert cpu is not None
    with pytest.raises(InputError) as caught:
        make(product(), cpu, choice)
    text = str(caught.value)
    assert f"the schedule {choice}" in text
    assert "one that fits the layer" in text
    assert "conv2d1" in text


def test_weights_that_need_more_bits_are_named() -> None:
    cpu = load_target("cortex-a76").cpu
    assert cpu is not None
    with pytest.raises(InputError, match="one whose weights fit their bits"):
        make(product(), cpu, {"template": "lanes", "groups": 4, "bits": 4, **TILE})
