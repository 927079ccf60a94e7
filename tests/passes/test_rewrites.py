"""Every rewrite of the Ethos-U scheduler on a small graph, as text, and on random graphs, evaluated.

To accept a change: `CODESIGN_UPDATE_GOLDEN=1 pytest tests/passes/test_rewrites.py`, then read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.backends.ethosu.rewrites import REWRITES, Rewrite, apply_rewrites
from codesign.errors import InputError
from codesign.ir.graph import Graph
from codesign.ir.ops import Conv2d
from codesign.ir.text import parse_graph, print_graph
from codesign.ir.types import IntType
from codesign.passes.fold_columns import fold_columns, foldable
from codesign.passes.gather_windows import gather_windows, gatherable
from codesign.passes.order_channels import order_channels
from codesign.resources import resource_dir
from codesign.testing.build import GraphBuilder
from codesign.testing.graphs import feeds, graphs, values

GOLDEN = sorted((Path(__file__).parent / "golden_rewrites").glob("*.txt"), key=lambda path: path.stem)
I8 = IntType(8, True)


def same(before: Graph, after: Graph, seed: int) -> None:
    """Both graphs give the same outputs under the same names and types on the same inputs."""
    assert [(p.name, before.type(p.name)) for p in before.outputs] == [
        (p.name, after.type(p.name)) for p in after.outputs
    ]
    assert before.inputs == after.inputs
    inputs = feeds(before, 4, seed)
    for expected, found in zip(before.evaluate(*inputs), after.evaluate(*inputs), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_rewrite_gives_the_golden_graph(path: Path) -> None:
    before, _, after = path.read_text().partition("=>\n")
    graph, rewrite = parse_graph(before), REWRITES[path.stem.partition("-")[0]]
    made = rewrite.apply(graph, [node.name for node in graph.nodes])
    if os.environ.get("CODESIGN_UPDATE_GOLDEN"):
        path.write_text(before + "=>\n" + print_graph(made))
        return
    assert print_graph(made) == after
    assert (before == after) == path.stem.endswith(("stay", "stays"))
    same(graph, made, 1)


def test_every_kind_of_rewrite_has_a_golden_graph_that_it_changes() -> None:
    def kind(name: str) -> str:
        return name.partition("_by_")[0]

    changed = {kind(p.stem.partition("-")[0]) for p in GOLDEN if not p.stem.endswith(("stay", "stays"))}
    assert changed == {kind(name) for name in REWRITES}


@pytest.mark.parametrize("rewrite", REWRITES.values(), ids=REWRITES)
@settings(max_examples=20)
@given(graph=graphs(), seed=st.integers(0, 1000))
def test_rewrite_changes_no_output(rewrite: Rewrite, graph: Graph, seed: int) -> None:
    layers = rewrite.applicable(graph)
    assert set(rewrite.promising(graph)) <= set(layers)
    made = rewrite.apply(graph, layers)
    same(graph, made, seed)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Graph, int]:
    """A convolution of every stride, kernel and padding, on images that columns fold in, and a factor."""
    factor, columns = draw(st.sampled_from([2, 3, 4])), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    b = GraphBuilder()
    channels, width = draw(st.integers(1, 3)), factor * columns
    x = b.input((4, width, channels), I8)
    kernel = draw(st.integers(1, 3)), draw(st.integers(1, min(6, width)))
    stride = draw(st.integers(1, 2)), draw(st.integers(1, 6))
    padding = tuple(draw(st.integers(0, 5)) for _ in range(4))
    weights = values(rng, I8, (draw(st.integers(1, 3)), *kernel, channels))
    bias = rng.integers(-99, 99, len(weights)) if draw(st.booleans()) else None
    y = b.conv(x, weights, I8, bias, stride, padding, pad_value=draw(st.integers(-5, 5)), name="conv")  # type: ignore[arg-type]
    return b.graph(y), factor


@settings(max_examples=300)
@given(case=convolutions(), seed=st.integers(0, 1000))
def test_folded_columns_are_the_same_convolution(case: tuple[Graph, int], seed: int) -> None:
    graph, factor = case
    made = fold_columns(graph, ["conv"], factor)
    assert any(isinstance(n.op, Conv2d) and n.name != "conv" for n in made.nodes) == bool(foldable(graph, factor))
    same(graph, made, seed)


@settings(max_examples=300)
@given(case=convolutions(), seed=st.integers(0, 1000))
def test_gathered_windows_are_the_same_convolution(case: tuple[Graph, int], seed: int) -> None:
    graph, _ = case
    made = gather_windows(graph, ["conv"])
    assert (len(made.nodes) == 4) == bool(gatherable(graph))
    same(graph, made, seed)


@given(seed=st.integers(0, 1000), depthwise=st.booleans(), pixels=st.integers(1, 3))
def test_ordered_channels_are_sorted_through_the_layers_between(seed: int, depthwise: bool, pixels: int) -> None:
    rng = np.random.default_rng(seed)
    b = GraphBuilder()
    x = b.input((3, 3, 4), I8)
    x = b.conv(x, rng.integers(-9, 9, (6, 1, 1, 4)) * rng.integers(1, 12, (6, 1, 1, 1)), name="first")
    x = b.requant(x, (1 << 20) + rng.integers(0, 99, 6), [26] * 6, I8)
    if depthwise:
        x = b.conv(x, rng.integers(-9, 9, (6, 3 - pixels + 1, 3, 1)), groups=6)
        x = b.requant(x, [1 << 20], [24], I8)
    b.dense(x, rng.integers(-9, 9, (5, 6)), name="last")
    graph = b.graph("last")
    made = order_channels(graph, ["first"])
    same(graph, made, seed)
    first, last = (np.abs(made.consts[made.node(n).inputs[1]].value) for n in ("first", "last"))
    sizes = np.log1p(first.reshape(6, -1).mean(axis=1)) + np.log1p(last.mean(axis=0))
    assert (np.diff(sizes) >= 0).all()


def test_all_rewrites_together_change_no_output() -> None:
    """In the order of the table each leaves the later ones their layers, but for those that exclude each other."""
    rng = np.random.default_rng(3)
    b = GraphBuilder()
    x = b.input((6, 8, 2), I8)
    for name, groups, outputs, kernel in (("first", 1, 4, 3), ("depthwise", 4, 4, 3), ("pointwise", 1, 6, 1)):
        per_group = b.type(x).channels // groups
        pad = (1, 1, 1, 1) if kernel == 3 else (0, 0, 0, 0)
        weights = rng.integers(-99, 99, (outputs, kernel, kernel, per_group))
        x = b.conv(x, weights, I8, rng.integers(-9, 9, outputs), padding=pad, groups=groups, name=name)
        x = b.requant(x, [1 << 20], [28], I8)
    b.conv(x, rng.integers(-9, 9, (3, 1, 1, 6)), name="last")
    graph = b.graph("last")
    steps = [
        ("order_channels", ["first", "pointwise"]), ("buffer_input", ["first"]), ("depthwise_to_dense", ["depthwise"]),
        ("fold_columns_by_4", ["first"]), ("flatten_pointwise", ["pointwise", "last"]),
    ]  # fmt: skip
    assert [name for name in REWRITES if name in dict(steps)] == [name for name, _ in steps]
    made = apply_rewrites(graph, steps)
    same(graph, made, 5)
    assert len(made.nodes) == len(graph.nodes) + 3 + 2 + 2 + 2


def test_unknown_rewrites_and_layers_are_named() -> None:
    b = GraphBuilder()
    x = b.input((4, 4, 1), I8)
    graph = b.graph(b.conv(x, np.ones((2, 3, 3, 1), np.int64), name="conv"))
    with pytest.raises(InputError) as error:
        apply_rewrites(graph, [("fuse", ["conv"])])
    assert str(error.value) == f"schedule, rewrites: there is no rewrite 'fuse'; allowed: {', '.join(REWRITES)}"
    with pytest.raises(InputError) as error:
        apply_rewrites(graph, [("buffer_input", ["conv", "Conv", "x"])])
    assert str(error.value).splitlines() == [
        "schedule, rewrite buffer_input: cannot change 'Conv'; allowed: conv",
        "schedule, rewrite buffer_input: cannot change 'x'; allowed: conv",
    ]
    with pytest.raises(InputError) as error:
        apply_rewrites(graph, [("flatten_pointwise", ["conv"])])
    assert str(error.value) == (
        "schedule, rewrite flatten_pointwise: cannot change 'conv'; allowed: no layer of this model"
    )


def test_the_guide_lists_every_rewrite() -> None:
    text = (resource_dir("docs") / "guide" / "ethosu-scheduling.md").read_text(encoding="utf-8")
    for name, rewrite in REWRITES.items():
        kind, _, factor = name.partition("_by_")
        row = (
            f"| `{kind}_by_N` | {rewrite.summary.replace(factor, 'N', 1)} |"
            if factor
            else f"| `{name}` | {rewrite.summary} |"
        )
        assert row in text
