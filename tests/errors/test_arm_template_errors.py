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


LANES = {"template": "lanes", **TILE, "patches": False}


@pytest.mark.parametrize(
    ("core", "choice", "text"),
    [
        ("cortex-a72", {**LANES, "groups": 4, "bits": 8}, "one that fits the layer"),  # no SDOT
        ("cortex-a76", {**LANES, "groups": 3, "bits": 8}, "groups is 3"),  # 16 bytes are no multiple of 12
        ("cortex-a76", {**LANES, "groups": 4, "bits": 4}, "bits is 4"),  # the weights need more
        ("cortex-a76", {**LANES, "groups": 4}, "no key 'bits'; allowed: template, groups, rows"),
        ("cortex-a72", {"template": "widening", **TILE, "patches": True}, "patches is True; allowed: False"),
        ("host-x86", {"template": "widening", **TILE}, "one that fits the layer"),
        ("cortex-a76", {"template": "interleaved", "columns": 1}, "one that fits the layer"),  # not depthwise
        ("cortex-a76", {"template": "depthwise", "lanes": 8, "columns": 1}, "one that fits the layer"),
    ],
)
def test_a_schedule_that_does_not_fit_is_named(core: str, choice: dict[str, object], text: str) -> None:
    cpu = load_target(core).cpu
    assert cpu is not None
    with pytest.raises(InputError) as caught:
        make(product(), cpu, choice)
    assert text in str(caught.value)
    assert "conv2d1" in str(caught.value)
