"""report.json: the documented form, read back unchanged, merged by name and basis."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.errors import InputError
from codesign.report import Basis, Comparison, Metric, Report, RequirementResult, report_from_data

NAMES = st.sampled_from(["fps", "lut", "interval_cycles", "energy_uj"])
NUMBERS = st.one_of(st.integers(0, 1 << 60), st.floats(0, 1e12, allow_nan=False))
METRICS = st.builds(Metric, NAMES, NUMBERS, st.sampled_from(["cycle", "LUT"]), st.sampled_from(Basis))
COMPARISONS = st.builds(
    Comparison,
    st.sampled_from(["golden", "brevitas"]),
    st.integers(0),
    st.integers(0),
    NUMBERS,
    st.none() | st.floats(0, 1),
)
REPORTS = st.builds(
    Report,
    st.text(),
    st.lists(METRICS).map(tuple),
    st.none() | COMPARISONS,
    st.none() | COMPARISONS,
    st.dictionaries(st.text(), st.integers()),
    st.dictionaries(st.text(), st.text()),
    st.lists(st.text()).map(tuple),
    st.lists(st.builds(RequirementResult, st.text(), NUMBERS, st.sampled_from(Basis), st.booleans())).map(tuple),
)


@given(REPORTS)
def test_round_trip_through_json(report: Report) -> None:
    assert report_from_data(json.loads(json.dumps(report.to_data()))) == report


def test_the_documented_form() -> None:
    report = Report(
        "pynq-z2",
        [Metric("interval_cycles", 784.0, "cycle", Basis.RTL_SIM)],
        Comparison("golden", 100, 0, 0.0),
        Comparison("brevitas", 100, 0, 0.0, 1.0),
    )
    assert report.to_data() == {
        "schema": 1,
        "target": "pynq-z2",
        "metrics": [{"name": "interval_cycles", "value": 784, "unit": "cycle", "basis": "rtl_sim"}],
        "verification": {"reference": "golden", "samples": 100, "mismatches": 0, "max_abs_diff": 0},
        "source_gap": {
            "reference": "brevitas", "samples": 100, "mismatches": 0, "max_abs_diff": 0, "argmax_agreement": 1,
        },
        "schedule": {},
        "provenance": {},
        "notes": [],
    }  # fmt: skip


def test_newer_figures_replace_those_of_the_same_basis() -> None:
    old = Report("t", [Metric("lut", 1, "LUT", Basis.MODEL), Metric("lut", 5, "LUT", Basis.TOOL)], notes=["a"])
    new = old.updated(Report("t", [Metric("lut", 2, "LUT", Basis.MODEL)], notes=["b", "a"]))
    assert (new.value("lut", Basis.MODEL), new.value("lut", Basis.TOOL), new.notes) == (2, 5, ("a", "b"))
    assert new.best("lut") == Metric("lut", 5, "LUT", Basis.TOOL)
    assert new.value("ff", Basis.MODEL) is None
    assert new.best("ff") is None


def test_another_schema_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        report_from_data({"schema": 7})
    assert str(caught.value) == "report.json: schema 7; allowed: schema 1; try: codesign compile makes a new one"


@pytest.mark.parametrize("damage", ["target", "metrics", "notes"])
def test_a_damaged_report_is_refused(damage: str) -> None:
    data = Report("t", []).to_data()
    del data[damage]
    with pytest.raises(InputError, match=f"damaged: KeyError '{damage}'"):
        report_from_data(data)
