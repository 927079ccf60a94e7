"""The documentation that is made from the code is current."""

from __future__ import annotations

from pathlib import Path

from codesign.ir.ops import OPERATORS
from codesign.testing.operators import operator_table, update

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_is_current() -> None:
    text = README.read_text(encoding="utf-8")
    assert update(text) == text, "scripts/update-docs brings it up to date"


def test_every_operator_has_a_row() -> None:
    rows = operator_table().splitlines()[2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == list(OPERATORS)
