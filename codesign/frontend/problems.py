"""How an importer says what it cannot take: one `Refusal` per layer, all of them raised together at the end."""

from __future__ import annotations

from codesign.errors import Diagnostic


class Refusal(Exception):
    """A layer that cannot be imported. The walk adds the layer's name and goes on, so that every layer is checked.

    found, allowed, hint  as in `Diagnostic`
    bad                   the file itself is wrong (NaN, a missing tensor), not merely unsupported
    """

    def __init__(self, found: str, allowed: str = "", hint: str = "", *, bad: bool = False) -> None:
        super().__init__(found)
        self.found, self.allowed, self.hint, self.bad = found, allowed, hint, bad

    def at(self, where: str) -> Diagnostic:
        """The finding, with the user's name of the layer."""
        return Diagnostic(where, self.found, self.allowed, self.hint)


def bad(found: str, allowed: str = "", hint: str = "") -> Refusal:
    """A refusal because the file is wrong: the command ends with status 2 instead of 3."""
    return Refusal(found, allowed, hint, bad=True)
