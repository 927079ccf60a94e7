"""Targets: every shipped file is complete, and a bad one says everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from codesign.backends import BACKENDS
from codesign.backends.tvm.cpu import FIGURES
from codesign.backends.tvm.mali.gpu import FIGURES as GPU_FIGURES
from codesign.errors import InputError, UsageError
from codesign.resources import resource_dir
from codesign.target import load_target, target_from_data, target_names

GOOD = """
description = "a board"
backends = ["rtl"]
fabric = "ecp5"
clock_hz = 1_000_000
[limits]
lut = 1
ff = 2
bram = 3
bram_bits = 4
dsp = 0
[sources]
clock_hz = "c"
lut = "l"
ff = "f"
bram = "b"
bram_bits = "bb"
dsp = "d"
"""


@pytest.mark.parametrize("name", target_names())
def test_shipped_targets_are_complete(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    if target.fabric:
        assert target.limits["bram"] * target.limits["bram_bits"] > 0
    assert set(target.sources) == {
        "clock_hz",
        *target.limits,
        *(FIGURES if target.cpu else ()),
        *(GPU_FIGURES if target.gpu else ()),
    }


def test_the_devices_of_the_issue_are_there() -> None:
    assert {"pynq-z2", "zcu104", "arty-a7-100", "ulx3s-85f", "ice40-up5k"} <= set(target_names())


def test_figures_of_the_xc7z020() -> None:
    limits = load_target("pynq-z2").limits
    assert (limits["lut"], limits["ff"], limits["bram"], limits["dsp"]) == (53_200, 106_400, 140, 220)


def test_block_sizes_are_those_of_the_resource_model() -> None:
    from codesign.backends.rtl.fabrics import fabric

    for target in (t for t in map(load_target, target_names()) if t.fabric):
        assert target.limits["bram_bits"] == fabric(target.fabric).bram_bits


def test_a_file_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    target = load_target(str(path))
    assert (target.name, target.fabric, target.clock_hz) == ("mine", "ecp5", 1e6)
    assert target_from_data("mine", target.to_data()) == target
    path.write_text(GOOD.replace('fabric = "ecp5"', 'fabric = "xc7"\npart = "xc7a35tcpg236-1"'))
    with_part = load_target(str(path))
    assert with_part.part == "xc7a35tcpg236-1"
    assert target_from_data("mine", with_part.to_data()) == with_part


def test_unknown_name() -> None:
    with pytest.raises(UsageError) as caught:
        load_target("pynqz2")
    names = ", ".join(target_names())
    assert str(caught.value) == f"target: there is no 'pynqz2'; allowed: {names}, or a .toml file; try: -t pynq-z2"


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    text = GOOD.replace('"ecp5"', '"virtex"').replace("lut = 1\n", "lut = -1\n")
    path.write_text(text.replace('ff = "f"\n', "").replace('"rtl"', '"x"'))
    with pytest.raises(InputError) as caught:
        load_target(str(path))
    assert str(caught.value).splitlines() == [
        f"{path}: unknown backend 'x'; allowed: {', '.join(BACKENDS)}",
        f"{path}: unknown fabric 'virtex'; allowed: xc7, xcup, ecp5, ice40, arria10",
        f"{path}: limits.lut is -1; allowed: a whole number, 0 or more; the clock above 0",
        f'{path}: limits.ff has no source; allowed: sources.ff = "data sheet and table"',
    ]


def test_missing_and_unknown_keys(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('speed = 1\ndescription = 2\nbackends = ["rtl"]\nfabric = "xc7"\nclock_hz = 0\n[limits]\nlut = 1\n')
    with pytest.raises(InputError) as caught:
        load_target(str(path))
    assert str(caught.value).splitlines() == [
        f"{path}: unknown key 'speed'; "
        "allowed: description, backends, clock_hz, fabric, part, limits, sources, npu, cpu, gpu",
        f"{path}: description is 2; allowed: text",
        f"{path}: sources is missing",
    ]


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file or directory"):
        load_target(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_text("lut ==")
    with pytest.raises(InputError, match=r"not a TOML file: .*; try: a copy of one under targets/"):
        load_target(str(tmp_path / "bad.toml"))


def test_resources_of_a_checkout() -> None:
    assert (resource_dir("targets") / "pynq-z2.toml").is_file()
