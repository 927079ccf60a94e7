"""What a user reads when a library for a processor cannot be built or run."""

from __future__ import annotations

import errno
import json
import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cpu_deliverables import HOST, Made, deliver, kernels_of

from codesign.backends.tvm.deliver import run, runners, write
from codesign.backends.tvm.deliver.program import Kernel, program_of
from codesign.backends.tvm.deliver.run import execute, measure, read_description
from codesign.backends.tvm.deliver.write import write_deliverable
from codesign.backends.tvm.plan import Policy, plan
from codesign.errors import CodesignError, InputError, MismatchError, ToolError, UnsupportedError, UsageError
from codesign.ir.ops import Concat
from codesign.target import load_target
from codesign.testing.build import GraphBuilder
from codesign.testing.cases import CASES, U4
from codesign.toolchain import Tool

STUBS = Path(__file__).parent.parent / "kernels"


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return deliver(CASES["dense"](), "cortex-a53", tmp_path_factory.mktemp("arm"))


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name in names else which(name))


def refused(made: Made) -> str:
    with pytest.raises(CodesignError) as caught:
        execute(made.directory, made.graph, made.inputs, made.cpu)
    return str(caught.value)


def test_no_cross_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    without(monkeypatch, "aarch64-linux-gnu-gcc")
    with pytest.raises(ToolError) as caught:
        write_deliverable(tmp_path, plan(CASES["dense"](), Policy()), [], load_target("rpi4"), [], [])
    assert str(caught.value) == (
        "aarch64-cc: not found (no aarch64-linux-gnu-gcc on PATH), needed for libraries for ARM processors; "
        "try: apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
    )
    assert not list(tmp_path.iterdir())


def test_no_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "make", "gmake")
    with pytest.raises(ToolError) as caught:
        write_deliverable(tmp_path, plan(CASES["dense"](), Policy()), [], load_target(HOST), [], [])
    assert str(caught.value) == (
        "make: not found (no make or gmake on PATH), needed for libraries for processors; try: apt install make"
    )


def test_no_qemu(arm: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    without(monkeypatch, "qemu-aarch64")
    assert refused(arm) == (
        "qemu-aarch64: not found (no qemu-aarch64 on PATH), needed for running ARM code; try: apt install qemu-user"
    )


def test_an_instruction_that_the_emulated_core_lacks(tmp_path: Path) -> None:
    graph = CASES["threshold"]()
    stub = _stub("sdot.S", "aarch64-linux-gnu-gcc", graph, "cortex-a53", tmp_path)
    made = deliver(graph, "cortex-a53", tmp_path / "out", stub=stub)
    symbol = json.loads((made.directory / "network.json").read_text())["layers"][0]["kernel"]
    assert refused(made) == (
        f"threshold1 ({symbol}): uses an instruction that QEMU's cortex-a53 lacks; it was built for cortex-a53 with "
        "none of the optional extensions; try: codesign compile for a target whose features the processor has"
    )


def test_an_instruction_that_this_machine_lacks(tmp_path: Path) -> None:
    """Only the process that met it ends."""
    graph = CASES["threshold"]()
    made = deliver(graph, HOST, tmp_path / "out", stub=_stub("undefined.S", "gcc", graph, HOST, tmp_path))
    has = ", ".join(made.cpu.extensions()) or "none of the optional extensions"
    assert refused(made) == (
        "a kernel: uses an instruction that this machine lacks; it was built for the processor it was made on with "
        f"{has}; try: codesign compile for a target whose features the processor has"
    )


def _stub(source: str, compiler: str, graph: object, target: str, folder: Path) -> Path:
    """The source as the only kernel of the graph."""
    cpu = load_target(target).cpu
    assert cpu is not None
    made = plan(graph, Policy("uint8" if target == HOST else "int8"))  # type: ignore[arg-type]
    (kernel,) = kernels_of(made, cpu)
    out = folder / "stub.o"
    subprocess.run([compiler, "-c", f"-DKERNEL={kernel.object.symbol}", STUBS / source, "-o", out], check=True)
    return out


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.is_relative_to(tmp_path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError) as caught:
        deliver(CASES["dense"](), HOST, tmp_path / "out")
    found = f"{tmp_path}/out: cannot be written: No space left on device"
    assert str(caught.value) == f"{found}; try: CODESIGN_CACHE=a directory with room"


def test_a_disk_that_is_full_when_the_compiler_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "gcc"
    compiler.write_text("#!/bin/sh\necho 'as: final close failed: No space left on device'\nexit 1\n")
    compiler.chmod(0o755)
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: str(compiler) if name == "gcc" else which(name))
    with pytest.raises(InputError) as caught:
        deliver(CASES["dense"](), HOST, tmp_path / "out")
    found = f"{tmp_path}/out: cannot be written: No space left on device"
    assert str(caught.value) == f"{found}; try: CODESIGN_CACHE=a directory with room"


