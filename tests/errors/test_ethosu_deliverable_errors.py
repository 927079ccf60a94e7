"""What keeps a deliverable from being written, in sentences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ethosu_models import SYSTEMS, compiled, two_ends
from tflite_models import Writer

from codesign.backends.ethosu.cdata import CPort, ports, vectors
from codesign.backends.ethosu.deliverable import check_application
from codesign.backends.ethosu.regions import axi_port
from codesign.errors import InputError, ToolError, UnsupportedError
from codesign.frontend.tflite.schema import read_model
from codesign.ir.graph import Graph, Node, Port
from codesign.ir.ops import Reshape
from codesign.ir.types import IntType, TensorType


def graph(dtype: IntType) -> Graph:
    """Four values that keep their order."""
    port = Port("x", TensorType((4,), dtype))
    return Graph((port,), {}, (Node("y", Reshape((2, 2)), ("x",), "layer"),), (Port("y"),))


def test_vectors_are_the_bytes_of_the_tensors() -> None:
    port = CPort("x", "int8", 0, (1, 4), 0.5, -128)
    rows = vectors([port], [np.array([[0, 1, -128, 127], [5, 0, 0, 7]])])
    assert [list(np.frombuffer(row, np.int8)) for row in rows] == [[0, 1, -128, 127], [5, 0, 0, 7]]
    wide = CPort("x", "int16", 0, (1, 4), 0.5, 0)
    (row,) = vectors([wide], [np.array([[0, -1, 128, 255]])])
    assert list(np.frombuffer(row, "<i2")) == [0, -1, 128, 255]


def test_values_that_do_not_fit_the_tensors() -> None:
    bytes_ = CPort("x", "int8", 0, (1, 4), 0.0, 0)
    with pytest.raises(UnsupportedError) as caught:
        vectors([bytes_], [np.array([[0, 1, 128, 255]])])
    assert str(caught.value) == "x: values from 0 to 255; allowed: int8: -128 to 127"


def test_ends_that_are_no_integers(tmp_path: Path) -> None:
    w = Writer()
    x, y = w.input((1, 4), None, kind="float32", name="x"), w.tensor((1, 4), None, kind="float32", name="y")
    w.op("RELU", [x], [y])
    path = tmp_path / "float.tflite"
    path.write_bytes(w.model(y))
    with pytest.raises(UnsupportedError) as caught:
        ports(read_model(path), graph(IntType(8, True)), None)
    allowed = "int8, uint8, int16, int32"
    assert str(caught.value) == "\n".join(
        f"{name}: a tensor of float32 in the compiled model; allowed: {allowed}" for name in ("x", "y")
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            ("const_mem_area=Axi1\narena_mem_area=Axi0", "arena_mem_area=Axi0"),
            "vela.ini: no const_mem_area for Memory_Mode.Shared_Sram; allowed: Axi0, Axi1",
        ),
        (
            ("const_mem_area=Axi1\narena_mem_area=Axi0", "const_mem_area=OnChip\narena_mem_area=Axi0"),
            "vela.ini: const_mem_area=OnChip in Memory_Mode.Shared_Sram; allowed: Axi0, Axi1",
        ),
    ],
)
def test_a_memory_mode_without_a_port(change: tuple[str, str], sentence: str) -> None:
    system = SYSTEMS["u55"]
    compiled(two_ends(), system)  # ends the test where Vela is missing
    ini = system.text()
    assert change[0] in ini
    with pytest.raises(InputError) as caught:
        axi_port(replace(system, ini=ini.replace(*change)), "const_mem_area")
    assert str(caught.value) == sentence


def test_a_memory_mode_inherits_its_ports() -> None:
    compiled(two_ends(), SYSTEMS["u55"])
    areas = ("const_mem_area", "arena_mem_area", "cache_mem_area")
    assert [axi_port(SYSTEMS["u65"], area) for area in areas] == [1, 1, 0]


def test_a_compiler_that_refuses_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin" / "arm-none-eabi-gcc"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\n[ "$1" = --version ] && echo gcc 1.0 && exit\necho "main.c:1: error: no"; exit 1\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.c").write_text("int main(void) { return 0; }\n")
    with pytest.raises(ToolError) as caught:
        check_application(tmp_path / "app", SYSTEMS["u55"])
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("arm-gcc: failed with exit status 1, log ")
    assert lines[1:] == ["  | main.c:1: error: no"]
