"""The libraries for processors: every bit, on this machine and in QEMU; the files as a user has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cpu_deliverables import HOST, Made, deliver, expect_exact, split_all
from hypothesis import HealthCheck, given, settings

from codesign.backends.tvm.deliver.run import execute, measure
from codesign.backends.tvm.network import policy_of
from codesign.backends.tvm.plan import plan
from codesign.ir.graph import Graph
from codesign.ir.types import IntType
from codesign.testing.build import GraphBuilder
from codesign.testing.cases import CASES
from codesign.testing.graphs import graphs

__all__ = ["split_all"]

KERNELS = Path(__file__).parent.parent / "kernels"

RESIDUAL = "residual"  # two convolutions with borders, one of an input: constants, arena, input and output addresses
IN_QEMU = {
    "cortex-a53": ("residual", "conv_padded_strided", "avg_pool_mean", "softmax"),
    "cortex-a72": ("conv_depthwise", "requant_half_even", "concat"),
    "cortex-a76": ("residual", "dense_wide", "conv_zero_point", "max_pool_padded"),
    "cortex-a55": ("conv",),
    "neoverse-n1": ("dense",),
}


@pytest.mark.usefixtures("split_all")
@pytest.mark.parametrize("case", CASES)
def test_every_case_on_this_machine(case: str, tmp_path: Path) -> None:
    expect_exact(deliver(CASES[case](), HOST, tmp_path), (1, 3))


@pytest.mark.usefixtures("split_all")
@pytest.mark.parametrize(("target", "case"), [(target, case) for target, cases in IN_QEMU.items() for case in cases])
def test_cases_in_qemu(target: str, case: str, tmp_path: Path) -> None:
    expect_exact(deliver(CASES[case](), target, tmp_path), (1, 2))


@pytest.mark.parametrize(("bits", "signed", "pad"), [(16, False, 60_000), (16, True, -32_768), (20, False, 900_000)])
@pytest.mark.parametrize("target", [HOST, "cortex-a72"])
def test_wide_borders(target: str, bits: int, signed: bool, pad: int, tmp_path: Path) -> None:
    """Padding with values that 16 bits with a sign do not hold, read from memory."""
    b, wide = GraphBuilder(), IntType(bits, signed)
    x = b.requant(b.input((4, 5, 3), wide), [1], [0], wide)
    weights = np.random.default_rng(4).integers(-2, 2, (4, 3, 3, 3))
    graph = b.graph(b.conv(x, weights, padding=(1, 1, 1, 1), pad_value=pad))
    made = deliver(graph, target, tmp_path)
    expect_exact(made)
    assert any(s.border_value == pad for s in plan(graph, policy_of(made.cpu)).storage.values())


@settings(max_examples=6, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_random_graphs_on_this_machine(tmp_path_factory: pytest.TempPathFactory, graph: Graph) -> None:
    expect_exact(deliver(graph, HOST, tmp_path_factory.mktemp("host")))


@settings(max_examples=2, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_random_graphs_in_qemu(tmp_path_factory: pytest.TempPathFactory, graph: Graph) -> None:
    expect_exact(deliver(graph, "cortex-a72", tmp_path_factory.mktemp("qemu")))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return deliver(CASES[RESIDUAL](), HOST, tmp_path_factory.mktemp("host"), name="my_net")


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return deliver(CASES[RESIDUAL](), "cortex-a53", tmp_path_factory.mktemp("arm"))


def said(*command: str | Path, cwd: Path | None = None, status: int = 0) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_the_self_test_compares_every_golden_element(host: Made) -> None:
    assert said(host.program) == "360 elements of 3 frames: 0 mismatches\n"
    assert said(host.program, "--threads", "4") == "360 elements of 3 frames: 0 mismatches\n"


def test_the_self_test_shows_a_mismatch(tmp_path: Path) -> None:
    made = deliver(CASES[RESIDUAL](), HOST, tmp_path, wrong=True)
    value = int(made.outputs[0][1].flat[2])
    first, last = said(made.program, status=1).splitlines()
    assert first == f"frame 1, output threshold4, element 2: {value}, golden {value ^ 1}"
    assert last == "360 elements of 3 frames: 1 mismatches"


def test_a_damaged_constant_is_noticed(tmp_path: Path) -> None:
    made = deliver(CASES[RESIDUAL](), HOST, tmp_path)
    constants = tmp_path / "src" / "constants.bin"
    constants.write_bytes(bytes(b ^ 3 for b in constants.read_bytes()))
    said("make", "-C", tmp_path, "clean", "all")
    assert "0 mismatches" not in said(made.program, status=1)


def test_threads_compute_the_same_many_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codesign.backends.tvm.deliver.program.SPLIT_WORK", 0)
    made = deliver(CASES["conv_dilated"](), HOST, tmp_path, frames=400)
    expect_exact(made, (1, 2, 7))


def test_the_makefile_builds_it_again_without_a_warning(host: Made) -> None:
    done = subprocess.run(
        ["make", "-C", host.directory, "clean", "all", "check", "CFLAGS=-O3 -Werror"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 mismatches" in done.stdout


def test_the_static_library_asks_for_three_functions_at_most(host: Made) -> None:
    lines = said("nm", "-g", host.directory / "lib" / "libmy_net.a").splitlines()
    words = [line.split() for line in lines]
    wanted = {w[-1] for w in words if len(w) == 2 and w[0] == "U"}
    defined = {w[-1] for w in words if len(w) == 3}
    assert wanted - defined <= {"memcpy", "memmove", "memset", "_GLOBAL_OFFSET_TABLE_"}
    assert {"my_net_run", "my_net_run_layers", "my_net_set_threads", "my_net_layer_name"} <= defined
    assert not [name for name in defined if name.startswith("network_")]


def test_the_shared_library_shows_its_functions_alone(host: Made) -> None:
    lines = said("nm", "-D", "--defined-only", host.directory / "lib" / "libmy_net.so").splitlines()
    functions = ("run", "run_layers", "set_threads", "layer_name", "layer_kernel")
    assert {line.split()[-1] for line in lines} == {f"my_net_{name}" for name in functions}


def test_a_program_in_cpp_calls_it(host: Made, tmp_path: Path, cxx: str) -> None:
    """With the header alone, as the README has it; a call that is refused writes nothing."""
    (tmp_path / "main.cpp").write_text(
        '#include "my_net.h"\n#include <cstdio>\n'
        "alignas(MY_NET_ARENA_ALIGNMENT) static unsigned char arena[MY_NET_ARENA_BYTES + 1];\n"
        "static unsigned char image[MY_NET_INPUT0_BYTES], scores[MY_NET_OUTPUT0_BYTES];\n"
        "int main() { const void *in[] = {image}; void *out[] = {scores}, *none[] = {nullptr};\n"
        '  std::printf("%d %d %d %d %s", my_net_run(in, out, arena), my_net_run(in, none, arena),\n'
        "    my_net_run(in, out, arena + 1), my_net_run_layers(1, 9, in, out, arena), my_net_layer_name(1)); }\n"
    )
    libraries = ["-I", host.directory / "include", host.directory / "lib" / "libmy_net.a"]
    said(cxx, "main.cpp", *libraries, "-o", "main", cwd=tmp_path)
    assert said(tmp_path / "main") == "0 -1 -2 -3 conv2d1"


def test_from_python_with_numpy_alone(host: Made, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", host.inputs[0])
    script = host.directory / "python" / "network.py"
    environment = {**os.environ, "PYTHONPATH": ""}
    command = [sys.executable, "-P", script, "x.npy", "-o", "y.npy", "--threads", "2"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), host.outputs[0])
    np.save(tmp_path / "x.npy", host.inputs[0] + 16)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "input x: values outside 0 to 15\n")


EITHER = "either X.npy for each input, or --inputs A.bin together with --outputs B.bin"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], EITHER),
        (["--inputs", "A.bin"], EITHER),
        (["--outputs", "B.bin"], EITHER),
        (["x.npy", "--inputs", "A.bin", "--outputs", "B.bin"], EITHER),
        (["x.npy", "--threads", "0"], "--threads 0: 1 or more"),
        (["x.npy", "x.npy"], "2 files, but the network has 1 inputs: one file for each"),
        (["short.npy"], "short.npy: not a whole .npy file"),
        (["none.npy"], "[Errno 2] No such file or directory: 'none.npy'"),
        (["empty.npy"], "files of 0 frames; as many in each, and one or more"),
        (["--inputs", "A.bin", "--outputs", "B.bin"], "A.bin: ends within frame 2: 1 of its 120 bytes"),
    ],
)
def test_wrong_words_for_the_python_runner(host: Made, tmp_path: Path, words: list[str], text: str) -> None:
    frame = host.inputs[0][:1].astype(np.uint8)
    np.save(tmp_path / "x.npy", frame)
    np.save(tmp_path / "empty.npy", frame[:0])
    (tmp_path / "short.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:100])
    (tmp_path / "A.bin").write_bytes(frame.tobytes() + b"\0")
    script = host.directory / "python" / "network.py"
    done = subprocess.run([sys.executable, "-P", script, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].removeprefix("network.py: error: ") == text
    assert not (tmp_path / "outputs.npy").exists()


def test_a_library_that_cannot_be_loaded(host: Made, tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    (tmp_path / "lib").mkdir()
    for name in ("network.json", "python/network.py"):
        (tmp_path / name).write_bytes((host.directory / name).read_bytes())
    (tmp_path / "lib" / "libmy_net.so").write_bytes(b"no library")
    np.save(tmp_path / "x.npy", host.inputs[0])
    script = tmp_path / "python" / "network.py"
    done = subprocess.run([sys.executable, "-P", script, "x.npy"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"the network in {tmp_path} cannot be loaded: ")
    assert len(done.stderr.splitlines()) == 1


def test_the_self_test_reads_whole_frames(host: Made, tmp_path: Path) -> None:
    frame = host.inputs[0][:1].astype(np.uint8).tobytes()
    command = [host.program, "--inputs", "A.bin", "--outputs", "B.bin"]
    for rest in (0, 1, len(frame) - 1):
        (tmp_path / "A.bin").write_bytes(2 * frame + frame[:rest])
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        text = "A.bin: cannot be read to its end, or ends within a frame\n" if rest else ""
        assert (done.returncode, done.stderr) == (2 if rest else 0, text)
        assert len((tmp_path / "B.bin").read_bytes()) == 2 * host.outputs[0][0].size


@pytest.mark.parametrize("option", ["--repeat", "--frames", "--threads"])
@pytest.mark.parametrize("number", ["0", "-1", "many", "3x", ""])
def test_the_self_test_takes_numbers_of_one_or_more(host: Made, option: str, number: str) -> None:
    done = subprocess.run([host.program, option, number], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "N: 1 or more; without arguments: compare the golden frames"


def test_times_of_every_layer(host: Made) -> None:
    times = measure(host.directory, host.cpu, repeat=5)
    assert [layer.name for layer in times.layers] == ["conv2d1.input", "conv2d1"]
    assert 0 < times.least_ns <= times.median_ns
    assert all(0 < layer.least_ns <= layer.median_ns for layer in times.layers)


def test_the_stack_of_an_inference(host: Made, arm: Made) -> None:
    """The driver's own: sixteen pointers and some registers; kernels this small add little."""
    for command in ([host.program], ["qemu-aarch64", "-cpu", "cortex-a53", arm.program]):
        word, used = said(*command, "--stack").split()
        assert word == "stack"
        assert 16 * 8 < int(used) < 16384


