"""docs/guide/tosa.md: its table of operators is the export's."""

from __future__ import annotations

from codesign.export.tosa.lower import RULES
from codesign.ir.ops import OPERATORS
from codesign.resources import resource_dir


def test_the_guide_lists_every_operator_with_its_form() -> None:
    text = (resource_dir("docs") / "guide" / "tosa.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    forms = {operator.__name__: (rule.__doc__ or "").splitlines()[0] for operator, rule in RULES.items()}
    assert rows == [f"| `{name}` | {form} |" for name, form in forms.items()]
    assert set(forms) == set(OPERATORS)
