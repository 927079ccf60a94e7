"""MLPerf Tiny's networks in the peers on this machine: codesign is exact, the others compute the same network."""

from __future__ import annotations

import platform
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import missing

from codesign.export.tflite import export_tflite
from codesign.frontend.tflite.source import litert_version
from codesign.testing.networks import NETWORKS

FRAMES = 3


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    if platform.machine() != "x86_64":
        pytest.skip("host-x86 is another machine")
    for name in ("tvm", "onnxruntime", "onnx"):
        if find_spec(name) is None:
            missing(name)
    if not litert_version():
        missing("LiteRT")
    if shutil.which("gcc") is None:
        missing("a C compiler")


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_codesign_is_exact(name: str, bits: int) -> None:
    from benchmarks.peers.host import codesign_peer, random_frames

    graph = NETWORKS[name](bits)
    frames = random_frames(graph)[:FRAMES]
    peer = codesign_peer(graph)
    for frame, expected in zip(frames, graph.evaluate(frames)[0], strict=True):
        for _ in range(2):  # the arena is used again: nothing may depend on what is in it
            peer.feed(frame)
            peer.invoke()
        np.testing.assert_array_equal(peer.result(), expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_peers_compute_the_same_network(name: str) -> None:
    """They round in single precision: the last layers may be a few steps away, never more."""
    from benchmarks.peers.host import litert_peer, onnxruntime_peer, random_frames
    from benchmarks.peers.onnx_model import FORMS

    graph = NETWORKS[name]()
    content = export_tflite(graph).content
    frames = random_frames(graph)[:FRAMES]
    (golden,) = graph.evaluate(frames)
    peers = [onnxruntime_peer(content, *form) for form in FORMS] + [litert_peer(content)]
    for peer in peers:
        for frame, expected in zip(frames, golden, strict=True):
            peer.feed(frame)
            peer.invoke()
            apart = np.abs(peer.result().reshape(expected.shape) - expected)
            assert apart.max() <= 3, peer.details
    assert "XNNPACK in" in peers[-1].details
