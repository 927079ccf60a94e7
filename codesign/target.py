"""Devices: one TOML file each under targets/, data only.

    description = "…"              backends = ["rtl"]        fabric = "xc7"        clock_hz = 100_000_000
    part = "xc7z020clg400-1"       (as vendor tools name the device; where they are needed)
    [limits]   lut = 53_200  …     [sources]  clock_hz = "why this clock"   lut = "data sheet and table"  …

Instead of a fabric, an Ethos-U has the settings that Vela is run with, and limits in bytes of its system's memories:

    [npu]      accelerator = "ethos-u55-128"     system_config = "…"     memory_mode = "…"     ini = "my_vela.ini"

`ini` is a file beside this one, left out for the one that comes with Vela. A processor has a table `[cpu]`, which
codesign/backends/tvm/cpu.py describes, a GPU a table `[gpu]` (codesign/backends/tvm/mali/gpu.py). Every figure has its
source.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign.errors import CodesignError, Diagnostic, InputError, UsageError, raise_all
from codesign.resources import resource_dir

if TYPE_CHECKING:
    from codesign.backends.ethosu.vela import System
    from codesign.backends.tvm.cpu import Cpu
    from codesign.backends.tvm.mali.gpu import Gpu

FABRICS = ("xc7", "xcup", "ecp5", "ice40", "arria10")
"""FPGA families."""

_FPGA_LIMITS = ("lut", "ff", "bram", "bram_bits", "dsp")

_FIELDS: Mapping[str, type] = {
    "description": str,
    "backends": list,
    "clock_hz": int,
    "fabric": str,
    "part": str,
    "limits": dict,
    "sources": dict,
    "npu": dict,
    "cpu": dict,
    "gpu": dict,
}
_OPTIONAL = ("fabric", "part", "npu", "cpu", "gpu")
_PROCESSOR_CLOCKS_HZ = (1_000_000, 10_000_000_000)
_NPU_FIELDS = ("accelerator", "system_config", "memory_mode", "ini")
_KINDS: Mapping[type, str] = {str: "text", list: "a list of names", int: "a whole number", dict: "a table"}


@dataclass(frozen=True)
class Target:
    """A device to build for.

    name      file name without .toml, what `-t` takes
    backends  names of the backends that can build for it; the first is the default
    clock_hz  the clock that cycles are turned into time with
    fabric    FPGA fabric: `xc7`, `xcup`, `ecp5`, `ice40`; empty for other devices
    limits    what there is: lut, ff, bram (each of bram_bits), dsp, or sram_bytes, flash_bytes, dram_bytes
    sources   where each figure was taken from
    npu       an Ethos-U in its system; None for other devices
    part      the device as vendor tools name it; empty where none is needed
    cpu       a processor's core, caches and memory; None for other devices
    gpu       a GPU's shader cores, caches and memory; None for other devices
    """

    name: str
    description: str
    backends: tuple[str, ...]
    clock_hz: float
    fabric: str
    limits: Mapping[str, int]
    sources: Mapping[str, str]
    npu: System | None = None
    part: str = ""
    cpu: Cpu | None = None
    gpu: Gpu | None = None

    def to_data(self) -> dict[str, Any]:
        """The file's content, as plain data, with the content of the ini file; `target_from_data` reads it back."""
        data = {
            "description": self.description,
            "backends": list(self.backends),
            "clock_hz": int(self.clock_hz),
            "fabric": self.fabric,
            "part": self.part,
            "limits": dict(self.limits),
            "sources": dict(self.sources),
        }
        if self.npu:
            data["npu"] = asdict(self.npu)
        if self.cpu:
            data["cpu"] = self.cpu.to_data()
        if self.gpu:
            data["gpu"] = self.gpu.to_data()
        return data


def target_names() -> list[str]:
    """The names of all targets that come with codesign."""
    return sorted(path.stem for path in resource_dir("targets").glob("*.toml"))


