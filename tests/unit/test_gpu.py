"""The table [gpu]: every shipped GPU is complete, and a bad one says everything that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from codesign.backends.tvm.mali.gpu import FIGURES, Gpu
from codesign.errors import InputError
from codesign.target import Target, load_target, target_from_data, target_names

GPUS = ["mali-t860", "mali-g52", "mali-g72", "mali-g76", "mali-g610"]


def gpu_of(target: Target) -> Gpu:
    assert target.gpu is not None
    return target.gpu


def data(**changed: Any) -> dict[str, Any]:
    """The file of mali-g52 with other values in [gpu]; None takes a key away."""
    content = load_target("mali-g52").to_data()
    content["gpu"] = {k: v for k, v in {**content["gpu"], **changed}.items() if v is not None}
    return content


def problems(content: dict[str, Any]) -> list[str]:
    with pytest.raises(InputError) as caught:
        target_from_data("gpu", content)
    return str(caught.value).splitlines()


def test_the_gpus_of_the_issue_are_there() -> None:
    assert {*GPUS} == {name for name in target_names() if load_target(name).gpu}


@pytest.mark.parametrize("name", GPUS)
def test_the_content_reads_back(name: str) -> None:
    target = load_target(name)
    assert target_from_data(name, target.to_data()) == target
    assert set(target.sources) == {"clock_hz", *FIGURES}


def test_which_gpus_have_the_dot_product() -> None:
    gpus = {name: gpu_of(load_target(name)) for name in GPUS}
    assert {name for name, gpu in gpus.items() if gpu.dot8_macs} == {"mali-g52", "mali-g76", "mali-g610"}
    assert {name: gpu.operand for name, gpu in gpus.items()}["mali-t860"] == ""
    assert {name: gpu.operand for name, gpu in gpus.items()}["mali-g76"] == "int8"
    assert [name for name, gpu in gpus.items() if gpu.vectors] == ["mali-t860"]


def test_kinds_and_missing_keys() -> None:
    assert problems(data(speed=1, warp=True, architecture=3, l2_bytes=None)) == [
        f"target gpu: unknown key 'gpu.speed'; allowed: {', '.join(Gpu.__dataclass_fields__)}",
        "target gpu: gpu.architecture is 3; allowed: text",
        "target gpu: gpu.warp is True; allowed: a whole number",
        "target gpu: gpu.l2_bytes is missing",
    ]


def test_values() -> None:
    content = data(architecture="adreno", cores=0, dot8_macs=-1, full_registers=128)
    del content["sources"]["warp"]
    assert problems(content) == [
        "target gpu: gpu.architecture is 'adreno'; allowed: midgard, bifrost, valhall",
        "target gpu: gpu.cores is 0; allowed: 1 or more",
        'target gpu: gpu.warp has no source; allowed: sources.warp = "manual and section"',
        "target gpu: gpu.dot8_macs is -1; allowed: 0 or more",
        "target gpu: gpu.full_registers is 128 and gpu.registers is 64; allowed: no more full_registers than registers",
    ]


def test_one_device_a_target() -> None:
    content = data() | {"cpu": load_target("cortex-a72").to_data()["cpu"]}
    assert problems(content) == ["target gpu: both cpu and gpu; allowed: one of them: a target is one device"]


def test_figures_that_no_gpu_has() -> None:
    assert problems(data(cores=100_000)) == ["target gpu: gpu.cores is 100000; allowed: 1 to 1024"]
    text = "target gpu: clock_hz is 800; allowed: 1_000_000 to 10_000_000_000, in Hz"
    assert problems({**data(), "clock_hz": 800}) == [text]
