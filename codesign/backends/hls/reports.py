"""Reports of the vendor's tools as figures of basis `tool`: read where they were made, or later from a copy.

network_csynth.xml    C synthesis (Vivado HLS, Vitis HLS): cycles, estimates of resources and clock
network_cosim.rpt     C/RTL co-simulation: cycles counted, in place of those above
utilisation.rpt       report_utilization of implement.tcl: resources after placement, in place of the estimates
timing.rpt            report_timing_summary of implement.tcl: the clock that the routed design reaches

Of each figure the strongest is kept: implementation before co-simulation before C synthesis.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from codesign.errors import Diagnostic, InputError, raise_all
from codesign.report import Basis, Metric

_UNITS = {
    "latency_cycles": "cycle", "latency_ns": "ns", "interval_cycles": "cycle", "fps": "frame/s", "fmax_mhz": "MHz",
    "lut": "LUT", "ff": "FF", "bram": "block", "dsp": "block",
}  # fmt: skip
_MISSING = ("undef", "?", "-", "NA", "")  # what the tools write where they know no number


@dataclass(frozen=True)
class VendorReport:
    """Figures, the files that they come from, and what a user should know of them."""

    metrics: tuple[Metric, ...]
    files: tuple[Path, ...]
    notes: tuple[str, ...]


class Corrupt(Exception):
    """A report that does not hold what it should; the message says what."""


def read_reports(folder: Path) -> VendorReport:
    """The figures of all reports below `folder`. Raises InputError for none, and for every one that is corrupt."""
    figures: dict[str, float] = {}
    files: list[Path] = []
    notes: list[str] = []
    found: list[Diagnostic] = []
    for names, read in _READERS:
        path = next((p for name in names for p in sorted(folder.rglob(name))), None)
        if path is None:
            continue
        try:
            figures |= read(path.read_text(encoding="utf-8", errors="replace"))
            files.append(path)
        except (Corrupt, ElementTree.ParseError, OSError) as error:
            made = "the tool makes it again"
            found.append(Diagnostic(str(path), f"a corrupt report: {error}", hint=made))
    raise_all(InputError, found)
    if not files:
        looked = ", ".join(name for names, _ in _READERS for name in names)
        raise InputError.at(str(folder), "no report of a vendor's tool", looked)
    period = figures.pop("period_ns", None)
    if period:
        if "interval_cycles" in figures:
            figures["fps"] = 1e9 / (figures["interval_cycles"] * period)
        if "latency_cycles" in figures:
            figures["latency_ns"] = figures["latency_cycles"] * period
    notes.append(f"tool: {', '.join(path.name for path in files)}")
    metrics = tuple(
        Metric(name, round(figures[name], 4), unit, Basis.TOOL) for name, unit in _UNITS.items() if name in figures
    )
    return VendorReport(metrics, tuple(files), tuple(notes))


def _number(text: str | None, what: str) -> float | None:
    """The number, None where the tool wrote that there is none; raises Corrupt for anything else."""
    if text is None or text.strip() in _MISSING:
        return None
    try:
        return float(text)
    except ValueError:
        raise Corrupt(f"{what} is {text.strip()!r}") from None


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
    estimated = figures.pop("estimated_ns", 0.0)
    if estimated > 0:
        figures["fmax_mhz"] = 1e3 / estimated
    return figures


def read_cosim(text: str) -> dict[str, float]:
    """The line of the language that was simulated: status, then latency and interval as minimum, average, maximum."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] not in ("Verilog", "VHDL") or len(cells) < 8 or cells[1] == "NA":
            continue
        if cells[1].lower() != "pass":
            raise Corrupt(f"co-simulation of the {cells[0]} says {cells[1]}, not Pass")
        latency, interval = _number(cells[4], "latency"), _number(cells[7], "interval")
        figures = {"latency_cycles": latency, "interval_cycles": interval}
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
    slack = re.search(r"WNS\(ns\).*\n[\s-]*\n?\s*(-?\d+\.\d+)", text)
    period = re.search(r"^\s*ap_clk\s+\{[^}]*\}\s+(\d+\.\d+)", text, re.MULTILINE)
    if slack is None or period is None:
        raise Corrupt("no worst negative slack" if slack is None else "no clock ap_clk")
    if float(period[1]) <= float(slack[1]):
        raise Corrupt(f"a slack of {slack[1]} ns in a period of {period[1]} ns")
    return {"fmax_mhz": 1e3 / (float(period[1]) - float(slack[1]))}


_READERS: tuple[tuple[tuple[str, ...], Callable[[str], dict[str, float]]], ...] = (
    (("network_axi_csynth.xml", "network_csynth.xml", "csynth.xml"), read_csynth),
    (("network_axi_cosim.rpt", "network_cosim.rpt"), read_cosim),
    (("utilisation.rpt",), read_utilisation),
    (("timing.rpt",), read_timing),
)
