"""Export to TOSA 1.0: multipliers and shifts explicit, every rounding proved, checked with Arm's reference model."""

from codesign.export.tosa.lower import export_operators, export_tosa, write_tosa
from codesign.export.tosa.reference import (
    decode,
    encode,
    evaluate_content,
    evaluate_reference,
    offsets,
    run_reference,
)

__all__ = [
    "decode",
    "encode",
    "evaluate_content",
    "evaluate_reference",
    "export_operators",
    "export_tosa",
    "offsets",
    "run_reference",
    "write_tosa",
]
