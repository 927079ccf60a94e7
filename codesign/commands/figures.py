"""How reports are shown: one row per figure, one column per basis."""

from __future__ import annotations

from collections.abc import Sequence

from codesign.commands.common import print_table
from codesign.report import Basis, Comparison, Report
from codesign.target import Target


def number(value: float) -> str:
    """12,345 or 1.25: whole numbers whole, others to what matters."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def print_report(report: Report, target: Target, title: str) -> None:
    """Figures, requirements, verification and notes of one build."""
    bases = [basis for basis in Basis if any(m.basis is basis for m in report.metrics)]
    names = list(dict.fromkeys(m.name for m in report.metrics))
    rows = []
    for name in names:
        values = [report.value(name, basis) for basis in bases]
        unit = next(m.unit for m in report.metrics if m.name == name)
        row = [name, *("" if v is None else number(v) for v in values)]
        if len(bases) > 1:
            row.append(error_of(values))
        rows.append([*row, unit, _share(report, target, name)])
    columns = ["figure", *(b.value for b in bases), *(["error"] if len(bases) > 1 else []), "unit", "of the device"]
    print_table(columns, rows, title=title, right=columns[1:-2])
    for result in report.requirements:
        met = "met" if result.met else "NOT MET"
        print(f"requirement {result.requirement}: {met}, {number(result.value)} ({result.basis.value})")
    for comparison in (report.verification, report.source_gap):
        if comparison is not None:
            print(sentence(comparison))
    for note in report.notes:
        print(f"note: {note}")


def error_of(values: Sequence[float | None]) -> str:
    """What the model says more (or less) than the figure with the strongest basis, in percent of that; exact: 0."""
    known = [v for v in values if v is not None]
    if len(known) < 2:
        return ""
    if known[0] == known[-1]:
        return "0"
    return f"{(known[0] - known[-1]) / known[-1]:+.2%}" if known[-1] else "∞"


def _share(report: Report, target: Target, name: str) -> str:
    metric, limit = report.best(name), target.limits.get(name)
    if metric is None or not limit:
        return ""
    return f"{metric.value / limit:.1%} of {limit:,}"


def sentence(comparison: Comparison) -> str:
    """What a comparison says, in words."""
    text = f"against {comparison.reference}: {comparison.samples:,} frames, "
    if comparison.mismatches == 0:
        text += "every output bit equal"
    else:
        text += f"{comparison.mismatches:,} output elements differ, by {number(comparison.max_abs_diff)} at most"
    if comparison.argmax_agreement is not None and comparison.mismatches:
        text += f", the same class in {comparison.argmax_agreement:.2%}"
    return text
