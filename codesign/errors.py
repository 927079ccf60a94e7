"""What goes wrong, said to a hardware engineer: where, what was found, what is allowed, what to do next.

Every error that a user can cause is a `CodesignError`; its class fixes the exit status of the command line:
1 a mismatch or an unmet requirement, 2 bad usage or bad input, 3 an unsupported model, 4 a missing or failed tool.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Diagnostic:
    """One finding: `where: found; allowed: …; try: …` (empty parts are left out).

    where    the user's name of the place: a layer, a file, an option
    found    what is there
    allowed  what would be accepted
    hint     what to do next
    """

    where: str
    found: str
    allowed: str = ""
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.found}" if self.where else self.found
        if self.allowed:
            text += f"; allowed: {self.allowed}"
        if self.hint:
            text += f"; try: {self.hint}"
        return text


class CodesignError(Exception):
    """A list of findings, all that could be collected, with the exit status that the command line returns."""

    exit_status = 2

    def __init__(self, *diagnostics: Diagnostic) -> None:
        if not diagnostics:
            raise ValueError("an error needs at least one diagnostic")
        self.diagnostics: tuple[Diagnostic, ...] = diagnostics
        super().__init__("\n".join(str(d) for d in diagnostics))

    @classmethod
    def at(cls, where: str, found: str, allowed: str = "", hint: str = "") -> Self:
        return cls(Diagnostic(where, found, allowed, hint))


class UsageError(CodesignError):
    """A wrong argument, an unknown target, contradictory requirements."""


class InputError(CodesignError):
    """A file or a value that cannot be used: corrupt, of the wrong shape, NaN."""


class GraphError(CodesignError):
    """A graph that breaks a rule of the integer graph; raised on construction."""


class UnsupportedError(CodesignError):
    """A model that the importer or the backend refuses, with every reason at once."""

    exit_status = 3


class RequirementError(CodesignError):
    """A requirement that no schedule meets; says how close one can get and what limits it."""

    exit_status = 1


class MismatchError(CodesignError):
    """A deliverable that differs from the golden evaluation."""

    exit_status = 1


class ToolError(CodesignError):
    """A tool that is missing, failed, hung or ran out of its time limit."""

    exit_status = 4


def reason_of(error: OSError) -> str:
    """What the system says, such as `No space left on device`; of a copied tree what it says of its first file.

    Not every OSError has `strerror`: shutil.copytree raises one with a list of (source, destination, reason).
    """
    if error.strerror:
        return error.strerror
    first = error.args[0] if error.args else ""
    text = str(first[0][-1] if isinstance(first, list) and first else first).strip()
    found = re.match(r"\[Errno \d+\] ([^:]+)", text)
    return found[1] if found else text or type(error).__name__


def raise_all(error: type[CodesignError], diagnostics: Sequence[Diagnostic]) -> None:
    """Raise `error` with all findings, or return when there are none."""
    if diagnostics:
        raise error(*diagnostics)
