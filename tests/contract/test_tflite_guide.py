"""docs/guide/tflite.md: its table of operators is the importer's."""

from __future__ import annotations

from codesign.frontend.tflite.importer import HANDLERS
from codesign.resources import resource_dir


def test_the_guide_lists_every_operator_with_its_rule() -> None:
    text = (resource_dir("docs") / "guide" / "tflite.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    rules = {name: (handler.__doc__ or "").splitlines()[0] for name, handler in HANDLERS.items()}
    assert rows == [f"| `{name}` | {rule} |" for name, rule in rules.items()]
