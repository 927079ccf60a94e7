"""Whole int8 networks on this machine against onnxruntime and LiteRT, in one run, one thread.

pytest benchmarks/bench_peers.py --benchmark-columns=min,median

`extra_info` holds every peer's time, its form, and the ratios that are promised; `python -m benchmarks.peers.host`
prints the same as a table.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.peers.host import CODESIGN, LITERT, ORT, codesign_peer, compare, random_frames
from codesign.testing.networks import NETWORKS

ROUNDS = 60
BOUNDS = {"resnet8": {ORT: 0.7, LITERT: 1.0}, "ds_cnn": {ORT: 0.7, LITERT: 1.0}, "autoencoder": {}}


@pytest.mark.parametrize("name", NETWORKS)
def test_peers(benchmark: BenchmarkFixture, name: str) -> None:
    graph = NETWORKS[name]()
    row = compare(name, graph, ROUNDS)
    assert row.differ[CODESIGN] == 0
    peer = codesign_peer(graph)
    peer.feed(random_frames(graph)[0])
    benchmark(peer.invoke)
    benchmark.extra_info.update(row.to_data())
    for other, bound in BOUNDS[name].items():
        assert row.ratio(other) <= bound, f"{row.ratio(other):.2f} of {other}"
