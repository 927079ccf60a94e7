"""The process that Vela's compiler runs in: `python -m codesign.backends.ethosu.worker FOLDER`.

The compiler core is C++ in the process of its caller: what crashes or hangs there must not take codesign along.
FOLDER/jobs.json lists jobs; each gets a folder NAME of its own with result.json, and model.tflite or, of the raw
format, command_stream.bin and read_only.bin. One line per job that is done goes to stdout.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(folder: Path) -> None:
    """Compile every job of FOLDER/jobs.json in order."""
    for job in json.loads((folder / "jobs.json").read_text(encoding="utf-8")):
        out = folder / job["name"]
        out.mkdir()
        try:
            result = _compile(job, folder, out)
        except Exception as error:  # the compiler core raises what it likes; one job must not end the others
            result = {"error": str(error) or type(error).__name__}
        (out / "result.json").write_text(json.dumps(result), encoding="utf-8")
        print(f"done {job['name']}", flush=True)


def _compile(job: dict[str, Any], folder: Path, out: Path) -> dict[str, Any]:
    from ethosu import regor

    made = regor.compile(
        job["architecture"],
        (folder / job["model"]).read_bytes(),
        job["format"],
        (folder / job["system"]).read_text(encoding="utf-8"),
        options=job["options"],
        verbose=False,
    )
    result: dict[str, Any] = {"performance": _performance(made.perf_report), "tables": {}}
    if made.opt_database is not None:
        result["tables"] = {n: {"header": t.header, "rows": t.data} for n, t in made.opt_database.tables.items()}
    if isinstance(made, regor.CompiledRawModel):
        (out / "command_stream.bin").write_bytes(made.command_stream)
        (out / "read_only.bin").write_bytes(bytes(made.read_only.data))
        result["regions"] = {
            "read_only": {"region": made.read_only.region, "size": len(made.read_only.data)},
            "scratch": {"region": made.scratch.region, "size": made.scratch.size},
            "scratch_fast": {"region": made.scratch_fast.region, "size": made.scratch_fast.size},
        }
        for ports in ("inputs", "outputs", "variables"):
            result[ports] = [_port(port) for port in getattr(made, ports)]
    else:
        (out / "model.tflite").write_bytes(bytes(made.model))
    return result


def _performance(report: Any) -> dict[str, Any]:
    """The compiler's estimate as plain data; `memories` by name, each with its accesses by purpose."""
    figures = {
        name: getattr(report, name)
        for name in dir(report)
        if not name.startswith("_") and isinstance(getattr(report, name), int)
    }
    memories = {
        str(name): {
            "peak_bytes": memory.peakUsage,
            "access_cycles": memory.totalAccessCycles,
            "accesses": {
                str(purpose): {"read": a.bytesRead, "written": a.bytesWritten, "cycles": a.accessCycles}
                for purpose, a in memory.accesses.items()
            },
        }
        for name, memory in report.memories.items()
    }
    return {**figures, "memories": memories}


def _port(port: Any) -> dict[str, Any]:
    return {
        "region": port.region,
        "address": port.address,
        "size": port.size,
        "shape": list(port.shape),
        "element_size": port.element_size,
        "scale": list(port.scale),
        "zero_point": list(port.zero_point),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
