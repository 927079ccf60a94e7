"""A design as actors and links for the cycle model: which engine makes which steps, as the RTL does."""

from __future__ import annotations

import numpy as np

from codesign.backends.rtl.blocks.engines import Concat, Fork, Join, Pad, Pass, Skid, WidthDown, WidthUp
from codesign.backends.rtl.blocks.window import Window
from codesign.backends.rtl.blocks.window_parallel import WindowParallel
from codesign.backends.rtl.design import Design, Layer
from codesign.backends.rtl.network import Actor, Link, Network
from codesign.ir.types import IntArray

# What an engine takes from an input in each step of a frame: (tokens needed so far, tokens given back).
Takes = tuple[IntArray, IntArray]


def buffer_name(layer: str) -> str:
    """The name of a window's memory in schedules, where it stands beside the streams."""
    return f"{layer}.window"


def network(design: Design) -> Network:
    """The actors and links of a design."""
    actors: list[Actor] = []
    links: list[Link] = []
    made: dict[str, tuple[Layer, IntArray]] = {}
    taken: dict[str, tuple[str, Takes]] = {}
    for layer in design.layers:
        if isinstance(layer.engine, Window):
            taker = buffer_name(layer.name)
            starts, takes = _window(layer, layer.engine, design, actors, links)
        else:
            taker = layer.name
            starts, takes = _steps(layer, design)
            actors.append(Actor(layer.name, starts.size))
        made.update({stream.name: (layer, starts) for stream in layer.outputs})
        taken.update({name: (taker, counts) for name, counts in zip(layer.inputs, takes, strict=True)})
    for name, (layer, starts) in made.items():
        sink, counts = taken.get(name, (None, ()))
        links.append(Link(name, layer.name, sink, design.streams[name].depth, layer.latency, starts, *counts))
    edge = design.layers[0].name
    return Network(tuple(actors), tuple(links), edge, np.ones(design.streams[design.input].beats, np.int64))


def _every(beats: int) -> Takes:
    """One beat a step."""
    return np.arange(1, beats + 1), np.ones(beats, np.int64)


def _steps(layer: Layer, design: Design) -> tuple[IntArray, list[Takes]]:
    """What an engine without a memory starts, and takes from each input, in each step of a frame."""
    engine = layer.engine
    beats = [design.streams[name].beats for name in layer.inputs]
    out = layer.outputs[0].beats
    match engine:
        case Skid():
            return np.ones(out, np.int64), []
        case Pass() | Fork() | Join():
            return np.ones(out, np.int64), [_every(n) for n in beats]
        case WidthDown(ratio=ratio):
            step = np.arange(out)
            return np.ones(out, np.int64), [(step // ratio + 1, (step % ratio == ratio - 1).astype(np.int64))]
        case WidthUp(ratio=ratio):
            last = np.arange(beats[0]) % ratio == ratio - 1
            return last.astype(np.int64), [_every(beats[0])]
        case Pad():
            inside = np.zeros((engine.out_height, engine.out_width, engine.folds), np.int64)
            inside[engine.top : engine.top + engine.height, engine.left : engine.left + engine.width] = 1
            taken = inside.reshape(-1)  # the first step of a frame waits for the frame, even if it only pads
            return np.ones(taken.size, np.int64), [(np.maximum(taken.cumsum(), 1), taken)]
        case WindowParallel():
            return _window_parallel(engine)
        case Concat(folds=folds):
            turn = np.tile(np.repeat(np.arange(len(folds)), folds), out // sum(folds))
            masks = [(turn == i).astype(np.int64) for i in range(len(folds))]
            return np.ones(out, np.int64), [(mask.cumsum(), mask) for mask in masks]
    raise AssertionError(f"no timing for {engine.module}")


def _window(
    layer: Layer, engine: Window, design: Design, actors: list[Actor], links: list[Link]
) -> tuple[IntArray, list[Takes]]:
    """Add writer, memory and reader of a window; return what the reader starts and what the writer takes."""
    words = design.streams[layer.inputs[0]].beats
    at, need, free = window_reads(engine)
    inner = engine.kernel_h * engine.kernel_w * (1 if engine.channel_outer else engine.folds)
    steps = engine.out_height * engine.out_width * engine.outer * inner
    name = buffer_name(layer.name)
    actors += [Actor(name, words), Actor(layer.name, steps, at)]
    links.append(Link(name, name, layer.name, engine.capacity, 0, np.ones(words, np.int64), need, free))
    return (at % inner == inner - 1).astype(np.int64), [_every(words)]


def _window_parallel(engine: WindowParallel) -> tuple[IntArray, list[Takes]]:
    """One step per word, and outer - 1 more for a word that completes a window."""
    rows, columns = np.arange(engine.height), np.arange(engine.width)
    row_ends = (rows >= engine.kernel_h - 1) & ((rows - engine.kernel_h + 1) % engine.stride_h == 0)
    column_ends = (columns >= engine.kernel_w - 1) & ((columns - engine.kernel_w + 1) % engine.stride_w == 0)
    ends = np.repeat(np.outer(row_ends, column_ends).reshape(-1), engine.folds)
    runs = np.where(ends, engine.outer, 1)
    last_fold = np.arange(ends.size) % engine.folds == engine.folds - 1
    starts = np.repeat(ends & last_fold, runs).astype(np.int64)
    free = np.zeros(starts.size, np.int64)
    free[np.cumsum(runs) - runs] = 1
    return starts, [(free.cumsum(), free)]


def window_moves(engine: Window) -> tuple[IntArray, IntArray]:
    """Per position of a frame: the word at the window's base, and how many words its last step gives back."""
    oy, ox = np.meshgrid(np.arange(engine.out_height), np.arange(engine.out_width), indexing="ij")
    base = ((oy * engine.stride_h * engine.width + ox * engine.stride_w) * engine.folds).reshape(-1)
    return base, np.diff(np.append(base, engine.height * engine.width * engine.folds))


def window_reads(engine: Window) -> tuple[IntArray, IntArray, IntArray]:
    """The steps of a frame that may wait or end an output beat: their numbers; words of the frame that must have been
    written before each; words given back after it.

    Of the neuron folds behind the first, which read again what is there, only the last step of each is listed.
    """
    base, release = window_moves(engine)
    ky, kx = np.meshgrid(np.arange(engine.kernel_h), np.arange(engine.kernel_w), indexing="ij")
    taps = ((ky * engine.width + kx) * engine.folds).reshape(-1)
    if engine.channel_outer:
        offset = (np.arange(engine.folds)[:, None] + taps).reshape(-1)
        steps = np.arange(offset.size)
        per_position = offset.size
    else:
        words = (taps[:, None] + np.arange(engine.folds)).reshape(-1)
        steps = np.append(np.arange(words.size), np.arange(2, engine.outer + 1) * words.size - 1)
        offset = np.append(words, np.full(engine.outer - 1, words[-1]))
        per_position = words.size * engine.outer
    at = (np.arange(base.size)[:, None] * per_position + steps).reshape(-1)
    need = base[:, None] + offset + 1
    need[:, -1] = np.maximum(need[:, -1], base + release)
    free = np.zeros_like(need)
    free[:, -1] = release
    return at, need.reshape(-1), free.reshape(-1)


def least_capacity(engine: Window) -> int:
    """The fewest words with which the reader can move: a whole window, or the longest move of its base."""
    span = ((engine.kernel_h - 1) * engine.width + engine.kernel_w) * engine.folds
    return max(span, int(window_moves(engine)[1].max()))
