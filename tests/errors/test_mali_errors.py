"""What goes wrong around OpenCL: missing parts, a host program that fails or crashes, a damaged deliverable."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import missing

from codesign import toolchain
from codesign.backends.base import RunOptions, ignore_progress
from codesign.backends.tvm.backend import TvmBackend
from codesign.backends.tvm.mali.deliver import HOST, write
from codesign.backends.tvm.mali.run import execute
from codesign.backends.tvm.mali.search import plan_for, schedule
from codesign.errors import InputError, ToolError
from codesign.target import load_target
from codesign.testing.cases import CASES
from codesign.testing.graphs import feeds

APT = "try: apt install gcc pocl-opencl-icd ocl-icd-opencl-dev opencl-headers"


@pytest.fixture(scope="module")
def deliverable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mali")
    graph, target = CASES["add"](), load_target("mali-g52")
    write(out, plan_for(graph, target), schedule(graph, target), target)
    return out


@pytest.fixture
def opencl() -> None:
    try:
        toolchain.require("opencl")
    except ToolError as error:
        missing(str(error))


def run(directory: Path) -> None:
    execute(directory, feeds(CASES["add"](), 1, 1))


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, deliverable: Path) -> None:
    monkeypatch.setenv("CC", "no-such-cc -O2")
    with pytest.raises(ToolError) as caught:
        run(deliverable)
    found = "opencl: not found (CC=no-such-cc -O2 is not a program), needed for running Mali kernels"
    assert str(caught.value) == f"{found}; {APT}"


def test_no_headers(monkeypatch: pytest.MonkeyPatch, deliverable: Path) -> None:
    monkeypatch.setenv("CC", "false")
    with pytest.raises(ToolError) as caught:
        run(deliverable)
    assert str(caught.value) == f"opencl: not found (no CL/cl.h), needed for running Mali kernels; {APT}"


def test_no_platform(monkeypatch: pytest.MonkeyPatch, deliverable: Path, tmp_path: Path, opencl: None) -> None:
    monkeypatch.setenv("OCL_ICD_VENDORS", str(tmp_path))
    with pytest.raises(ToolError) as caught:
        run(deliverable)
    found = f"opencl: not found (no platform in {tmp_path}), needed for running Mali kernels"
    assert str(caught.value) == f"{found}; {APT}"


def test_a_platform_that_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch, deliverable: Path, tmp_path: Path, opencl: None
) -> None:
    (tmp_path / "broken.icd").write_text("/no/such/library.so\n")
    monkeypatch.setenv("OCL_ICD_VENDORS", str(tmp_path))
    with pytest.raises(ToolError) as caught:
        run(deliverable)
    text = "error: OpenCL: there is no platform; install the driver of the device, or pocl-opencl-icd"
    assert f"| {text}" in str(caught.value)
    assert text in log_of(caught.value)


def log_of(error: ToolError) -> str:
    """The content of the log that an error names."""
    found = re.search(r"exit status \d+, log (\S+)", str(error))
    assert found, error
    return Path(found[1]).read_text()


def test_a_host_program_that_does_not_compile(
    monkeypatch: pytest.MonkeyPatch, deliverable: Path, tmp_path: Path, opencl: None
) -> None:
    shutil.copytree(HOST, tmp_path / "host")
    (tmp_path / "host" / "network.c").write_text("this is no C\n")
    monkeypatch.setattr("codesign.backends.tvm.mali.run.HOST", tmp_path / "host")
    with pytest.raises(ToolError) as caught:
        run(deliverable)
    assert "this is no C" in log_of(caught.value)


def test_no_deliverable(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(tmp_path)
    path = tmp_path / "manifest.json"
    found = f"cannot be read: FileNotFoundError [Errno 2] No such file or directory: '{path}'"
    assert str(caught.value) == f"{path}: {found}; try: codesign compile makes a new one"
    path.write_text(json.dumps({"buffers": []}))
    with pytest.raises(InputError, match=r"manifest\.json: cannot be read: KeyError 'inputs'; try: codesign compile"):
        run(tmp_path)


@pytest.fixture
def copied(deliverable: Path, tmp_path: Path) -> Path:
    out = tmp_path / "copy"
    out.mkdir()
    for path in deliverable.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    return out


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        (
            "kernels.cl",
            lambda t: t.replace("__kernel void", "__kernel void 1", 1),
            "clBuildProgram kernels.cl gives -11",
        ),
        ("kernels.cl", lambda t: t.replace("void k0_", "void other_", 1), "OpenCL: clCreateKernel k0_"),
        ("network.txt", lambda t: t.replace("opencl 1", "opencl 2", 1), "network.txt: not of version 1"),
        ("network.txt", lambda t: t[: t.index("steps")], "network.txt: no steps"),
        ("network.txt", lambda t: t[: t.index("inputs")] + "inputs 1 99\n", "network.txt: there is no buffer 99"),
        ("network.txt", lambda t: t.replace("buffers ", "buffers -", 1), "network.txt: -"),
        ("network.txt", lambda t: re.sub(r"(steps \d+\n(\S+ ){7})\d+", r"\g<1>-1", t), "step 0 has -1 arguments"),
        ("network.txt", lambda t: re.sub(r"(\S+ i \d+ \d+) \d+", r"\1 0", t), "has 120 bytes, elements of 0"),
        ("constants.bin", lambda t: t[:1], "constants.bin: ends before "),
    ],
)
def test_damaged_files(copied: Path, name: str, change: object, text: str, opencl: None) -> None:
    path = copied / name
    content = change(path.read_text(encoding="latin-1"))  # type: ignore[operator]
    if name == "network.txt":
        content = content.partition("checksum")[0] + "checksum none\n"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ToolError) as caught:
        run(copied)
    assert text in str(caught.value)
    assert text in log_of(caught.value)


def test_a_buffer_made_smaller(copied: Path, opencl: None) -> None:
    """A kernel would write beyond it."""
    path = copied / "network.txt"
    text = path.read_text()
    path.write_text(re.sub(r"( o) \d+", r"\1 1", text))
    with pytest.raises(ToolError) as caught:
        run(copied)
    told = text.split()[-1]
    found = (
        rf"network.txt: its checksum is \w{{8}}, not {told}: damaged; where it was changed on purpose: checksum none"
    )
    assert re.search(found, str(caught.value))
    path.write_text(text[: text.index("checksum")])
    with pytest.raises(ToolError, match=r"network\.txt: no checksum at its end"):
        run(copied)
    path.write_text(text[: text.index("checksum")] + "checksum none\n")
    run(copied)


@pytest.mark.parametrize("content", ["{}", "[]", '{"target": "mali-g52"}', '{"target": 1, "data": {}}'])
def test_a_build_whose_figures_name_no_target(content: str, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text(content)
    graph = CASES["add"]()
    with pytest.raises(InputError) as caught:
        TvmBackend().run(tmp_path, graph, feeds(graph, 1, 1), RunOptions(), ignore_progress)
    allowed = 'allowed: {"target": "name", "data": {…}, …}; try: codesign compile, which writes it again'
    assert str(caught.value) == f"{path}: damaged: no target; {allowed}"
    path.write_text('{"target": "mali-g52", "data": {}}')
    with pytest.raises(InputError, match=rf"{re.escape(str(path))}: description is missing"):
        TvmBackend().run(tmp_path, graph, feeds(graph, 1, 1), RunOptions(), ignore_progress)


def test_a_crash_is_told(monkeypatch: pytest.MonkeyPatch, copied: Path, tmp_path: Path, opencl: None) -> None:
    """PoCL may crash in its compiler; here the host program kills itself."""
    crash = tmp_path / "host"
    crash.mkdir()
    for path in HOST.iterdir():
        text = path.read_text()
        if path.name == "host.c":
            text = text.replace("network_t network = read_network(paths[0]);", "abort();\n  network_t network = {0};")
        (crash / path.name).write_text(text)
    monkeypatch.setattr("codesign.backends.tvm.mali.run.HOST", crash)
    with pytest.raises(ToolError, match=r"^opencl: killed by signal 6 \(SIGABRT\), log "):
        run(copied)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((".", "inputs.bin"), "usage: "),
        (
            ("-x", "1", ".", "inputs.bin", "o.bin"),
            "there is no option -x; allowed: -e EXPECTED, -a TENSORS, -g ITEMS, -n ",
        ),
        ((".", "nothing.bin", "o.bin"), "nothing.bin: cannot be read"),
        ((".", "odd.bin", "o.bin"), "odd.bin: 7 bytes; allowed: a multiple of 120, the inputs of a frame"),
        (("-e", "odd.bin", ".", "inputs.bin", "o.bin"), "odd.bin: 7 bytes; allowed: 120, the outputs of 1 frames"),
        ((".", "inputs.bin", "no/o.bin"), "no/o.bin: cannot be written"),
        (("a", "b", "c", "d"), "too many arguments"),
    ],
)
def test_the_host_program_s_own_errors(copied: Path, arguments: tuple[str, ...], text: str, opencl: None) -> None:
    from dataclasses import replace

    (copied / "odd.bin").write_bytes(bytes(7))
    (copied / "inputs.bin").write_bytes(np.zeros(120, np.int8).tobytes())
    tool = toolchain.require("opencl")
    log = copied / "log"
    if not (copied / "host").exists():
        toolchain.run(tool, ("host.c", "network.c", "-o", "host", "-lOpenCL"), cwd=copied, log=log)
    host = replace(tool, command=(str(copied / "host"),))
    with pytest.raises(ToolError) as caught:
        toolchain.run(host, arguments, cwd=copied, log=log)
    assert f"| error: {text}" in str(caught.value)
