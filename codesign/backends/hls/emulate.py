"""C simulation with g++: the project's own sources and testbench as a program, compiled once per content.

The program is a process of its own: an assertion in hls4ml's headers aborts it, and not this one.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from codesign import toolchain
from codesign.backends.base import Progress
from codesign.backends.hls.extension import PROJECT
from codesign.backends.hls.flows import STAND_INS, Flow
from codesign.backends.hls.layers import restored, stored
from codesign.errors import Diagnostic, InputError, MismatchError, ToolError, raise_all
from codesign.ir.types import IntArray, TensorType

INPUTS, GOLDEN, RESULTS = "tb_input_features.dat", "tb_output_predictions.dat", "csim_results.log"
COMPILE_LIMIT_S, RUN_LIMIT_S = 1800.0, 3600.0

# -O1 costs a second more than -O0 and runs twenty times faster; more optimisation takes longer than it saves.
_FLAGS = ("-O1", "-w")


def write_vectors(folder: Path, feed: IntArray, golden: IntArray, types: Sequence[TensorType]) -> None:
    """The frames and what they must give, as the testbench reads them: one frame a line, stored words."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values, type_ in zip((INPUTS, GOLDEN), (feed, golden), types, strict=True):
        words = stored(values, type_.dtype).reshape(len(values), -1)
        text = "\n".join(" ".join(map(str, row)) for row in words.tolist())
        (folder / name).write_text(text + "\n", encoding="ascii")


def emulate(
    project: Path, flow: Flow, feed: IntArray, golden: IntArray, types: Sequence[TensorType],
    progress: Progress,
) -> IntArray:  # fmt: skip
    """The outputs of the project for `feed`, by its own testbench. Raises ToolError when it does not compile or run.

    golden  (frames, …) outputs that the testbench compares with; this function only reads what it computed

    Raises MismatchError when the tools would read other constants than the simulation does.
    """
    compare_constants(project / flow.root / "firmware" / "weights")
    program = compile_project(project, flow, progress)
    log = toolchain.cache_dir() / "logs" / f"csim-{program.parent.name[:12]}-{os.getpid()}.log"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_vectors(folder, feed, golden, types)
        progress("running the C simulation", 0, 0)
        tool = toolchain.Tool("C simulation", (str(program),), "", "verification", "")
        try:
            firmware = project / flow.root / "firmware"  # from here the project reads its weights
            toolchain.run(tool, [folder], cwd=firmware, log=log, time_limit_s=RUN_LIMIT_S)
        except ToolError:
            if not _is_comparison(log):
                raise
        return _results(folder / RESULTS, len(feed), types[1], log)


def compare_constants(weights: Path) -> None:
    """Compare NAME.txt, which the C simulation loads, with the initialiser in NAME.h, which synthesis takes.

    Flows whose simulation takes the initialiser have no NAME.txt. Raises MismatchError with every header that differs.
    """
    found = []
    for text in sorted(weights.glob("*.txt")):
        header = text.with_suffix(".h")
        source = header.read_text(encoding="utf-8", errors="replace") if header.is_file() else ""
        tables = re.findall(r"=\s*\{([^{}]*)\}", source)
        if not tables:
            found.append(Diagnostic(str(header), "holds no constants", f"those of {text.name}"))
        elif _words(tables[-1]) != _words(text.read_text(encoding="utf-8", errors="replace")):
            what = f"holds other constants for synthesis than {text.name}, which the C simulation reads"
            found.append(Diagnostic(str(header), what, hint="codesign compile"))
    raise_all(MismatchError, found)


def _words(table: str) -> list[str]:
    return [word.strip() for word in table.split(",")]


def _is_comparison(log: Path) -> bool:
    """Whether the testbench came to its end: then its status only says that words differ, which the caller reports."""
    return "words differ from the golden outputs" in log.read_text(encoding="utf-8")


