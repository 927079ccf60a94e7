"""What is wrong with a command stream."""

from __future__ import annotations

from codesign.errors import CodesignError


class StreamError(CodesignError):
    """A driver payload, a command or a stream of weights that cannot be decoded."""

    exit_status = 1
