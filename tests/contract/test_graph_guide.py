"""docs/guide/arithmetic.md: its examples run, and its table of passes is the pipeline's."""

from __future__ import annotations

import doctest

import numpy as np

from codesign.passes import PIPELINE
from codesign.resources import resource_dir

GUIDE = resource_dir("docs") / "guide" / "arithmetic.md"


def test_examples_of_the_guide() -> None:
    failed, run = doctest.testfile(str(GUIDE), module_relative=False, globs={"np": np})
    assert run > 20
    assert failed == 0


def test_the_guide_lists_the_passes_in_order() -> None:
    rows = [line for line in GUIDE.read_text().splitlines() if line.startswith("| `") and "->" in line]
    firsts = [(step.__doc__ or "").partition("\n")[0] for step in PIPELINE]
    assert rows == [f"| `{step.__name__}` | {first} |" for step, first in zip(PIPELINE, firsts, strict=True)]
