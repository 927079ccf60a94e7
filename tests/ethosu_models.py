"""Systems, and models compiled by Vela once for all tests that use them."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import missing
from tflite_models import Writer

from codesign.backends.ethosu.vela import Compiled, Job, Options, System, compile_models
from codesign.errors import ToolError
from codesign.toolchain import require

SYSTEMS = {
    "u55": System("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "u65": System("ethos-u65-256", "Ethos_U65_High_End", "Dedicated_Sram_384KB"),
    "u85": System("ethos-u85-256", "Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
    "u55 in SRAM": System("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Sram_Only"),
}


def mlperf(name: str) -> Path:
    """A model of MLPerf Tiny; the test is skipped without the folder of third-party cases."""
    folder = os.environ.get("CODESIGN_CASES")
    if not folder or not (Path(folder) / "mlperf_tiny").is_dir():
        pytest.skip("the folder of third-party cases is missing: set CODESIGN_CASES")
    return Path(folder) / "mlperf_tiny" / f"{name}.tflite"


@cache
def compiled(model: bytes, system: System, options: Options = Options()) -> tuple[Compiled, Compiled | None]:  # noqa: B008
    """The compiled model and its raw form; None when Vela leaves layers to the CPU."""
    try:
        require("vela")
    except ToolError as error:
        missing(str(error))
    made, raw = compile_models([Job(model, system, options), Job(model, system, options, raw=True)])
    assert not isinstance(made, ToolError)
    return made, None if isinstance(raw, ToolError) else raw


def convolution(w: Writer, x: int, shape: tuple[int, int, int], name: str) -> int:
    """A 3x3 convolution with ReLU that keeps the size, to 8 channels."""
    rng = np.random.default_rng(1)
    weights = w.tensor((8, 3, 3, shape[2]), [0.01] * 8, [0] * 8, data=rng.integers(-127, 127, (8, 3, 3, shape[2])))
    bias = w.tensor((8,), [0.0005] * 8, [0] * 8, kind="int32", data=rng.integers(-99, 99, 8))
    y = w.tensor((1, *shape[:2], 8), 0.05, name=name)
    options = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1, "fusedActivationFunction": 1}
    w.op("CONV_2D", [x, weights, bias], [y], "Conv2DOptions", padding=0, **options)
    return y


def partly_on_the_cpu() -> bytes:
    """Two convolutions with somebody's own operator between them."""
    w = Writer()
    first = convolution(w, w.input((1, 8, 8, 4), name="image"), (8, 8, 4), "first")
    mine = w.tensor((1, 8, 8, 8), 0.05, name="mine")
    w.custom("Mine", [first], [mine])
    return w.model(convolution(w, mine, (8, 8, 8), "last"))


def two_ends() -> bytes:
    """Two inputs of different size and zero point, two outputs in another order than they are computed."""
    w = Writer()
    left, right = w.input((1, 4, 4, 3), name="left"), w.input((1, 1, 1, 3), 0.05, 3, name="right")
    total, product = w.tensor((1, 4, 4, 3), 0.1, name="sum"), w.tensor((1, 4, 4, 3), 0.1, -5, name="product")
    w.op("ADD", [left, right], [total], "AddOptions")
    w.op("MUL", [left, right], [product], "MulOptions")
    return w.model(product, total)


def cascade() -> bytes:
    """Convolutions on a feature map that is large against the arena: Vela runs them stripe by stripe."""
    w = Writer()
    x = w.input((1, 96, 96, 3), name="image")
    for number, channels in enumerate((3, 8, 8)):
        x = convolution(w, x, (96, 96, channels), f"layer{number}")
    return w.model(x)
