"""The process that MetaSchedule runs in: `python -m codesign.backends.tvm.tune.metaschedule_worker FOLDER`.

It crashes and hangs, with schedules and with some versions of its parts, so it has a process of its own, which its
parent (metaschedule.py) starts again; the records of what it measured are in FOLDER/records, so it goes on.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from codesign.backends.tvm.lean import without_torch

if __name__ == "__main__":
    # MetaSchedule imports TVM's own intrinsics, half a minute of parsing scripts for GPUs; ours are registered by us.
    name = "tvm.s_tir.tensor_intrin"
    sys.modules[name] = ModuleType(name)
    with without_torch():
        from codesign.backends.tvm.tune.proposals import main
    main(Path(sys.argv[1]))
