"""The process that candidates are compiled in: `python -m codesign.backends.tvm.tune.worker FOLDER`.

TVM's and LLVM's C++ may crash or hang on a schedule; here that costs one candidate. FOLDER/NUMBER.job is a pickled
Job; its candidates are compiled into the folder it names, each a pickled Built in NUMBER.built there. What goes to
stdout, a line each, tells the parent where the work is: `start JOB NUMBER`, `done JOB NUMBER`, `end JOB`, and `idle`
while there is nothing to do. FOLDER/stop ends it, and so does the end of the parent.
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import time
from pathlib import Path

from codesign.backends.tvm.lean import without_torch
from codesign.backends.tvm.tune.jobs import Built, Job, write_whole

POLL_S = 0.02
IDLE_S = 1.0  # between two words while there is nothing to do


def main(folder: Path) -> None:
    """Compile every job that appears in FOLDER, in the order of their numbers."""
    parent = os.getppid()
    print("idle", flush=True)
    with without_torch():  # seconds, which no candidate is to be blamed for
        import codesign.backends.tvm.templates  # noqa: F401

    print("idle", flush=True)
    spoken = time.monotonic()
    done: set[str] = set()
    while not (folder / "stop").exists() and os.getppid() == parent:
        waiting = sorted(path for path in folder.glob("*.job") if path.stem not in done)
        for path in waiting:
            job: Job = pickle.loads(path.read_bytes())
            done.add(path.stem)
            for number in job.numbers:
                if (folder / "stop").exists():
                    return
                print(f"start {path.stem} {number}", flush=True)
                write_whole(job.folder / f"{number}.built", _build(job, number))
                print(f"done {path.stem} {number}", flush=True)
            print(f"end {path.stem}", flush=True)
            spoken = time.monotonic()
        if time.monotonic() - spoken > IDLE_S:
            print("idle", flush=True)
            spoken = time.monotonic()
        time.sleep(POLL_S)


def _build(job: Job, number: int) -> Built:
    from codesign.backends.tvm.codegen import compile_kernel

    choice = job.choices[number]
    try:
        template = next(t for t in job.templates if t.name == choice["template"])
        definition = template.make(job.task, job.cpu, choice)
        made = compile_kernel(definition.func, job.cpu)
        path = job.folder / f"{made.symbol}.o"  # the cache may forget it while the batch is being measured
        if not path.exists():
            shutil.copyfile(made.path, path)
    except Exception as error:  # a schedule may fail in any way that TVM knows; one must not end the others
        lines = str(error).strip().splitlines()
        return Built(error=f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"[:300])
    return Built(made.symbol, made.steps, path, definition.arguments)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
