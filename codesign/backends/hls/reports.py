"""Reports of the vendor's tools as figures of basis `tool`: read where they were made, or later from a copy.

network_csynth.xml    C synthesis (Vivado HLS, Vitis HLS): cycles, estimates of resources and clock
network_cosim.rpt     C/RTL co-simulation: cycles counted, in place of those above
utilisation.rpt       report_utilization of implement.tcl: resources after placement, in place of the estimates
timing.rpt            report_timing_summary of implement.tcl: the clock that the routed design reaches

Of each figure the strongest is kept: implementation before co-simulation before C synthesis.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign.errors import Diagnostic, InputError, raise_all
from codesign.report import Basis, Metric

_UNITS = {
    "latency_cycles": "cycle", "latency_ns": "ns", "interval_cycles": "cycle", "fps": "frame/s", "fmax_mhz": "MHz",
    "lut": "LUT", "ff": "FF", "bram": "block", "dsp": "block",
}  # fmt: skip
_LARGEST = 1e15  # cycles, LUTs, nanoseconds: no design has more
_MISSING = ("undef", "?", "-", "NA", "")  # what the tools write where they know no number


@dataclass(frozen=True)
class VendorReport:
    """Figures of reports by their kind, in the order of their strength; plain data, kept in report.json.

    figures   by kind of report, what it says (period_ns: the clock that cycles are counted in)
    files     by kind of report, the name of its file
    failures  by kind of report, what the tool found wrong with the design
    """

    figures: Mapping[str, Mapping[str, float]]
    files: Mapping[str, str]
    failures: Mapping[str, str]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Of each figure the strongest."""
        best: dict[str, float] = {}
        for kind in _READERS:
            best |= self.figures.get(kind, {})
        period = best.pop("period_ns", None)
        if period and "interval_cycles" in best:
            best["fps"] = 1e9 / (best["interval_cycles"] * period)
        if period and "latency_cycles" in best:
            best["latency_ns"] = best["latency_cycles"] * period
        return tuple(
            Metric(name, round(best[name], 4), unit, Basis.TOOL) for name, unit in _UNITS.items() if name in best
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Where the figures come from, and what the tool found wrong."""
        return (f"tool: {', '.join(self.files.values())}", *(f"tool: {text}" for text in self.failures.values()))

    def updated(self, newer: VendorReport) -> VendorReport:
        """The reports of `newer` in place of those of the same kind."""
        failures = {kind: text for kind, text in self.failures.items() if kind not in newer.files}
        files = {**self.files, **newer.files}
        return VendorReport(
            {**self.figures, **newer.figures},
            {kind: files[kind] for kind in _READERS if kind in files},
            {**failures, **newer.failures},
        )

    def to_data(self) -> dict[str, dict[str, Any]]:
        """Plain data; `from_data` reads it back."""
        return {"figures": dict(self.figures), "files": dict(self.files), "failures": dict(self.failures)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> VendorReport:
        """The reports of `to_data`. Raises InputError for damaged data."""
        try:
            figures = {kind: {name: float(v) for name, v in data["figures"][kind].items()} for kind in data["files"]}
            return cls(figures, dict(data["files"]), dict(data["failures"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            hint = "codesign compile makes a new one"
            raise InputError.at(
                "report.json", f"vendor is damaged: {type(error).__name__} {error}", hint=hint
            ) from error


class Corrupt(Exception):
    """A report that does not hold what it should; the message says what."""


class Failed(Exception):
    """A tool that found the design wrong; the message says so."""


def read_reports(folder: Path, part: str = "", top: str = "") -> VendorReport:
    """The reports below `folder`: of each kind one.

    part, top  of the design that they are read for; empty: of any
    Raises InputError for none, for every one that is corrupt, and for every one of another design.
    """
    figures: dict[str, dict[str, float]] = {}
    files: dict[str, str] = {}
    failures: dict[str, str] = {}
    found: list[Diagnostic] = []
    for kind, (names, read) in _READERS.items():
        path = next((p for name in names for p in sorted(folder.rglob(name))), None)
        if path is None:
            continue
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
            figures[kind] = read(text)
            found += _of_another(path, text, part, top)
        except Failed as error:
            figures[kind], failures[kind] = {}, str(error)
        except (Corrupt, ElementTree.ParseError, OSError) as error:
            made = "the tool makes it again"
            found.append(Diagnostic(str(path), f"a corrupt report: {error}", hint=made))
        files[kind] = path.name
    raise_all(InputError, found)
    if not files:
        looked = ", ".join(name for names, _ in _READERS.values() for name in names)
        raise InputError.at(str(folder), "no report of a vendor's tool", looked)
    return VendorReport(figures, files, failures)


_DESIGN = (
    ("part", r"<Part>\s*([^<\s]+)", r"^\|\s*Device\s*:\s*(\S+)"),
    ("top", r"<TopModelName>\s*([^<\s]+)", r"^\|\s*Design\s*:\s*(\S+)"),
)


def _of_another(path: Path, text: str, part: str, top: str) -> list[Diagnostic]:
    """Findings when a report names another part, or another top, than the design's; not all reports name them."""
    found = []
    for (what, *patterns), wanted in zip(_DESIGN, (part, top), strict=True):
        named = next((m[1] for p in patterns if (m := re.search(p, text, re.MULTILINE))), "")
        same = named == wanted if what == "top" else _plain(wanted).startswith(_plain(named))
        if named and wanted and not same:
            found.append(Diagnostic(str(path), f"a report of another design: {what} {named}", wanted))
    return found


def _plain(part: str) -> str:
    """A part without what tools write differently: dashes, and the letters in front."""
    return re.sub(r"[^a-z0-9]", "", part.lower()).removeprefix("xc")


def _number(text: str | None, what: str) -> float | None:
    """The number, None where the tool wrote that there is none; raises Corrupt for anything else."""
    if text is None or text.strip() in _MISSING:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= _LARGEST:
        raise Corrupt(f"{what} is {text.strip()!r}")
    return value


def read_csynth(text: str) -> dict[str, float]:
    """csynth.xml. The worst case of latency and interval; 18-kbit block RAMs as halves of a block."""
    root = ElementTree.fromstring(text)
    places: Mapping[str, tuple[str, ...]] = {
        "latency_cycles": ("PerformanceEstimates/SummaryOfOverallLatency/Worst-caseLatency",),
        "interval_cycles": ("PerformanceEstimates/SummaryOfOverallLatency/Interval-max",),
        "lut": ("AreaEstimates/Resources/LUT",),
        "ff": ("AreaEstimates/Resources/FF",),
        "bram": ("AreaEstimates/Resources/BRAM_18K",),
        "dsp": ("AreaEstimates/Resources/DSP", "AreaEstimates/Resources/DSP48E"),
        "period_ns": ("UserAssignments/TargetClockPeriod",),
        "estimated_ns": ("PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod",),
    }
    if root.find("AreaEstimates/Resources") is None:
        raise Corrupt("no AreaEstimates/Resources")
    figures: dict[str, float] = {}
    for name, paths in places.items():
        value = next((v for p in paths if (v := _number(root.findtext(p), p)) is not None), None)
        if value is not None:
            figures[name] = value
    if "bram" in figures:
        figures["bram"] /= 2
    for name in ("interval_cycles", "period_ns", "estimated_ns"):
        if figures.get(name) == 0:
            raise Corrupt(f"{places[name][0]} is 0")
    estimated = figures.pop("estimated_ns", None)
    if estimated:
        figures["fmax_mhz"] = 1e3 / estimated
    return figures


def read_cosim(text: str) -> dict[str, float]:
    """The line of the language that was simulated: status, then latency and interval as minimum, average, maximum."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] not in ("Verilog", "VHDL") or len(cells) < 8 or cells[1] == "NA":
            continue
        if cells[1].lower() != "pass":
            raise Failed(f"co-simulation of the {cells[0]} says {cells[1]}, not Pass")
        latency, interval = _number(cells[4], "latency"), _number(cells[7], "interval")
        # Of a single frame no interval is known; some tools then write 0.
        figures = {"latency_cycles": latency, "interval_cycles": interval or None}
        return {name: value for name, value in figures.items() if value is not None}
    raise Corrupt("no line of a simulated language")


_RESOURCES = {
    "lut": r"(?:Slice|CLB) LUTs\*?",
    "ff": r"(?:Slice|CLB) Registers",
    "bram": r"Block RAM Tile",
    "dsp": r"DSPs",
}


def read_utilisation(text: str) -> dict[str, float]:
    """The `Used` column of report_utilization's tables."""
    figures = {}
    for name, pattern in _RESOURCES.items():
        match = re.search(rf"^\|\s*{pattern}\s*\|\s*([^|\s]+)\s*\|", text, re.MULTILINE)
        if match is None:
            raise Corrupt(f"no row of {name}")
        value = _number(match[1], name)
        if value is not None:
            figures[name] = value
    return figures


def read_timing(text: str) -> dict[str, float]:
    """The worst slack of report_timing_summary and the period it refers to: the clock that the design reaches."""
    slack = re.search(r"WNS\(ns\).*\n[\s-]*\n\s*(-?\d+\.\d+)", text)
    period = re.search(r"^\s*ap_clk\s+\{[^}]*\}\s+(\d+\.\d+)", text, re.MULTILINE)
    if slack is None or period is None:
        raise Corrupt("no worst negative slack" if slack is None else "no clock ap_clk")
    if float(period[1]) <= max(0.0, float(slack[1])):
        raise Corrupt(f"a slack of {slack[1]} ns in a period of {period[1]} ns")
    return {"fmax_mhz": 1e3 / (float(period[1]) - float(slack[1]))}


_READERS: Mapping[str, tuple[tuple[str, ...], Callable[[str], dict[str, float]]]] = {
    "csynth": (("network_axi_csynth.xml", "network_csynth.xml", "csynth.xml"), read_csynth),
    "cosim": (("network_axi_cosim.rpt", "network_cosim.rpt"), read_cosim),
    "utilisation": (("utilisation.rpt",), read_utilisation),
    "timing": (("timing.rpt",), read_timing),
}
"""By kind, weaker ones first: names of the file, and how it is read."""