def load_target(name: str) -> Target:
    """The target of that name, or of the file if `name` ends in `.toml`.

    Raises UsageError for an unknown name, InputError for a file that is no target, with everything that is wrong in it.
    """
    if name.endswith(".toml"):
        path = Path(name)
    else:
        path = resource_dir("targets") / f"{name}.toml"
        if name not in target_names():
            close = difflib.get_close_matches(name, target_names(), n=1, cutoff=0.4)
            hint = f"-t {close[0]}" if close else "codesign targets"
            allowed = ", ".join(target_names()) + ", or a .toml file"
            raise UsageError.at("target", f"there is no {name!r}", allowed, hint)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError.at(name, f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError.at(name, f"not a TOML file: {error}", hint="a copy of one under targets/") from error
    return target_from_data(path.stem, *_with_ini(path, data), where=name)


def _with_ini(path: Path, data: dict[str, Any]) -> tuple[dict[str, Any], list[Diagnostic]]:
    """The file's data with the content of the ini file instead of its name; what is wrong with it."""
    npu = data.get("npu")
    if not isinstance(npu, dict) or not isinstance(npu.get("ini"), str):
        return data, []
    ini = path.parent / npu["ini"]
    content, found = "", []
    try:
        content = ini.read_text(encoding="utf-8")
        if not content.strip():
            found.append(Diagnostic(str(ini), "is empty", "Vela's System_Config and Memory_Mode sections"))
    except OSError as error:
        found.append(Diagnostic(str(ini), f"cannot be read: {error.strerror}", "a vela.ini beside the target's file"))
    except UnicodeDecodeError:
        found.append(Diagnostic(str(ini), "not a text file", "a vela.ini beside the target's file"))
    return {**data, "npu": {**npu, "ini": content}}, found


def target_from_data(
    name: str, data: Mapping[str, Any], problems: Sequence[Diagnostic] = (), where: str = ""
) -> Target:
    """The target of a file's content. Raises InputError that lists everything that is wrong, `problems` included."""
    where = where or f"target {name}"
    found = [Diagnostic(where, f"unknown key {key!r}", ", ".join(_FIELDS)) for key in data if key not in _FIELDS]
    for key, kind in _FIELDS.items():
        if key not in data:
            if key not in _OPTIONAL:
                found.append(Diagnostic(where, f"{key} is missing"))
        elif not isinstance(data[key], kind) or isinstance(data[key], bool):
            found.append(Diagnostic(where, f"{key} is {data[key]!r}", _KINDS[kind]))
    raise_all(InputError, [*found, *problems])
    raise_all(InputError, _check_values(where, data) + _check_npu(where, data) + _check_cpu(where, data))
    return Target(
        name,
        data["description"],
        tuple(data["backends"]),
        float(data["clock_hz"]),
        data.get("fabric", ""),
        dict(data["limits"]),
        dict(data["sources"]),
        _system(data["npu"]) if "npu" in data else None,
        data.get("part", ""),
        _cpu(data["cpu"]) if "cpu" in data else None,
        _gpu(data["gpu"]) if "gpu" in data else None,
    )


def _system(npu: Mapping[str, str]) -> System:
    from codesign.backends.ethosu.vela import System

    return System(npu["accelerator"], npu["system_config"], npu["memory_mode"], npu.get("ini", ""))


def _cpu(table: Mapping[str, Any]) -> Cpu:
    from codesign.backends.tvm.cpu import cpu_from_data

    return cpu_from_data(table)


def _gpu(table: Mapping[str, Any]) -> Gpu:
    from codesign.backends.tvm.mali.gpu import gpu_from_data

    return gpu_from_data(table)


def _check_cpu(where: str, data: Mapping[str, Any]) -> list[Diagnostic]:
    from codesign.backends.tvm.cpu import cpu_problems
    from codesign.backends.tvm.mali.gpu import gpu_problems

    if "gpu" in data and "cpu" in data:
        return [Diagnostic(where, "both cpu and gpu", "one of them: a target is one device")]
    if "gpu" in data:
        return _check_clock(where, data["clock_hz"]) + gpu_problems(where, data["gpu"], data["sources"])
    if "cpu" in data:
        return _check_clock(where, data["clock_hz"]) + cpu_problems(where, data["cpu"], data["sources"])
    if data["backends"] == ["tvm"]:
        allowed = "a table of a processor's core, caches and memory"
        return [Diagnostic(where, "cpu is missing", allowed, "targets/cortex-a72.toml shows it")]
    return []


def _check_clock(where: str, clock_hz: int) -> list[Diagnostic]:
    """A processor's clock; one of a few Hz is a figure in MHz or GHz. What is no clock at all, `_check_values` says."""
    low, high = _PROCESSOR_CLOCKS_HZ
    if clock_hz <= 0 or low <= clock_hz <= high:
        return []
    return [Diagnostic(where, f"clock_hz is {clock_hz}", f"{low:_} to {high:_}, in Hz")]


def _check_npu(where: str, data: Mapping[str, Any]) -> list[Diagnostic]:
    """What is wrong with the table npu. The ini file that comes with Vela is checked only when Vela is run."""
    from codesign.backends.ethosu.vela import ACCELERATORS

    if "npu" not in data:
        needed = "ethosu" in data["backends"]
        hint = "one of the files targets/ethos-u*.toml shows it"
        return [Diagnostic(where, "npu is missing", ", ".join(_NPU_FIELDS), hint)] if needed else []
    npu = data["npu"]
    allowed = ", ".join(_NPU_FIELDS)
    found = [Diagnostic(where, f"unknown key 'npu.{key}'", allowed) for key in npu if key not in _NPU_FIELDS]
    for key in _NPU_FIELDS:
        if key not in npu and key != "ini":
            found.append(Diagnostic(where, f"npu.{key} is missing"))
        elif not isinstance(npu.get(key, ""), str):
            found.append(Diagnostic(where, f"npu.{key} is {npu[key]!r}", _KINDS[str]))
    if isinstance(npu.get("accelerator"), str) and npu["accelerator"] not in ACCELERATORS:
        unknown = f"there is no accelerator {npu['accelerator']!r}"
        found.append(Diagnostic(where, unknown, ", ".join(ACCELERATORS)))
    if found or not npu.get("ini"):
        return found
    system = _system(npu)
    try:
        problems = system.problems()
    except CodesignError as error:
        problems = list(error.diagnostics)
    found = [Diagnostic(f"{where}, {p.where}", p.found, p.allowed, p.hint) for p in problems]
    if not found and system.clock_hz() != data["clock_hz"]:
        other = f"clock_hz is {data['clock_hz']}, but the ini file's core_clock is {system.clock_hz():.0f}"
        found.append(Diagnostic(where, other, "the same clock in both"))
    return found


def _check_values(where: str, data: Mapping[str, Any]) -> list[Diagnostic]:
    from codesign.backends import BACKENDS

    found: list[Diagnostic] = []
    if not data["backends"]:
        found.append(Diagnostic(where, "no backend", f"one or more of {', '.join(BACKENDS)}"))
    for backend in data["backends"]:
        if backend not in BACKENDS:
            found.append(Diagnostic(where, f"unknown backend {backend!r}", ", ".join(BACKENDS)))
    fabric = data.get("fabric", "")
    if fabric not in ("", *FABRICS):
        found.append(Diagnostic(where, f"unknown fabric {fabric!r}", ", ".join(FABRICS)))
    for limit in _FPGA_LIMITS if fabric else ():
        if limit not in data["limits"]:
            found.append(Diagnostic(where, f"limits.{limit} is missing", hint="the figure from the data sheet"))
    figures = {"clock_hz": data["clock_hz"], **{f"limits.{k}": v for k, v in data["limits"].items()}}
    for key, value in figures.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0 or (key == "clock_hz" and value == 0):
            found.append(Diagnostic(where, f"{key} is {value!r}", "a whole number, 0 or more; the clock above 0"))
        name = key.removeprefix("limits.")
        source = data["sources"].get(name)
        if not isinstance(source, str) or not source.strip():
            found.append(Diagnostic(where, f"{key} has no source", f'sources.{name} = "data sheet and table"'))
    return found
