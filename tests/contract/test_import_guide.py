"""docs/guide/import.md: its examples run."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "import.md"


@pytest.mark.filterwarnings("ignore")
def test_the_examples_run() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("brevitas")
    failed, run = doctest.testfile(str(GUIDE), module_relative=False)
    assert run > 10
    assert failed == 0
