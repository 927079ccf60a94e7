"""What the peers are given: ncnn's benchmark networks, and the view of a core that libraries choose kernels by."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "peers"))

from aarch64_peer import simulate_peer
from aarch64_root import _view
from ncnn_networks import mobilenet_v1, resnet50

from codesign.errors import InputError, UsageError
from codesign.target import load_target


def macs(path: Path) -> int:
    """Of the convolutions and products in a .param, by the sizes of their weights and images."""
    total, sizes = 0, {"data": 224}
    for line in path.read_text().splitlines()[2:]:
        kind, _, inputs, outputs, *rest = line.split()
        names, settings = rest[: int(inputs) + int(outputs)], dict(w.split("=") for w in rest if "=" in w)
        size = sizes.get(names[0], 224)
        if kind.startswith("Convolution"):
            kernel, stride, pad = (int(settings[key]) for key in "134")
            size = (size + 2 * pad - kernel) // stride + 1
            total += int(settings["6"]) * size * size
        elif kind == "Pooling":
            size = 1 if settings["0"] == "1" else size // 2
        elif kind == "InnerProduct":
            total += int(settings["2"])
        for name in names[int(inputs) :]:
            sizes[name] = size
    return total


def test_ncnn_s_networks_are_those_of_its_benchmark(tmp_path: Path) -> None:
    """Layers and blobs as the second line of benchmark/*_int8.param says, MACs as the papers say."""
    small, large = mobilenet_v1(tmp_path / "m.param"), resnet50(tmp_path / "r.param")
    assert [path.read_text().split("\n")[1] for path in (small, large)] == ["58 58", "139 155"]
    assert macs(small) == pytest.approx(569e6, rel=0.005)
    assert macs(large) == pytest.approx(3.86e9, rel=0.01)
    assert large.with_suffix(".bin").stat().st_size > 4 * 25_500_000


def test_each_core_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "system" / "usr").mkdir(parents=True)
    for core, part, dot in (("cortex-a72", "0xd08", False), ("cortex-a76", "0xd0b", True)):
        root = tmp_path / "cores" / core
        _view(root, tmp_path / "system", core)
        text = (root / "proc" / "cpuinfo").read_text()
        assert f"CPU part\t: {part}\n" in text
        assert ("asimddp" in text) == dot
        assert (root / "usr").resolve() == tmp_path / "system" / "usr"
        assert (root / "sys" / "devices" / "system" / "cpu" / "present").read_text() == "0\n"


def test_other_models_and_targets(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        simulate_peer(tmp_path / "m.pt", load_target("rpi4"))
    assert str(caught.value) == f"{tmp_path}/m.pt: no library for this kind of file; allowed: .tflite, .onnx, .param"
    with pytest.raises(InputError, match=r"m\.onnx: there is no such file"):
        simulate_peer(tmp_path / "m.onnx", load_target("rpi4"))
    with pytest.raises(UsageError, match="target: zcu104 is no ARM core; allowed: cortex-a53"):
        simulate_peer(tmp_path / "m.onnx", load_target("zcu104"))
