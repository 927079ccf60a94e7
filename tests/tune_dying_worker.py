"""Stands in for MetaSchedule's process in tests: it ends itself at its first candidate, or is busy for ever."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def main(folder: Path) -> None:
    poison = folder / "poison"
    known = set(poison.read_text().split()) if poison.exists() else set()
    for name in ("candidate1", "candidate2"):
        if name in known and not {"TUNE_DIES_ALWAYS", "TUNE_HANGS"} & set(os.environ):
            continue
        print(f"start {name}", flush=True)
        if "TUNE_HANGS" in os.environ:
            time.sleep(600)
        if name == "candidate1":
            os.abort()
    print("end", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
