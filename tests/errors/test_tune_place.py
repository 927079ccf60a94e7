"""Where tuning would write is looked at before the search, not after its minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from codesign.builddir import expect_place
from codesign.cli import main
from codesign.errors import UsageError
from codesign.ir.text import print_graph
from codesign.testing.cases import CASES


def test_a_folder_of_others_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.txt").write_text(print_graph(CASES["residual"]()))
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "letter").write_text("mine")
    words = ["tune", str(tmp_path / "model.txt"), "-t", "cortex-a76", "-o", str(taken), "--trials", "1"]
    assert main(words) == 2
    assert f"{taken}" in capsys.readouterr().err
    assert [path.name for path in taken.iterdir()] == ["letter"]


def test_a_trial_leaves_nothing(tmp_path: Path) -> None:
    expect_place(tmp_path / "new" / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError):
        expect_place(tmp_path / "file")
