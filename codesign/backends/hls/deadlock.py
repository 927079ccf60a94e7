"""Whether streams of given depths can deadlock: the processes of a network with queues that hold no more than that.

Every process is a list of blocking reads and writes, so where such a network stops does not depend on who runs first
(Kahn, 1974). Where it stops, the smallest queue that a writer waits at gets room for one pixel more (Parks, 1995),
until all frames are through: the depths at the end are enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from codesign.backends.hls.cost import Process, behind_flatten, frame_sizes, looped_streams, process
from codesign.backends.hls.layers import Flatten, Network
from codesign.errors import Diagnostic
from codesign.schedule import HlsSchedule

FRAMES = 3  # the third starts while the first two are under way


def too_small(network: Network, schedule: HlsSchedule, adder_levels: int = 3) -> list[Diagnostic]:
    """A finding for every stream whose depth lets the network stop for ever, with a depth that is enough."""
    sizes = frame_sizes(network)
    depths = {name: schedule.depths.get(name, size) for name, size in sizes.items()}
    if schedule.io == "io_parallel" or all(depths[name] >= sizes[name] for name in looped_streams(network)):
        return []  # a fork never waits for the other branch
    enough = sufficient_depths(network, schedule, depths, adder_levels)
    where = {layer.name: layer.where for layer in network.layers} | {network.input: "the input"}
    found = []
    for name, depth in depths.items():
        if enough[name] > depth:
            what = f"{depth} deadlocks: the stream is full before the branch beside it has given a result"
            found.append(Diagnostic(f"schedule, depth of {name} ({where[name]})", what, f"{enough[name]} or more"))
    return found


def sufficient_depths(
    network: Network, schedule: HlsSchedule, depths: dict[str, int], adder_levels: int = 3
) -> dict[str, int]:
    """These depths, by the source of each stream, those of streams that would deadlock raised until none does."""
    queues: dict[str, list[_Queue]] = {name: [] for name in depths}
    runs: list[_Run] = []
    for layer in network.layers:
        if isinstance(layer, Flatten):
            continue
        sources = [behind_flatten(network, name) for name in layer.inputs]
        inputs = [_Queue(depths[source]) for source in sources]
        for source, queue in zip(sources, inputs, strict=True):
            queues[source].append(queue)
        made = process(layer, schedule.loop(layer.name), schedule.io, adder_levels)
        runs.append(_Run(steps(made) * FRAMES, inputs, queues[layer.name]))
    pixels = frame_sizes(network)[network.input]
    runs.append(_Run([True] * pixels * FRAMES, [], queues[network.input]))
    while True:
        while sum(run.advance() for run in runs):
            pass
        full = [queue for run in runs for queue in run.full()]
        if not full:
            return {name: max([depths[name], *(q.depth for q in copies)]) for name, copies in queues.items()}
        min(full, key=lambda queue: queue.depth).depth += 1


def steps(made: Process) -> list[bool]:
    """What a process does in a frame, one after the other: False for a read of every input, True for a write.

    A pipeline without input stands still with the results that are in it, so a result leaves when the iteration that
    starts `depth` cycles later has its pixel, or when the frame is over.
    """
    starts = np.cumsum(made.durations) - made.durations
    leaves = np.searchsorted(starts, starts[made.writes] + made.depth)
    count = len(starts)
    reads = np.isin(np.arange(count), made.reads)
    writes = np.bincount(leaves, minlength=count + 1)
    found: list[bool] = []
    for reading, leaving in zip(reads.tolist(), writes.tolist(), strict=False):
        found += [False] * reading + [True] * leaving
    return found + [True] * int(writes[count:].sum())


@dataclass(eq=False)
class _Queue:
    """Pixels that wait, and how many may."""

    depth: int
    level: int = 0


@dataclass(eq=False)
class _Run:
    """A process at some step; the lists of queues are shared with its neighbours."""

    steps: list[bool]
    inputs: list[_Queue]
    outputs: list[_Queue]
    position: int = field(default=0)

    def advance(self) -> bool:
        """Take steps until one has to wait; whether any was taken."""
        first = self.position
        while self.position < len(self.steps):
            if self.steps[self.position]:
                if any(queue.level >= queue.depth for queue in self.outputs):
                    break
                for queue in self.outputs:
                    queue.level += 1
            else:
                if any(queue.level == 0 for queue in self.inputs):
                    break
                for queue in self.inputs:
                    queue.level -= 1
            self.position += 1
        return self.position > first

    def full(self) -> list[_Queue]:
        """The queues without room that the process waits at."""
        waits = self.position < len(self.steps) and self.steps[self.position]
        return [queue for queue in self.outputs if queue.level >= queue.depth] if waits else []
