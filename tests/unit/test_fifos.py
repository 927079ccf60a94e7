"""With the chosen depths every frame ends as early as with unlimited ones, and none of a small network is larger."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from codesign.backends.rtl import fifos
from codesign.backends.rtl.fifos import Storage, size_fifos
from codesign.backends.rtl.network import UNLIMITED, Actor, Link, Network
from codesign.backends.rtl.timing import CycleModel, DeadlockError
from tests.unit.streaming_networks import chain, fork_join, networks


def storage(network: Network, least: int = 2) -> dict[str, Storage]:
    return {link.name: Storage(least, 1 + i) for i, link in enumerate(network.links)}


@given(networks())
@settings(max_examples=150)
def test_depths_are_sufficient_and_least(network: Network) -> None:
    network = replace(network, takes=np.ones(network.actors[0].listed, int))
    model, links = CycleModel(network), storage(network, least=1)
    free = model.steady(dict.fromkeys(links, UNLIMITED))
    sizing = size_fifos(network, links)
    run = model.steady(sizing.depths)
    assert run.interval == free.interval == network.ideal_interval == sizing.run.interval
    assert run.latency_cycles == free.latency_cycles
    unthrottled = model.simulate(100, 0, sizing.depths).completions
    assert abs(unthrottled[-1] - unthrottled[49] - 50 * network.ideal_interval) <= 10 * network.ideal_interval
    latest = model.simulate(32, network.ideal_interval, dict.fromkeys(links, UNLIMITED)).completions
    assert model.simulate_if(latest, network.ideal_interval, sizing.depths) is not None
    for name, depth in sizing.depths.items():
        if depth > 1:
            assert model.simulate_if(latest, network.ideal_interval, sizing.depths | {name: depth - 1}) is None


def test_a_skip_connection_gets_the_depth_that_its_branch_needs() -> None:
    """The slow branch gives nothing until it has all 8 beats: the skip connection must hold them, and one more."""
    network = fork_join(2)
    with pytest.raises(DeadlockError):
        CycleModel(network).simulate(1)
    with pytest.raises(DeadlockError):
        CycleModel(network).simulate(1, depths={"skip": 7})
    sizing = size_fifos(network, storage(network))
    assert sizing.depths["skip"] > 8
    run = CycleModel(network).steady(sizing.depths)
    assert run.settled
    assert run.interval == 8


@pytest.mark.parametrize("latency", [0, 1, 7])
def test_a_beat_per_cycle_needs_latency_plus_two(latency: int) -> None:
    assert size_fifos(chain(latency=latency), {"x": Storage(1, 8)}).depths == {"x": latency + 2}


def test_the_least_depth_is_kept() -> None:
    assert size_fifos(chain(work=5), {"x": Storage(6, 8), "y": Storage(3, 8)}).depths == {"x": 6, "y": 3}


def test_an_interval_that_fixed_depths_spoil_is_kept_as_it_is() -> None:
    """`y` of depth 1 gives a beat every other cycle: 4 beats take 8 cycles, whatever the depth of `x`."""
    x, y = chain().links
    network = Network(chain().actors, (x, replace(y, depth=1)), "load", chain().takes)
    sizing = size_fifos(network, {"x": Storage(1, 8)})
    assert sizing.run.interval == 8
    assert CycleModel(network).steady(sizing.depths).interval == 8
    assert sizing.depths["x"] <= 5


def test_what_waits_is_stored_where_it_is_small() -> None:
    """Two FIFOs in a row could hold the beats that a late reader leaves: the one of fewer bits does."""
    one, upto = np.ones(8, int), np.arange(1, 9)

    def depths(bits: tuple[int, int]) -> list[int]:
        network = Network(
            (Actor("load", 8), Actor("pass", 8), Actor("slow", 8), Actor("add", 8)),
            (
                Link("a", "load", "pass", 2, 0, one, upto, one),
                Link("b", "pass", "add", 2, 0, one, upto, one),
                Link("c", "load", "slow", 2, 0, one, np.full(8, 8), one),
                Link("d", "slow", "add", 2, 0, one, upto, one),
                Link("y", "add", None, 2, 0, one),
            ),
            "load",
            one,
        )
        sizes = size_fifos(network, {"a": Storage(2, bits[0]), "b": Storage(2, bits[1])} | {"c": Storage(2, 1)}).depths
        return [sizes["a"], sizes["b"]]

    assert depths((100, 1)) == [2, 9]
    assert depths((1, 100)) == [9, 2]


def wide(network: Network) -> dict[str, Storage]:
    """So many bits that the search need not find the least depths."""
    return {link.name: Storage(1 + i % 2 * 20, 1 + 7 * i) for i, link in enumerate(network.links)}


@given(networks())
def test_depths_of_large_networks_suffice_and_are_nearly_least(network: Network) -> None:
    network = replace(network, takes=np.ones(network.actors[0].listed, int))
    model, links = CycleModel(network), wide(network)
    sizing = size_fifos(network, links)
    assert model.steady(sizing.depths).interval == network.ideal_interval
    latest = model.simulate(32, network.ideal_interval, dict.fromkeys(links, UNLIMITED)).completions
    assert model.simulate_if(latest, network.ideal_interval, sizing.depths) is not None
    bits = sum(link.least * link.bits for link in links.values()) / 16 / len(links)
    for name, depth in sizing.depths.items():
        less = depth - 1 - int(bits / links[name].bits)
        if less >= links[name].least:
            assert model.simulate_if(latest, network.ideal_interval, sizing.depths | {name: less}) is None


@given(networks())
def test_an_early_end_of_the_search_gives_depths_that_suffice(network: Network) -> None:
    network = replace(network, takes=np.ones(network.actors[0].listed, int))
    links = storage(network, least=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fifos, "_MOST_EVENTS", 50)
        sizing = size_fifos(network, links)
    assert max(sizing.depths.values()) < UNLIMITED
    model = CycleModel(network)
    latest = model.simulate(32, network.ideal_interval, dict.fromkeys(links, UNLIMITED)).completions
    assert model.simulate_if(latest, network.ideal_interval, sizing.depths) is not None


def test_an_unknown_link_is_refused() -> None:
    with pytest.raises(ValueError, match="no links of the network: nothing, z"):
        size_fifos(chain(), {"z": Storage(2, 1), "nothing": Storage(2, 1)})