def test_stack_is_measured(host: Made, tmp_path: Path) -> None:
    source = host.directory / "src"
    said("gcc", "-O2", f"-I{source}", KERNELS / "stack.c", source / "stack.c", "-pthread", "-o", "stack", cwd=tmp_path)
    much, little = map(int, said(tmp_path / "stack").split())
    assert 100_000 <= much < 101_000
    assert little < 200


def test_the_description_names_layers_and_kernels(host: Made) -> None:
    data = json.loads((host.directory / "network.json").read_text())
    assert [layer["macs"] for layer in data["layers"]] == [0, 6 * 5 * 9 * 4 * 4]
    symbols = said("nm", host.program)
    assert all(f" T {layer['kernel']}\n" in symbols for layer in data["layers"])


def test_the_shared_library_for_arm(arm: Made) -> None:
    arguments = ["CC=aarch64-linux-gnu-gcc", "AR=aarch64-linux-gnu-ar", "bin/network_test_shared"]
    said("make", "-C", arm.directory, *arguments)
    program = arm.directory / "bin" / "network_test_shared"
    qemu = ["qemu-aarch64", "-cpu", "cortex-a53", "-L", "/usr/aarch64-linux-gnu"]
    assert said(*qemu, program, "--threads", "2") == "360 elements of 3 frames: 0 mismatches\n"
    program.unlink()


