"""What a user demands of a design: `--require "fps>=10000"`, read, checked against each other and against a report."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from codesign.backends.base import Requirement
from codesign.errors import Diagnostic, RequirementError, UsageError, raise_all
from codesign.report import Report, RequirementResult

_BETTER: Mapping[str, Literal["<=", ">="]] = {
    "fps": ">=",
    "interval_cycles": "<=",
    "latency_cycles": "<=",
    "latency_ns": "<=",
    "lut": "<=",
    "ff": "<=",
    "bram": "<=",
    "dsp": "<=",
    "sram_bytes": "<=",
    "flash_bytes": "<=",
    "dram_bytes": "<=",
}
"""What can be demanded, and on which side the limit lies."""

_FORM = re.compile(r"\s*(\w+)\s*(<=|>=|==|=|<|>|≤|≥)\s*(\S+?)\s*$")
_ALLOWED = ", ".join(f"{name}{op}" for name, op in _BETTER.items())


def text_of(requirement: Requirement) -> str:
    """The form that `--require` takes: `fps>=10000`."""
    return f"{requirement.name}{requirement.op}{requirement.value:.12g}"


def parse_requirements(texts: Sequence[str]) -> list[Requirement]:
    """The requirements, one for each text. Raises UsageError with everything that is wrong, contradictions included."""
    found: list[Diagnostic] = []
    bounds: dict[str, dict[str, tuple[str, float]]] = {}
    for text in texts:
        where = f"--require {text!r}"
        match = _FORM.match(text)
        if match is None:
            found.append(Diagnostic(where, "not a requirement", 'NAME>=VALUE or NAME<=VALUE, as in "fps>=10000"'))
            continue
        name, op, value = match[1], {"≤": "<=", "≥": ">="}.get(match[2], match[2]), _number(match[3])
        if name not in _BETTER:
            found.append(Diagnostic(where, f"there is no figure {name!r}", _ALLOWED))
        elif op not in ("<=", ">="):
            found.append(Diagnostic(where, f"the comparison {op}", "<= or >=", f'"{name}{_BETTER[name]}{match[3]}"'))
        elif value is None or (op == ">=" and value == 0):
            found.append(Diagnostic(where, f"{match[3]} is no limit", "a finite number, 0 or more; above 0 for >="))
        else:
            tighter = max if op == ">=" else min
            old = bounds.setdefault(name, {}).get(op)
            bounds[name][op] = tighter(old, (text, value), key=lambda b: b[1]) if old else (text, value)
    requirements: list[Requirement] = []
    for name, sides in bounds.items():
        low, high = sides.get(">="), sides.get("<=")
        if low and high and low[1] > high[1]:
            found.append(Diagnostic("--require", f"{low[0]!r} and {high[0]!r} contradict each other"))
            continue
        for op, (text, value) in sides.items():
            if op != _BETTER[name]:
                better = "more" if op == "<=" else "less"
                found.append(Diagnostic(f"--require {text!r}", f"{better} {name} is better", f"{name}{_BETTER[name]}"))
            else:
                requirements.append(Requirement(name, _BETTER[name], value))
    raise_all(UsageError, found)
    return requirements


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def judge(requirements: Sequence[Requirement], report: Report) -> tuple[RequirementResult, ...]:
    """Each requirement against the report's figure with the strongest basis. RequirementError where there is none."""
    results, found = [], []
    for requirement in requirements:
        metric, text = report.best(requirement.name), text_of(requirement)
        if metric is None:
            there = ", ".join(name for name in _BETTER if report.best(name) is not None) or "none"
            found.append(Diagnostic(f"--require {text!r}", f"this design has no figure {requirement.name}", there))
            continue
        met = metric.value <= requirement.value if requirement.op == "<=" else metric.value >= requirement.value
        results.append(RequirementResult(text, metric.value, metric.basis, met))
    raise_all(RequirementError, found)
    return tuple(results)


def unmet(results: Sequence[RequirementResult]) -> list[Diagnostic]:
    """A finding for every requirement that is not met."""
    return [
        Diagnostic(f"requirement {r.requirement}", f"not met: {r.value:.12g} ({r.basis.value})")
        for r in results
        if not r.met
    ]
