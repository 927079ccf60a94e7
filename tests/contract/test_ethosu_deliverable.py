"""The deliverable compiles, links and holds the bytes that Vela made; its self-test finds every kind of mistake."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import missing
from ethosu_models import SYSTEMS, compiled, convolution, mlperf, partly_on_the_cpu, two_ends
from tflite_models import Writer

from codesign.backends.ethosu.deliverable import GOLDEN_VECTORS, Deliverable, write_deliverable
from codesign.build import example_feeds
from codesign.frontend import import_model
from codesign.ir.graph import Graph

HERE = Path(__file__).parent.parent / "ethosu_app"
MODELS: dict[str, Callable[[], bytes]] = {
    "kws": lambda: mlperf("kws_ref_model").read_bytes(),
    "ad": lambda: mlperf("ad01_int8").read_bytes(),
    "two ends": two_ends,
}
Maker = Callable[[str, str], tuple[Path, Deliverable]]
App = Callable[[str, str], Path]
HOST_SOURCES = ("main.c", "npu.c", "selftest.c", "model.c", "golden.c")


def program(name: str) -> str:
    """A program on PATH; the test ends where it is missing."""
    found = shutil.which(name)
    if found is None:
        missing(name)
    return str(found)


@pytest.fixture(scope="module")
def make_deliverable(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """The deliverable of a model for a system, with four golden vectors; each is made once."""

    @cache
    def make(model: str, system: str) -> tuple[Path, Deliverable]:
        folder = tmp_path_factory.mktemp("deliverable")
        content = MODELS[model]()
        (folder / "source.tflite").write_bytes(content)
        graph = import_model(folder / "source.tflite").graph
        feeds = example_feeds(graph, 6)
        compiled_model, raw = compiled(content, SYSTEMS[system])
        out = folder / "out"
        out.mkdir()
        outputs = graph.evaluate(*feeds)
        return out, write_deliverable(out, compiled_model, raw, SYSTEMS[system], graph, feeds, outputs)

    return make


@pytest.fixture
def app(tmp_path: Path, make_deliverable: Maker) -> App:
    """A copy of the application of a model for a system."""

    def copy(model: str, system: str) -> Path:
        out, _ = make_deliverable(model, system)
        return Path(shutil.copytree(out / "app", tmp_path / "app"))

    return copy


def run(command: Sequence[str | Path], cwd: Path) -> tuple[int, str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def section(object_file: Path, name: str) -> bytes:
    """The contents of a section of an object file."""
    content = object_file.with_suffix(".bin")
    command = [program("arm-none-eabi-objcopy"), "-O", "binary", "-j", name, object_file, content]
    assert run(command, object_file.parent) == (0, "")
    return content.read_bytes()


def link(app: Path, *settings: str) -> Path:
    """The self-test for Cortex-M, linked by the deliverable's own Makefile to a driver that stands in for Arm's."""
    program("arm-none-eabi-gcc")
    command = [program("make"), "-s", f"DRIVER_SOURCES={HERE / 'fake_driver.c'}", "SEMIHOSTING=1", *settings]
    status, text = run(command, app)
    assert status == 0, text
    return next((app / "build").rglob("selftest.elf"))


PAIRS = [(model, system) for model in ("kws", "ad") for system in ("u55", "u65", "u85")] + [("two ends", "u55 in SRAM")]


@pytest.mark.parametrize(("model", "system"), PAIRS)
def test_the_application_compiles_and_holds_the_bytes(
    make_deliverable: Maker, app: App, model: str, system: str
) -> None:
    gcc = program("arm-none-eabi-gcc")
    out, deliverable = make_deliverable(model, system)
    assert deliverable.compiler.startswith("arm-none-eabi-gcc")
    assert deliverable.notes == ()
    assert deliverable.files == tuple(sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()))
    compiled_model, raw = compiled(MODELS[model](), SYSTEMS[system])
    assert raw is not None
    assert (out / "model.tflite").read_bytes() == compiled_model.model
    assert (out / "command_stream.bin").read_bytes() == raw.command_stream
    assert (out / "constants.bin").read_bytes() == raw.read_only
    folder = app(model, system)
    assert run([gcc, "@target.flags", "@compile.flags", "-c", "model.c"], folder) == (0, "")
    axi = 0 if system == "u55 in SRAM" else 1
    contents = [("stream", raw.command_stream), *([("constants", raw.read_only)] if raw.read_only else [])]
    for name, expected in contents:
        found = section(folder / "model.o", f".npu_axi{axi}_{name}")
        assert found == expected + bytes(-len(expected) % 32)


@pytest.mark.parametrize("platform", ["corstone300", "corstone310", "corstone320"])
def test_every_platform_places_what_the_npu_reads(app: App, platform: str) -> None:
    elf = link(app("kws", "u65"), f"PLATFORM={platform}")
    status, text = run([program("arm-none-eabi-nm"), elf], elf.parent)
    assert status == 0
    symbols = {name: int(address, 16) for address, _, name in (line.split() for line in text.splitlines())}
    assert symbols["model_command_stream"] == 0x70000000
    assert symbols["model_arena"] >> 28 == 7  # the arena of Dedicated_Sram is in DRAM, only its cache is not
    assert symbols["model_cache"] == 0x31000000
    assert all(symbols[name] % 32 == 0 for name in ("model_command_stream", "model_constants", "model_arena"))


def test_a_model_without_constants_links(app: App) -> None:
    elf = link(app("two ends", "u55 in SRAM"))
    _, text = run([program("arm-none-eabi-nm"), elf], elf.parent)
    assert "31000000 R model_command_stream" in text
    assert "model_constants" not in text


def test_without_a_driver_make_says_what_is_missing(app: App) -> None:
    program("arm-none-eabi-gcc")
    folder = app("two ends", "u55 in SRAM")
    assert run([program("make"), "-s", "check"], folder) == (0, "")
    status, text = run([program("make"), "-s"], folder)
    assert status == 2
    assert "the driver is missing: make DRIVER=DIR CMSIS=DIR" in text


@pytest.mark.parametrize(("model", "system"), [("kws", "u65"), ("two ends", "u55 in SRAM")])
def test_the_self_test_finds_every_byte_golden(app: App, model: str, system: str) -> None:
    assert host_run(app(model, system), fault=0) == (0, "0 self-test: every output byte is golden\n")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (1, (1, "1 self-test: outputs differ from the golden ones\n")),
        (2, (2, "-2 self-test: a run failed; is this the NPU that the model was compiled for?\n")),
        (3, (2, "-1 self-test: the driver found no NPU\n")),
    ],
)
def test_the_self_test_counts_wrong_bytes(app: App, fault: int, expected: tuple[int, str]) -> None:
    assert host_run(app("two ends", "u55 in SRAM"), fault) == expected


def test_outputs_of_the_run_before_do_not_count(app: App) -> None:
    """A driver that does nothing leaves the arena as it was: no byte of the run before may pass for a result."""
    status, text = host_run(app("two ends", "u55 in SRAM"), fault=4)
    assert status == 1
    assert int(text.split()[0]) > 0.9 * 4 * 2 * 48


def host_run(app: Path, fault: int) -> tuple[int, str]:
    """Exit status and text of the self-test on this machine, with a driver that makes one kind of mistake."""
    sources: list[str | Path] = [*HOST_SOURCES, HERE / "fake_driver.c", HERE / "host_port.c"]
    flags = ["-Wall", "-Wextra", "-Werror", "-fsanitize=undefined,address", "-DPORT_CORSTONE300", "-I."]
    status, text = run([program("gcc"), *flags, f"-DFAKE_FAULT={fault}", *sources, "-o", "selftest"], app)
    assert (status, text) == (0, "")
    return run(["./selftest"], app)


def test_startup_and_interrupt_on_an_emulated_cortex_m55(app: App) -> None:
    """Everything but the NPU: QEMU has the processor and the memories of Corstone-300."""
    if shutil.which("qemu-system-arm") is None:
        pytest.skip("qemu-system-arm is missing")
    elf = link(app("kws", "u65"), "PLATFORM=corstone300")
    quiet = ["-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native"]
    found = run(["qemu-system-arm", "-M", "mps3-an547", *quiet, "-kernel", elf], elf.parent)
    assert found == (0, "self-test: every output byte is golden\n")


def test_golden_vectors_are_the_golden_evaluation(make_deliverable: Maker) -> None:
    out, _ = make_deliverable("two ends", "u55 in SRAM")
    graph = import_model(out.parent / "source.tflite").graph
    feeds = example_feeds(graph, 6)
    for file, values in (("golden_inputs", feeds), ("golden_outputs", graph.evaluate(*feeds))):
        rows = (out / "app" / "data" / f"{file}.inc").read_text().strip("{}, \n").split("},\n{")
        found = [np.array([int(n) for n in re.findall(r"\d+", row)], dtype=np.uint8).view(np.int8) for row in rows]
        assert len(found) == GOLDEN_VECTORS
        for frame, row in enumerate(found):
            np.testing.assert_array_equal(row, np.concatenate([v[frame].reshape(-1) for v in values]))


def test_ports_have_the_addresses_of_vela(make_deliverable: Maker) -> None:
    out, _ = make_deliverable("two ends", "u55 in SRAM")
    _, raw = compiled(two_ends(), SYSTEMS["u55 in SRAM"])
    assert raw is not None
    left, right = (port["address"] for port in raw.result["inputs"])
    scale = float(np.float32(0.05)).hex()
    assert (out / "app" / "data" / "inputs.inc").read_text().splitlines() == [
        f'{{"left", {left}, 48, 1, 4, {{1, 4, 4, 3}}, {scale}f, 0}},',
        f'{{"right", {right}, 3, 1, 4, {{1, 1, 1, 3}}, {scale}f, 3}},',
    ]
    outputs = (out / "app" / "data" / "outputs.inc").read_text().splitlines()
    product, total = (port["address"] for port in raw.result["outputs"])
    assert [line.split(", ")[:2] for line in outputs] == [['{"product"', str(product)], ['{"sum"', str(total)]]


@pytest.mark.parametrize(
    ("model", "system", "defines"),
    [
        ("kws", "u55", "-DETHOSU_ARCH=u55 -DETHOSU_MACS=128 -DNPU_QCONFIG=2 -DNPU_REGIONCFG_0=3 -DNPU_REGIONCFG_1=0"),
        ("two ends", "u55 in SRAM", "-DETHOSU_MACS=128 -DNPU_QCONFIG=0 -DNPU_REGIONCFG_0=0 -DNPU_REGIONCFG_1=0"),
        ("kws", "u65", "-DNPU_QCONFIG=2 -DNPU_REGIONCFG_0=3 -DNPU_REGIONCFG_1=2 -DNPU_REGIONCFG_2=1"),
        ("kws", "u85", "-DNPU_QCONFIG=2 -DNPU_REGIONCFG_0=3 -DNPU_REGIONCFG_1=2 -DNPU_REGIONCFG_2=1"),
    ],
)
def test_the_driver_is_built_for_the_memory_mode(
    make_deliverable: Maker, model: str, system: str, defines: str
) -> None:
    out, _ = make_deliverable(model, system)
    assert f"{defines}\n" in (out / "app" / "data" / "config.mk").read_text()
    readme = (out / "README.md").read_text()
    assert f"`{defines[defines.index('-DNPU') :]}`" in readme
    assert "**Nothing here has run on an NPU**" in readme
    assert "$" not in readme


def test_the_readme_has_the_numbers_of_the_model(make_deliverable: Maker) -> None:
    out, deliverable = make_deliverable("kws", "u65")
    readme = (out / "README.md").read_text()
    for line in (
        "| constants | 31,104 | 0 | 1 | `.npu_axi1_constants` |",
        "| cache | 22,192 | 2 | 0 | `.npu_axi0_cache` |",
        "| input_1 | 0 | 490 | int8 | 1 x 49 x 10 x 1 | (q -83) * 0.584702909 |",
        "| Identity | 0 | 12 | int8 | 1 x 12 | (q +128) * 0.00390625 |",
        "| Reshape 10 |  | 0 | 0.0% | 0.0% |  |",
        f"| all | | {deliverable.layers.op_cycles:,} | | | |",
    ):
        assert f"{line}\n" in readme


def test_layers_on_the_cpu_leave_data_for_an_interpreter(tmp_path: Path) -> None:
    program("arm-none-eabi-gcc")
    content = partly_on_the_cpu()
    graph = one_to_one(tmp_path / "other.tflite")  # somebody's own operator has no golden evaluation
    feeds = example_feeds(graph)
    out = tmp_path / "out"
    out.mkdir()
    model, raw = compiled(content, SYSTEMS["u55"])
    assert raw is None
    names = ["first", "my own", "last"]
    deliverable = write_deliverable(out, model, raw, SYSTEMS["u55"], graph, feeds, graph.evaluate(*feeds), names)
    assert deliverable.notes == (
        "on the CPU: my own; the driver alone cannot run the model, so app/ holds it with golden vectors for "
        "TensorFlow Lite Micro, and no application",
    )
    assert deliverable.compiler.startswith("arm-none-eabi-gcc")
    assert sorted(path.name for path in (out / "app").glob("*.[ch]")) == [
        "flatbuffer.c",
        "flatbuffer.h",
        "golden.c",
        "golden.h",
    ]
    assert "On the CPU stay: my own." in (out / "README.md").read_text()
    assert run([program("arm-none-eabi-gcc"), "-c", "flatbuffer.c"], out / "app") == (0, "")
    found = section(out / "app" / "flatbuffer.o", ".rodata")
    assert found[: len(model.model)] == model.model


def one_to_one(path: Path) -> Graph:
    """A graph from an image of 8x8x4 to one of 8x8x8, as `partly_on_the_cpu` has them."""
    w = Writer()
    path.write_bytes(w.model(convolution(w, w.input((1, 8, 8, 4), name="image"), (8, 8, 4), "last")))
    return import_model(path).graph


def test_without_a_compiler_it_is_said_that_nothing_was_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, raw = compiled(partly_on_the_cpu(), SYSTEMS["u55"])
    graph = one_to_one(tmp_path / "other.tflite")
    feeds = example_feeds(graph)
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "out"
    out.mkdir()
    deliverable = write_deliverable(out, model, raw, SYSTEMS["u55"], graph, feeds, graph.evaluate(*feeds))
    assert deliverable.compiler == ""
    sentence = "the C files were not compiled: arm-none-eabi-gcc is missing (apt install gcc-arm-none-eabi)"
    assert deliverable.notes[1:] == (sentence,)
    assert "The C files were not compiled: no arm-none-eabi-gcc was found." in (out / "README.md").read_text()
