"""MobileNetV1 and ResNet-50 as int8 networks of ncnn, as its benchmark has them: all weights are zero.

The format: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure. The time of int8 kernels does not
depend on the weights' values; the file of weights is a hole of the file system.
"""

from __future__ import annotations

from pathlib import Path

_MAGIC = "7767517"
_INT8 = 2  # int8_scale_term: one scale for a layer's weights; a depthwise layer has 1, one a channel


class _Network:
    def __init__(self) -> None:
        self.lines = ["Input data 0 1 data 0=224 1=224 2=3"]
        self.blobs = 1
        self.weights = 0
        self.channels = 3

    def add(self, kind: str, inputs: list[str], outputs: int, settings: str, names: list[str] | None = None) -> str:
        names = names or [f"b{self.blobs + i}" for i in range(outputs)]
        self.blobs += outputs
        head = f"{kind} l{len(self.lines)} {len(inputs)} {outputs}"
        self.lines.append(" ".join([head, *inputs, *names, settings]).strip())
        return names[0]

    def conv(self, x: str, outputs: int, kernel: int = 1, stride: int = 1, inputs: int = 0, relu: bool = True) -> str:
        size = (inputs or self.channels) * outputs * kernel * kernel
        settings = f"0={outputs} 1={kernel} 2=1 3={stride} 4={kernel // 2} 5=1 6={size} 8={_INT8}"
        return self._counted(x, "Convolution", outputs, size, settings, relu)

    def depthwise(self, x: str, stride: int) -> str:
        n = self.channels
        settings = f"0={n} 1=3 2=1 3={stride} 4=1 5=1 6={9 * n} 7={n} 8=1"
        return self._counted(x, "ConvolutionDepthWise", n, 9 * n, settings, True)

    def _counted(self, x: str, kind: str, outputs: int, size: int, settings: str, relu: bool) -> str:
        self.channels = outputs
        self.weights += size + 4 * outputs + 16
        y = self.add(kind, [x], 1, settings)
        return self.add("ReLU", [y], 1, "") if relu else y

    def write(self, path: Path) -> Path:
        path.write_text(f"{_MAGIC}\n{len(self.lines)} {self.blobs}\n" + "\n".join(self.lines) + "\n")
        with path.with_suffix(".bin").open("wb") as file:
            file.truncate(4 * self.weights + 65536)
        return path


def mobilenet_v1(path: Path) -> Path:
    """569 million MACs."""
    net = _Network()
    x = net.conv("data", 32, 3, 2)
    for outputs, stride in (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    ):
        x = net.conv(net.depthwise(x, stride), outputs)
    x = net.add("Pooling", [x], 1, "0=1 4=1")
    net.add("Softmax", [net.conv(x, 1000, relu=False)], 1, "0=0 1=1", ["prob"])
    return net.write(path)


def resnet50(path: Path) -> Path:
    """3.86 thousand million MACs: strides in the first 1x1 convolution of a stage, as the original has them."""
    net = _Network()
    x = net.add("Pooling", [net.conv("data", 64, 7, 2)], 1, "0=0 1=3 2=2")
    for width, count, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(count):
            stride = first if i == 0 else 1
            inputs = net.channels
            net.add("Split", [x], 2, "", [f"{x}_0", f"{x}_1"])
            short = net.conv(f"{x}_1", 4 * width, 1, stride, relu=False) if i == 0 else f"{x}_1"
            y = net.conv(net.conv(f"{x}_0", width, 1, stride, inputs=inputs), width, 3)
            y = net.conv(y, 4 * width, relu=False)
            x = net.add("ReLU", [net.add("Eltwise", [short, y], 1, "0=1 -23301=0")], 1, "")
    x = net.add("Pooling", [x], 1, "0=1 1=7")
    net.weights += 2048 * 1000 + 4096
    x = net.add("InnerProduct", [x], 1, "0=1000 1=1 2=2048000")
    net.add("Softmax", [x], 1, "0=0 1=1", ["prob"])
    return net.write(path)
