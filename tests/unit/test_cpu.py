"""The table [cpu]: every shipped core is complete, and a bad one says everything that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from codesign.backends.tvm import cores
from codesign.backends.tvm import cpu as module
from codesign.backends.tvm.cpu import FIGURES, Cpu
from codesign.errors import InputError
from codesign.target import Target, load_target, target_from_data, target_names

CORES = ["cortex-a53", "cortex-a55", "cortex-a72", "cortex-a76", "cortex-a78", "neoverse-n1", "host-x86"]
BOARDS = ["rpi3", "rpi4", "rpi5"]


def data(**changed: Any) -> dict[str, Any]:
    """The file of cortex-a72 with other values in [cpu]; None takes a key away."""
    content = load_target("cortex-a72").to_data()
    content["cpu"] = {k: v for k, v in {**content["cpu"], **changed}.items() if v is not None}
    return content


def cpu_of(target: Target) -> Cpu:
    assert target.cpu is not None
    return target.cpu


def problems(content: dict[str, Any]) -> list[str]:
    with pytest.raises(InputError) as caught:
        target_from_data("core", content)
    return str(caught.value).splitlines()


def test_the_cores_and_boards_of_the_issue_are_there() -> None:
    assert {*CORES, *BOARDS} == {name for name in target_names() if load_target(name).cpu}


@pytest.mark.parametrize("name", [*CORES, *BOARDS])
def test_the_content_reads_back(name: str) -> None:
    target = load_target(name)
    assert target_from_data(name, target.to_data()) == target
    assert set(target.sources) == {"clock_hz", *FIGURES}


def test_which_cores_have_the_dot_product() -> None:
    features = {name: cpu_of(load_target(name)).features for name in [*CORES, *BOARDS]}
    assert {name for name, has in features.items() if "dotprod" in has} == {
        "cortex-a55",
        "cortex-a76",
        "cortex-a78",
        "neoverse-n1",
        "rpi5",
    }
    assert not any("i8mm" in has for has in features.values())


def test_latency_of_main_memory_in_cycles() -> None:
    target = load_target("rpi5")
    assert cpu_of(target).dram_cycles(target.clock_hz) == pytest.approx(264)  # 110 ns at 2.4 GHz


def test_native_features_are_those_of_proc_cpuinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    host = cpu_of(load_target("host-x86"))
    monkeypatch.setattr(module, "_flags_of_this_machine", lambda: frozenset({"avx2", "avx512_vnni", "sse2"}))
    assert host.extensions() == ("avx2", "avx512vnni")
    monkeypatch.setattr(module, "_flags_of_this_machine", lambda: frozenset({"sse2"}))
    assert host.extensions() == ()
    assert cpu_of(load_target("cortex-a76")).extensions() == ("dotprod",)


def test_kinds_and_missing_keys() -> None:
    assert problems(data(speed=1, width=True, features="dotprod", l2_ways=None)) == [
        f"target core: unknown key 'cpu.speed'; allowed: {', '.join(Cpu.__dataclass_fields__)}",
        "target core: cpu.features is 'dotprod'; allowed: a list of names",
        "target core: cpu.width is True; allowed: a whole number",
        "target core: cpu.l2_ways is missing",
    ]


def test_values() -> None:
    content = data(core="", features=["avx2"], dram_ns=0)
    del content["sources"]["window"]
    assert problems(content) == [
        "target core: cpu.core is empty; allowed: LLVM's name of a core",
        "target core: unknown feature 'avx2' of aarch64; allowed: dotprod, i8mm",
        'target core: cpu.window has no source; allowed: sources.window = "manual and section"',
        "target core: cpu.dram_ns is 0; allowed: 1 or more",
    ]
    assert problems(data(arch="mips")) == ["target core: cpu.arch is 'mips'; allowed: aarch64, x86_64"]


def test_a_core_has_the_features_that_its_target_names() -> None:
    assert problems(data(features=["dotprod"])) == [
        "target core: cortex-a72 has no dotprod; allowed: features = [], or fewer"
    ]
    assert problems(data(core="cortex-a76", features=["i8mm", "dotprod"])) == [
        'target core: cortex-a76 has no i8mm; allowed: features = ["dotprod"], or fewer'
    ]
    own = data(core="cortex-a510", features=["dotprod", "i8mm"])
    assert cpu_of(target_from_data("core", own)).features == ("dotprod", "i8mm")
    assert cpu_of(target_from_data("core", data(core="cortex-a76", features=[]))).features == ()


def test_no_kernel_uses_i8mm_and_a_build_says_so() -> None:
    own = cpu_of(target_from_data("core", data(core="cortex-a510", features=["dotprod", "i8mm"])))
    assert own.unused() == ["no kernel uses i8mm (SMMLA): products of bytes are by dotprod"]
    assert cpu_of(load_target("cortex-a76")).unused() == []


def test_a_misspelt_core() -> None:
    found = "target core: cpu.core is 'cortex-a79', which LLVM does not know; allowed: LLVM's name of a core of aarch64"
    (text,) = problems(data(core="cortex-a79"))
    assert text.startswith(f"{found}; try: cortex-a7")
    assert problems(data(core="skylake")) == [found.replace("cortex-a79", "skylake")]
    assert problems(data(core="native")) == [found.replace("cortex-a79", "native")]


@pytest.mark.parametrize("arch", ["aarch64", "x86_64"])
def test_the_table_of_cores_is_llvm_s(arch: str) -> None:
    """x86 has more names: of cores without 64 bits, and with underscores for functions of several versions."""
    import tvm

    def ask(question: str, **options: str) -> set[str]:
        target = tvm.target.Target({"kind": "llvm", "mtriple": f"{arch}-linux-gnu", **options})
        return {str(answer) for answer in tvm.get_global_func(f"target.llvm_get_{question}")(target)}

    if arch == "aarch64":
        assert set(cores.CORES[arch]) == ask("cpu_archlist")
    assert set(cores.CORES[arch]) <= ask("cpu_archlist")
    for core, features in cores.CORES[arch].items():
        assert set(features) == ask("cpu_features", mcpu=core) & set(module.FEATURES[arch]), core


def test_figures_that_no_processor_has() -> None:
    assert problems(data(cores=100_000)) == ["target core: cpu.cores is 100000; allowed: 1 to 1024"]
    assert problems(data(line_bytes=1))[0] == "target core: cpu.line_bytes is 1; allowed: a power of two, 16 or more"
    assert problems(data(line_bytes=1 << 20))[0] == "target core: cpu.line_bytes is 1048576; allowed: 1 to 1024"
    for clock_hz in (1, 1500, 10**12):
        text = f"target core: clock_hz is {clock_hz}; allowed: 1_000_000 to 10_000_000_000, in Hz"
        assert problems({**data(), "clock_hz": clock_hz}) == [text]


def test_caches_that_cannot_be_indexed() -> None:
    assert problems(data(l1d_bytes=48_000, l3_bytes=1)) == [
        "target core: cpu.l3_bytes is 1 and cpu.l3_ways is 0; allowed: both above 0, or both 0 for no third level"
    ]
    assert problems(data(l1d_bytes=48 * 1024, line_bytes=96)) == [
        "target core: cpu.line_bytes is 96; allowed: a power of two, 16 or more",
        "target core: cpu.l2_bytes is 1048576 with 16 ways of lines of 96 bytes; "
        "allowed: a power of two of sets: bytes / (ways * line_bytes)",
    ]


def test_a_target_of_this_backend_needs_the_table() -> None:
    content = data()
    del content["cpu"]
    assert problems(content) == [
        "target core: cpu is missing; allowed: a table of a processor's core, caches and memory; "
        "try: targets/cortex-a72.toml shows it"
    ]
