"""The documentation: what is made from the code is current, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from codesign.backends.ethosu.constraints import update as update_ethosu
from codesign.cli import COMMANDS
from codesign.ir.ops import OPERATORS
from codesign.testing.operators import operator_table, update

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def test_the_readme_is_current() -> None:
    text = README.read_text(encoding="utf-8")
    assert update(text) == text, "scripts/update-docs brings it up to date"


def test_the_rules_of_ethos_u_are_current() -> None:
    text = (ROOT / "docs" / "guide" / "ethosu-operators.md").read_text(encoding="utf-8")
    assert update_ethosu(text) == text, "scripts/update-docs brings it up to date"


def test_every_operator_has_a_row() -> None:
    rows = operator_table().splitlines()[2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == list(OPERATORS)


def test_the_readme_names_every_command() -> None:
    rows = re.findall(r"^\| `(\w+)", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == list(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []
