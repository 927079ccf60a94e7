"""Ctrl-C ends a search at once; what was measured is on record."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from codesign.backends.tvm.tune.records import scan
from codesign.ir.text import print_graph
from codesign.testing.networks import ds_cnn

PATIENCE_S = 180.0


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    model, folder, out = tmp_path / "graph.txt", tmp_path / "records", tmp_path / "out"
    model.write_text(print_graph(ds_cnn()), encoding="utf-8")
    command = [sys.executable, "-m", "codesign.cli", "tune", str(model), "-t", "host-x86", "-o", str(out)]
    environment = {**os.environ, "CODESIGN_RECORDS": str(folder), "TMPDIR": str(tmp_path)}
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        end = time.monotonic() + PATIENCE_S
        while not list(folder.glob("*.jsonl")) and running.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=PATIENCE_S)
    finally:
        running.kill()
    assert running.returncode == 130, said
    assert said.splitlines()[-1] == "codesign tune: interrupted"
    records, problems = scan(next(folder.glob("*.jsonl")))
    assert records
    assert problems == []
    assert not out.exists()
    assert not list(tmp_path.glob("codesign-tune-*"))  # nor is anything of the workers left