SSH = """#!/bin/sh
[ "$1 $2 $3" = "-o BatchMode=yes pi@board" ] || exit 9
echo "ssh $4" >> "$CALLS"
exec sh -c "$(echo "$4" | sed 's|&& [.]/|\\&\\& qemu-aarch64 ./|')"
"""
SCP = """#!/bin/sh
[ "$1 $2 $3" = "-q -o BatchMode=yes" ] || exit 9
shift 3
for name; do
    set -- "$@" "${name#pi@board:}"
    shift
done
exec cp "$@"
"""


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board that is this machine with QEMU; the file of the commands that it was given."""
    for name, text in {"ssh": SSH, "scp": SCP}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("CODESIGN_BOARD", "pi@board")
    return tmp_path / "calls"


def test_on_a_board(arm: Made, board: Path) -> None:
    expect_exact(arm, (1, 4))
    assert measure(arm.directory, arm.cpu, repeat=3).layers[1].name == "conv2d1"
    made, ran, removed = board.read_text().splitlines()[:3]
    assert made == "ssh mktemp -d /tmp/codesign-XXXXXXXX"
    place = removed.removeprefix("ssh rm -rf ")
    assert ran == f"ssh cd {place} && ./network_test --inputs inputs.bin --outputs outputs.bin --threads 1"
    assert not Path(place).exists()


def test_frames_are_counted(host: Made) -> None:
    told: list[tuple[str, int, int]] = []
    execute(host.directory, host.graph, host.inputs, host.cpu, (1,), lambda *step: told.append(step))
    assert told == [("run on this machine", 0, 3), ("run on this machine", 3, 3)]