def _results(path: Path, frames: int, type_: TensorType, log: Path) -> IntArray:
    try:
        words = np.array(path.read_text(encoding="ascii").split(), dtype=np.int64)
    except (OSError, ValueError) as error:
        found = "ended without results" if isinstance(error, OSError) else "wrote results that are no whole numbers"
        raise ToolError.at("C simulation", f"{found}, log {log}") from error
    if words.size != frames * type_.size:
        raise ToolError.at("C simulation", f"{words.size} words of {frames * type_.size} came out, log {log}")
    return restored(words, type_.dtype).reshape(frames, *type_.shape)


def compile_project(project: Path, flow: Flow, progress: Progress) -> Path:
    """The program of a project's sources and testbench, from the cache or compiled."""
    compiler = toolchain.require("c++")
    firmware, test = project / flow.root / "firmware", project / flow.test
    if not (firmware / f"{PROJECT}.cpp").is_file():
        raise InputError.at(str(project), "no HLS project", "what 'codesign compile' wrote")
    sources = sorted(p for p in firmware.rglob("*") if p.suffix in (".h", ".cpp"))
    files = [test, test.with_name("compare.h"), *sources]
    names = [str(path.relative_to(project)) for path in files]
    flags = (f"-std={flow.standard}", *_FLAGS)
    key = toolchain.digest("hls", *flags, compiler.version, *compiler.command, *names, *files)
    includes = include_folders(project, flow)
    folders = [f"-I{folder}" for folder in (*includes, test.parent, project / flow.root)]

    def make(entry: Path) -> None:
        progress("compiling the C simulation", 0, 2)
        headers = _precompiled(compiler, flags, includes)
        progress("compiling the C simulation", 1, 2)
        # One translation unit: the testbench with the network before it.
        toolchain.run(
            compiler,
            [*flags, *folders, "-include", headers, *_included(firmware, flow), files[0], "-o", entry / "csim"],
            cwd=firmware, log=toolchain.cache_dir() / "logs" / f"hls-{key[:12]}.log", time_limit_s=COMPILE_LIMIT_S,
        )  # fmt: skip
        progress("compiling the C simulation", 2, 2)

    return toolchain.cached("hls", key, make) / "csim"


def _included(firmware: Path, flow: Flow) -> list[str | Path]:
    """The network's own source, and the wrapper around it where the flow has one."""
    names = dict.fromkeys((f"{PROJECT}.cpp", flow.source))
    return [part for name in names for part in ("-include", firmware / name)]


def include_folders(project: Path, flow: Flow) -> list[Path]:
    """Where g++ finds the types of a flow: in the project, or for want of the vendor's headers in stand-ins."""
    if flow.includes == STAND_INS:
        import hls4ml

        return [Path(__file__).parent / STAND_INS[0], Path(hls4ml.__file__).parent / STAND_INS[1]]
    return [project / include for include in flow.includes]


def _precompiled(compiler: toolchain.Tool, flags: Sequence[str], includes: Sequence[Path]) -> Path:
    """A header that includes what all projects of a flow do, compiled once: it is most of a compilation.

    A compiler that cannot use what another has precompiled reads the header itself.
    """
    includes = [folder for folder in includes if folder.name != "nnet_utils"]  # part of it is the project's
    library = [p for folder in includes for p in sorted(folder.rglob("*.h*"))]
    kind = "ac" if any(p.name == "ac_int.h" for p in library) else "ap"
    source = Path(__file__).parent / "testbench" / f"{kind}_headers.h"
    key = toolchain.digest("hls-headers", *flags, compiler.version, *compiler.command, source, *library)

    def make(entry: Path) -> None:
        header = entry / source.name
        shutil.copyfile(source, header)
        folders = [f"-I{folder}" for folder in includes]
        toolchain.run(
            compiler, [*flags, *folders, "-x", "c++-header", header, "-o", f"{header}.gch"], cwd=entry,
            log=toolchain.cache_dir() / "logs" / f"hls-headers-{key[:12]}.log", time_limit_s=COMPILE_LIMIT_S,
        )  # fmt: skip

    return toolchain.cached("hls-headers", key, make) / source.name
