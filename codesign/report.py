"""Figures and where they come from: metrics, verification, requirements, and report.json."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from codesign.errors import InputError

SCHEMA = 1


class Basis(enum.Enum):
    """What a figure rests on; the stronger ones last."""

    MODEL = "model"
    RTL_SIM = "rtl_sim"
    TOOL = "tool"
    MEASURED = "measured"


@dataclass(frozen=True)
class Metric:
    """One figure: name (fixed list in the documentation), value, unit, basis."""

    name: str
    value: float
    unit: str
    basis: Basis


@dataclass(frozen=True)
class Comparison:
    """How outputs compare with a reference: `reference` is `golden` or the source framework's name.

    samples         frames compared
    mismatches      elements that differ
    max_abs_diff    the largest difference, in the unit of the compared values
    argmax_agreement  share of frames with the same argmax, where that makes sense
    """

    reference: str
    samples: int
    mismatches: int
    max_abs_diff: float
    argmax_agreement: float | None = None


@dataclass(frozen=True)
class RequirementResult:
    """What became of one `--require`: the text that the user gave, the value reached with its basis, met or not."""

    requirement: str
    value: float
    basis: Basis
    met: bool


@dataclass(frozen=True)
class Report:
    """Everything known of one build; `to_data` is report.json."""

    target: str
    metrics: Sequence[Metric]
    verification: Comparison | None = None
    source_gap: Comparison | None = None
    schedule: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    requirements: Sequence[RequirementResult] = ()

    def value(self, name: str, basis: Basis) -> float | None:
        """The figure of that name and basis, or None."""
        return next((m.value for m in self.metrics if m.name == name and m.basis is basis), None)

    def best(self, name: str) -> Metric | None:
        """The figure of that name with the strongest basis: measured, then tool, rtl_sim, model."""
        order = list(Basis)
        return max((m for m in self.metrics if m.name == name), key=lambda m: order.index(m.basis), default=None)

    def updated(self, newer: Report) -> Report:
        """This report with the figures of `newer`, which replace those of the same name and basis."""
        keys = {(m.name, m.basis) for m in newer.metrics}
        kept = [m for m in self.metrics if (m.name, m.basis) not in keys]
        return replace(
            self,
            metrics=(*kept, *newer.metrics),
            verification=newer.verification or self.verification,
            source_gap=newer.source_gap or self.source_gap,
            provenance={**self.provenance, **newer.provenance},
            notes=tuple(dict.fromkeys((*self.notes, *newer.notes))),
        )

    def to_data(self) -> dict[str, Any]:
        """Plain data in the form of report.json; `report_from_data` reads it back."""
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "target": self.target,
            "metrics": [
                {"name": m.name, "value": _plain(m.value), "unit": m.unit, "basis": m.basis.value} for m in self.metrics
            ],
        }
        for name, comparison in (("verification", self.verification), ("source_gap", self.source_gap)):
            if comparison is not None:
                data[name] = {k: _plain(v) for k, v in asdict(comparison).items() if v is not None}
        if self.requirements:
            data["requirements"] = [
                {"requirement": r.requirement, "value": _plain(r.value), "basis": r.basis.value, "met": r.met}
                for r in self.requirements
            ]
        return data | {
            "schedule": dict(self.schedule),
            "provenance": dict(self.provenance),
            "notes": list(self.notes),
        }


def _plain(value: Any) -> Any:
    """A whole number without its .0, so that cycles read as cycles."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53 else value


def report_from_data(data: Mapping[str, Any], where: str = "report.json") -> Report:
    """The inverse of `Report.to_data`. Raises InputError for another schema or a damaged file."""
    if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, Mapping) else None
        raise InputError.at(where, f"schema {found!r}", f"schema {SCHEMA}", "codesign compile makes a new one")
    try:
        return Report(
            data["target"],
            tuple(Metric(m["name"], m["value"], m["unit"], Basis(m["basis"])) for m in data["metrics"]),
            verification=Comparison(**data["verification"]) if "verification" in data else None,
            source_gap=Comparison(**data["source_gap"]) if "source_gap" in data else None,
            schedule=data["schedule"],
            provenance=data["provenance"],
            notes=tuple(data["notes"]),
            requirements=tuple(
                RequirementResult(r["requirement"], r["value"], Basis(r["basis"]), r["met"])
                for r in data.get("requirements", ())
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        found = f"damaged: {type(error).__name__} {error}"
        raise InputError.at(where, found, hint="codesign compile makes a new one") from error
