"""Importing TVM without PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_torch() -> Iterator[None]:
    """Within, `import torch` fails, unless it was imported before.

    TVM imports it where it is installed, to exchange tensors with it: two thirds of its start-up, of no use here.
    """
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # Python's way to say that there is none
    try:
        yield
    finally:
        del sys.modules["torch"]
