"""Requirements: read with helpful errors, contradictions refused, judged on the strongest figure."""

from __future__ import annotations

import pytest

from codesign.backends.base import Requirement
from codesign.errors import RequirementError, UsageError
from codesign.report import Basis, Metric, Report
from codesign.requirements import judge, parse_requirements, text_of

ALL = (
    "fps>=, interval_cycles<=, latency_cycles<=, latency_ns<=, lut<=, ff<=, bram<=, dsp<=, "
    "sram_bytes<=, flash_bytes<=, dram_bytes<="
)


def test_forms() -> None:
    assert parse_requirements(["fps>=10000", " lut <= 2e4 ", "dsp≤0"]) == [
        Requirement("fps", ">=", 10000.0),
        Requirement("lut", "<=", 20000.0),
        Requirement("dsp", "<=", 0.0),
    ]


def test_the_tighter_of_two_counts() -> None:
    assert parse_requirements(["fps>=10", "fps>=30", "lut<=9", "lut<=7"]) == [
        Requirement("fps", ">=", 30.0),
        Requirement("lut", "<=", 7.0),
    ]


def test_text_is_what_was_read() -> None:
    for text in ("fps>=10000", "latency_ns<=0.5", "lut<=123456789", "sram_bytes<=262144"):
        assert text_of(parse_requirements([text])[0]) == text


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["fast"], "--require 'fast': not a requirement; allowed: NAME>=VALUE or NAME<=VALUE, as in \"fps>=10000\""),
        (["luts<=5"], f"--require 'luts<=5': there is no figure 'luts'; allowed: {ALL}"),
        (["lut<5"], "--require 'lut<5': the comparison <; allowed: <= or >=; try: \"lut<=5\""),
        (["lut<=x"], "--require 'lut<=x': x is no limit; allowed: a finite number, 0 or more; above 0 for >="),
        (["lut<=nan"], "--require 'lut<=nan': nan is no limit; allowed: a finite number, 0 or more; above 0 for >="),
        (["fps>=0"], "--require 'fps>=0': 0 is no limit; allowed: a finite number, 0 or more; above 0 for >="),
        (["lut>=5"], "--require 'lut>=5': less lut is better; allowed: lut<="),
        (["fps<=50"], "--require 'fps<=50': more fps is better; allowed: fps>="),
        (["fps>=100", "fps<=50"], "--require: 'fps>=100' and 'fps<=50' contradict each other"),
    ],
)
def test_errors(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_requirements(texts)
    assert str(caught.value) == message


def test_all_errors_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse_requirements(["a", "b<=1"])
    assert len(caught.value.diagnostics) == 2


def test_judged_on_the_strongest_figure() -> None:
    report = Report("t", [Metric("lut", 10, "LUT", Basis.TOOL), Metric("lut", 1, "LUT", Basis.MODEL)])
    results = judge(parse_requirements(["lut<=5"]), report)
    assert [(r.requirement, r.value, r.basis, r.met) for r in results] == [("lut<=5", 10, Basis.TOOL, False)]


def test_nothing_to_judge_by() -> None:
    report = Report("t", [Metric("lut", 10, "LUT", Basis.TOOL)])
    with pytest.raises(RequirementError) as caught:
        judge(parse_requirements(["lut<=50", "fps>=1"]), report)
    assert str(caught.value) == "--require 'fps>=1': this design has no figure fps; allowed: lut"