def test_no_room_for_the_frames(arm: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run.tempfile, "TemporaryDirectory", full)
    monkeypatch.setattr(run.tempfile, "gettempdir", lambda: "/tmp")
    assert refused(arm) == (
        "/tmp: cannot be written: No space left on device; try: TMPDIR=a directory with room for the frames"
    )


def test_a_kernel_of_too_many_tensors() -> None:
    build = GraphBuilder()
    x = build.input((2, 2, 3), U4)
    graph = build.graph(build.node(Concat(), *[x] * 16))
    made = plan(graph, Policy())
    pointers = tuple(np.zeros(1) for _ in range(25))
    kernel = Kernel(type("", (), {"arguments": pointers})(), None)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError) as caught:
        program_of(made, [kernel])
    assert str(caught.value) == (
        "concat1: one kernel with 25 tensors and constants; allowed: 24 at most; try: join the tensors in several steps"
    )


def test_a_name_that_is_none_in_c(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        deliver(CASES["dense"](), HOST, tmp_path, name="my-net")
    assert str(caught.value) == (
        "name: 'my-net'; allowed: a letter, then letters, digits and _, in lower case; try: network"
    )


def test_a_target_that_is_no_processor(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        write_deliverable(tmp_path, plan(CASES["dense"](), Policy()), [], load_target("pynq-z2"), [], [])
    assert str(caught.value) == "target pynq-z2: no table [cpu]; try: codesign targets"


def test_code_for_another_machine(arm: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    cpu = load_target(HOST).cpu
    assert cpu is not None
    with pytest.raises(UsageError) as caught:
        runners.runner_of(cpu)
    assert str(caught.value) == (
        "target: x86_64 code, but this machine is aarch64; allowed: a machine of the target's architecture; "
        "try: a target for aarch64"
    )


def test_no_times_from_an_emulator(arm: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CODESIGN_BOARD", raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with pytest.raises(UsageError) as caught:
        measure(arm.directory, arm.cpu)
    assert str(caught.value) == (
        "QEMU's cortex-a53: an emulator's times say nothing of a board; allowed: a board; try: CODESIGN_BOARD=user@host"
    )


MODELS = ("Available CPUs:", "  cortex-a53", "  cortex-a76", "  max")
SAME = ", which has the same of the optional extensions"


@pytest.mark.parametrize(
    ("target", "note"),
    [
        ("cortex-a55", ("QEMU has no cortex-a55: its cortex-a76 stands in" + SAME,)),
        ("cortex-a72", ("QEMU has no cortex-a72: its cortex-a53 stands in" + SAME,)),
        ("cortex-a76", ()),
    ],
)
def test_a_core_that_qemu_has_not(monkeypatch: pytest.MonkeyPatch, target: str, note: tuple[str, ...]) -> None:
    monkeypatch.delenv("CODESIGN_BOARD", raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(runners, "require", lambda name: Tool(name, ("qemu-aarch64",), "", "", ""))
    monkeypatch.setattr(runners, "lines_of", lambda *_: MODELS)
    cpu = load_target(target).cpu
    assert cpu is not None
    assert write._notes(cpu) == note


@pytest.mark.parametrize("host", ["-oProxyCommand=true", "pi@board; reboot"])
def test_a_board_that_is_no_host(arm: Made, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("CODESIGN_BOARD", host)
    assert refused(arm) == f"CODESIGN_BOARD: {host!r}; allowed: user@host, as ssh takes it"


def test_a_board_that_does_not_answer(arm: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\necho 'ssh: connect to host board port 22: No route to host'\nexit 255\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / "ssh") if name in ("ssh", "scp") else None)
    monkeypatch.setenv("CODESIGN_BOARD", "pi@board")
    first, line = refused(arm).splitlines()
    assert first.startswith("ssh: failed with exit status 255, log ")
    assert line == "  | ssh: connect to host board port 22: No route to host"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "damaged: Expecting property name enclosed in double quotes: line 1 column 2 (char 1); try: "),
        ('{"schema": 9}', "schema 9; allowed: schema 1; try: "),
        ("[]", "schema None; allowed: schema 1; try: "),
        (None, "cannot be read: No such file or directory; try: "),
    ],
)
def test_a_damaged_description(tmp_path: Path, content: str | None, text: str) -> None:
    path = tmp_path / "network.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_description(tmp_path)
    assert str(caught.value) == f"{path}: {text}codesign compile makes a new one"


def test_threads_that_change_an_output(arm: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner whose second thread count writes something else."""

    class Wrong:
        place = "nowhere"

        def frames(self, _: Path, __: str, ends: tuple[Path, Path], threads: int, ___: object) -> None:
            ends[1].write_bytes(bytes([threads if i == 25 else 0 for i in range(3 * 5 * 2)]))

    monkeypatch.setattr(run, "runner_of", lambda cpu: Wrong())
    with pytest.raises(MismatchError) as caught:
        execute(arm.directory, arm.graph, arm.inputs, arm.cpu, (1, 4))
    assert str(caught.value) == "output dense1: 4 threads compute something else than 1, first in frame 2"


def test_a_program_that_writes_too_little(arm: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        place = "nowhere"

        def frames(self, *_: object) -> None:
            return None

    monkeypatch.setattr(run, "runner_of", lambda cpu: Silent())
    assert refused(arm) == "network_test: wrote 0 bytes of outputs, not 30"


@pytest.mark.parametrize(
    ("content", "mode", "text"),
    [
        (None, 0, "cannot be read: No such file or directory; try: codesign compile, which makes it again"),
        (b"", 0o755, "is damaged: no ELF program; try: codesign compile, which makes it again"),
        (b"\x7fELF", 0o644, "is not executable; try: chmod +x, or codesign compile again"),
    ],
)
def test_a_self_test_that_cannot_be_run(tmp_path: Path, content: bytes | None, mode: int, text: str) -> None:
    program = tmp_path / "bin" / "network_test"
    program.parent.mkdir()
    if content is not None:
        program.write_bytes(content)
        program.chmod(mode)
    with pytest.raises(InputError) as caught:
        runners._program(tmp_path, "network")
    assert str(caught.value) == f"{program}: {text}"


def test_a_cache_that_is_full_when_a_kernel_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM itself would end the process."""

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("CODESIGN_CACHE", str(tmp_path))
    cpu = load_target(HOST).cpu
    assert cpu is not None
    planned = plan(CASES["dense"](), Policy("uint8"))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ToolError) as caught:
        kernels_of(planned, cpu)
    assert str(caught.value).startswith(f"{tmp_path}: cannot be used as cache: No space left on device; try: ")
    assert not list((tmp_path / "tvm-kernels").iterdir())
