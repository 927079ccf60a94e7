"""Devices: one TOML file each under targets/, data only.

    description = "…"              backends = ["rtl"]        fabric = "xc7"        clock_hz = 100_000_000
    part = "xc7z020clg400-1"       (as vendor tools name the device; where they are needed)
    [limits]   lut = 53_200  …     [sources]  clock_hz = "why this clock"   lut = "data sheet and table"  …

Every figure has its source.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign.errors import Diagnostic, InputError, UsageError, raise_all
from codesign.resources import resource_dir

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
}
_OPTIONAL = ("part",)
_KINDS: Mapping[type, str] = {str: "text", list: "a list of names", int: "a whole number", dict: "a table"}


@dataclass(frozen=True)
class Target:
    """A device to build for.

    name      file name without .toml, what `-t` takes
    backends  names of the backends that can build for it; the first is the default
    clock_hz  the clock that cycles are turned into time with
    fabric    FPGA fabric: `xc7`, `xcup`, `ecp5`, `ice40`; empty for other devices
    limits    what there is: lut, ff, bram (each of bram_bits), dsp, or bytes of memory
    sources   where each figure was taken from
    part      the device as vendor tools name it; empty where none is needed
    """

    name: str
    description: str
    backends: tuple[str, ...]
    clock_hz: float
    fabric: str
    limits: Mapping[str, int]
    sources: Mapping[str, str]
    part: str = ""

    def to_data(self) -> dict[str, Any]:
        """The file's content, as plain data; `target_from_data` reads it back."""
        return {
            "description": self.description,
            "backends": list(self.backends),
            "clock_hz": int(self.clock_hz),
            "fabric": self.fabric,
            "part": self.part,
            "limits": dict(self.limits),
            "sources": dict(self.sources),
        }


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
    return target_from_data(path.stem, data, where=name)


def target_from_data(name: str, data: Mapping[str, Any], where: str = "") -> Target:
    """The target of a file's content. Raises InputError that lists everything that is wrong."""
    where = where or f"target {name}"
    found = [Diagnostic(where, f"unknown key {key!r}", ", ".join(_FIELDS)) for key in data if key not in _FIELDS]
    for key, kind in _FIELDS.items():
        if key not in data:
            if key in _OPTIONAL:
                continue
            found.append(Diagnostic(where, f"{key} is missing"))
        elif not isinstance(data[key], kind) or isinstance(data[key], bool):
            found.append(Diagnostic(where, f"{key} is {data[key]!r}", _KINDS[kind]))
    raise_all(InputError, found)
    raise_all(InputError, _check_values(where, data))
    return Target(
        name,
        data["description"],
        tuple(data["backends"]),
        float(data["clock_hz"]),
        data["fabric"],
        dict(data["limits"]),
        dict(data["sources"]),
        data.get("part", ""),
    )


def _check_values(where: str, data: Mapping[str, Any]) -> list[Diagnostic]:
    from codesign.backends import BACKENDS

    found: list[Diagnostic] = []
    if not data["backends"]:
        found.append(Diagnostic(where, "no backend", f"one or more of {', '.join(BACKENDS)}"))
    for backend in data["backends"]:
        if backend not in BACKENDS:
            found.append(Diagnostic(where, f"unknown backend {backend!r}", ", ".join(BACKENDS)))
    if data["fabric"] not in ("", *FABRICS):
        found.append(Diagnostic(where, f"unknown fabric {data['fabric']!r}", ", ".join(FABRICS)))
    for limit in _FPGA_LIMITS if data["fabric"] else ():
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
