"""The cost model of Mali GPUs against published times of the same networks: its shape, not its absolute value.

    python benchmarks/bench_mali.py

Published: ncnn's own benchmark table (https://github.com/Tencent/ncnn/tree/master/benchmark), Vulkan back end, 16-bit
floating point. Ours: int8, the schedules that the model itself chose; and, to compare like with like, the same with the
rate of 16-bit arithmetic (twice that of single precision) instead of the 8-bit one's. What is compared is how many
times faster one GPU is than another, and one network than the other.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codesign.backends.tvm.mali.search import estimate, plan_for, schedule
from codesign.ir.graph import Graph
from codesign.ir.ops import Add, AvgPool2d, MaxPool2d, Reshape
from codesign.ir.types import IntType
from codesign.target import Target, load_target
from codesign.testing.build import GraphBuilder

I8 = IntType(8, True)
PUBLISHED_MS = {  # MobileNetV1, ResNet-50
    "mali-t860": (35.9, 176.0),
    "mali-g72": (22.0, 124.0),
    "mali-g610": (9.2, 37.8),
}
TARGETS = ("mali-t860", "mali-g52", "mali-g72", "mali-g76", "mali-g610")


class Network(GraphBuilder):
    """Layers of random weights, each with its rescaling to 8 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(1)
        self.x = self.input((224, 224, 3), I8)

    def layer(self, x: str, outputs: int, kernel: int, stride: int = 1, depthwise: bool = False) -> str:
        height, _, channels = self.type(x).shape
        weights = self.rng.integers(-127, 128, (outputs, kernel, kernel, 1 if depthwise else channels))
        pad = max(kernel - stride, 0) if height % stride == 0 else kernel - 1
        before = pad // 2
        y = self.conv(
            x, weights, I8, stride=(stride, stride), groups=channels if depthwise else 1,
            padding=(before, before, pad - before, pad - before),
        )  # fmt: skip
        # Random sums spread as the root of their number, far less than the type allows.
        shift = 30 + self.type(y).dtype.bits - 8 - weights[0].size.bit_length() // 2 - 2
        return self.requant(y, [1 << 29] * outputs, [shift] * outputs, I8)

    def head(self, x: str) -> Graph:
        height, width, channels = self.type(x).shape
        pooled = self.node(AvgPool2d((height, width), (1, 1), mean=True), x)
        flat = self.node(Reshape((channels,)), pooled)
        return self.graph(self.dense(flat, self.rng.integers(-127, 128, (1000, channels)), I8))


def mobilenet_v1() -> Graph:
    """MobileNetV1 1.0, 224 x 224 (arXiv 1704.04861, table 1)."""
    net = Network()
    x = net.layer(net.x, 32, 3, 2)
    for outputs, stride in [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    ]:
        x = net.layer(x, net.type(x).shape[-1], 3, stride, depthwise=True)
        x = net.layer(x, outputs, 1)
    return net.head(x)


def resnet_50() -> Graph:
    """ResNet-50, 224 x 224 (arXiv 1512.03385, table 1)."""
    net = Network()
    x = net.layer(net.x, 64, 7, 2)
    x = net.node(MaxPool2d((3, 3), (2, 2), (0, 0, 1, 1)), x)
    for width, blocks, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            stride = first if block == 0 else 1
            y = net.layer(net.layer(net.layer(x, width, 1, stride), width, 3), 4 * width, 1)
            short = net.layer(x, 4 * width, 1, stride) if block == 0 else x
            x = net.requant(net.node(Add(), y, short), [1 << 29], [30], I8)
    return net.head(x)


def milliseconds(graph: Graph, target: Target) -> float:
    """The model's time of one frame."""
    metrics, _ = estimate(plan_for(graph, target), schedule(graph, target), target)
    return metrics[0].value / 1e6


def sixteen_bits(target: Target) -> Target:
    """The target with products at the rate of 16-bit arithmetic."""
    assert target.gpu is not None
    return replace(target, gpu=replace(target.gpu, dot8_macs=0, int_macs=2 * target.gpu.fp32_fmas))


def main() -> None:
    graphs = (mobilenet_v1(), resnet_50())
    print("ms of MobileNetV1 and ResNet-50: model, int8; model, 16 bits; published; model, 16 bits / published")
    for name in TARGETS:
        target = load_target(name)
        ours = [milliseconds(graph, target) for graph in graphs]
        half = [milliseconds(graph, sixteen_bits(target)) for graph in graphs]
        known = PUBLISHED_MS.get(name, ())
        ratios = [ms / published for ms, published in zip(half, known, strict=False)]
        print(f"{name:10}", *("".join(f"{value:8.2f}" for value in row) + "  " for row in (ours, half, known, ratios)))


if __name__ == "__main__":
    main()
