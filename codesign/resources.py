"""Files that travel with the package: targets/, hw/, examples/."""

from __future__ import annotations

import sysconfig
from pathlib import Path


def resource_dir(name: str) -> Path:
    """The folder `name` of the project: in a checkout beside the package, else where the wheel installed it."""
    checkout = Path(__file__).resolve().parent.parent / name
    if checkout.is_dir() and (checkout.parent / "pyproject.toml").is_file():
        return checkout
    return Path(sysconfig.get_path("data")) / "share" / "codesign" / name
