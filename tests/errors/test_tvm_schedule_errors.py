"""What a user reads of a schedule for a processor that no template can make a kernel of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from codesign.backends.base import RunOptions, ignore_progress
from codesign.backends.tvm.backend import TvmBackend
from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.network import policy_of
from codesign.backends.tvm.plan import plan
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates import TEMPLATES, make
from codesign.errors import InputError
from codesign.target import load_target
from codesign.testing.cases import CASES
from codesign.testing.graphs import feeds
from codesign.testing.networks import ds_cnn

CORES = ("cortex-a76", "cortex-a72", "host-x86")
Offer = tuple[Task, Cpu, Mapping[str, Any]]


@cache
def offers() -> dict[str, Offer]:
    """Of each template a task that it fits, a core, and the first choice."""
    found: dict[str, Offer] = {}
    for core in CORES:
        cpu = load_target(core).cpu
        assert cpu is not None
        for graph in (*(case() for case in CASES.values()), ds_cnn()):
            for task in plan(graph, policy_of(cpu)).tasks:
                for template in TEMPLATES:
                    offered = () if template.name in found else template.choices(task, cpu)
                    if offered:
                        found[template.name] = task, cpu, offered[0]
    return found


def refused(offer: Offer, choice: Mapping[str, Any]) -> str:
    task, cpu, _ = offer
    with pytest.raises(InputError) as caught:
        make(task, cpu, choice)
    return str(caught.value)


TESTED = [t.name for t in TEMPLATES if t.name != "metaschedule"]


def test_every_template_is_among_those_tested() -> None:
    assert set(offers()) == set(TESTED)


@pytest.mark.parametrize("name", TESTED)
def test_a_key_that_is_missing_or_unknown(name: str) -> None:
    offer = offers()[name]
    task, _, choice = offer
    for key in choice.keys() - {"template"}:
        text = refused(offer, {k: v for k, v in choice.items() if k != key})
        assert f"schedule of {task.where}: no key {key!r}; allowed: {', '.join(choice)}" in text
    assert f"unknown key 'colour'; allowed: {', '.join(choice)}" in refused(offer, {**choice, "colour": 1})


@pytest.mark.parametrize("name", TESTED)
@pytest.mark.parametrize("value", ["four", -1, 0, 1 << 40, None, [1], 1.5])
def test_a_value_that_is_not_offered(name: str, value: object) -> None:
    offer = offers()[name]
    task, _, choice = offer
    for key in choice.keys() - {"template"}:
        text = refused(offer, {**choice, key: value})
        assert text.startswith(f"schedule of {task.where}: {key} is {value!r}; allowed: ")
        assert repr(choice[key]) in text.partition("allowed: ")[2].split(", ")


def test_the_text_of_a_wrong_value() -> None:
    offer = offers()["loops"]
    assert refused(offer, {"template": "loops", "lanes": 3}) == (
        f"schedule of {offer[0].where}: lanes is 3; allowed: 1, 4"
    )


@pytest.mark.parametrize("lanes", ["x", 0, None])
def test_a_trace_of_another_layout(lanes: object) -> None:
    text = refused(offers()["dot"], {"template": "metaschedule", "layout": "dot", "lanes": lanes, "trace": []})
    assert f": lanes is {lanes!r}; allowed: " in text


@pytest.mark.parametrize("content", ["{}", "[]", '{"target": 1, "data": {}}', '{"target": "cortex-a76", "data": []}'])
def test_damaged_figures(content: str, tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_text(content)
    options, graph = RunOptions(1, 0.0, 1, None, None), CASES["dense"]()
    with pytest.raises(InputError) as caught:
        TvmBackend().run(tmp_path, graph, feeds(graph, 1, 1), options, ignore_progress)
    assert str(caught.value) == (
        f'{tmp_path}/figures.json: damaged: no target; allowed: {{"target": "name", "data": {{…}}, …}}; '
        "try: codesign compile, which writes it again"
    )
