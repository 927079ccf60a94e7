"""One operation under audit: what it belongs to, what was found of it, what it writes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from codesign.backends.ethosu.audit.flow import Flow, is_open
from codesign.backends.ethosu.audit.golden import Golden
from codesign.backends.ethosu.audit.result import Verdict, worst
from codesign.backends.ethosu.stream.operations import BRICK, FeatureMap, Operation, Pooling, Storage
from codesign.backends.ethosu.stream.payload import Device
from codesign.ir.types import IntArray

_TABLE_TYPES = {8: "<i1", 16: "<i2", 32: "<i4"}


class Found(Exception):
    """What ends the audit of an operation."""

    def __init__(self, verdict: Verdict, text: str) -> None:
        super().__init__(text)
        self.verdict, self.text = verdict, text


@dataclass(frozen=True, eq=False)
class Parts:
    """What the parts of a window have in common, and how often each tap was in one; accumulator: bits of a sum."""

    zero_point: int
    accumulator: int
    count: IntArray


@dataclass(eq=False)
class Step:
    """An operation, the operators of the model that it computes (the first, and those fused behind it), its findings.

    covered   how often each element of a tensor was computed, by tensor
    channels  how many channels of a tensor were computed, by the tensor and the first pixel of the operation
    parts     windows that are computed in parts, as far as they are, by tensor
    apart     the activation that is fused to the operator is an operation of its own
    """

    op: Operation
    operators: tuple[int, ...]
    golden: Golden
    flow: Flow
    device: Device
    covered: dict[int, IntArray]
    channels: dict[tuple[int, int], int]
    parts: dict[int, Parts]
    apart: bool = False
    findings: list[tuple[Verdict, str]] = field(default_factory=list)
    differing: int = 0
    compared: str = ""
    written: bool = False

    @property
    def first(self) -> int:
        """The tensor that the first operator computes."""
        return self.golden.operator(self.operators[0]).outputs[0]

    @property
    def result(self) -> int:
        """The tensor that the operation computes."""
        return self.golden.operator(self.operators[-1]).outputs[0]

    @property
    def fused(self) -> tuple[int, ...]:
        """The tensors between, which only the operation itself sees."""
        return tuple(self.golden.operator(k).outputs[0] for k in self.operators[1:-1])

    @property
    def narrows(self) -> bool:
        """Whether a QUANTIZE is fused behind, without a table."""
        behind = self.golden.operator(self.operators[-1]).name if len(self.operators) > 1 else ""
        return behind == "QUANTIZE" and self.op.activation.table is None

    @property
    def divides(self) -> bool:
        """Whether the operation is an average whose divisor is no register: U85's, of more than a pixel."""
        kernel = self.op.kernel
        several = kernel is not None and kernel.height * kernel.width > 1
        return self.device.family == "ethos-u85" and self.op.mode is Pooling.AVERAGE and several

    @property
    def verdict(self) -> Verdict:
        return worst([verdict for verdict, _ in self.findings])

    def expect(self, what: str, found: object, golden: object) -> None:
        """A difference unless both are equal."""
        if found != golden:
            self.findings.append((Verdict.DIFFERS, f"{what} {found} instead of {golden}"))

    def expect_type(self, what: str, fm: FeatureMap, tensor: int) -> None:
        """A difference unless a feature map has the type of a tensor, and a zero point within it."""
        dtype = self.golden.graph.type(self.golden.values[tensor]).dtype
        self.expect(f"{what} type", _type(fm), str(dtype))
        if not dtype.lo <= fm.zero_point <= dtype.hi:
            self.differs(f"{what} zero point {fm.zero_point}, outside its type")

    def expect_strides(self, fm: FeatureMap) -> None:
        """A difference unless the stride that the format fixes has its value: what hardware does else is not known."""
        if fm.storage is Storage.CHAINED:
            return
        if fm.brick:
            self.expect("stride between columns of a brick", fm.stride_x, BRICK * fm.bytes)
        else:
            self.expect("stride between channels", fm.stride_c, fm.bytes)

    def differs(self, text: str, count: int = 0) -> None:
        self.differing += count
        self.findings.append((Verdict.DIFFERS, text))

    def read(self, fm: FeatureMap) -> IntArray:
        """The labels of an input. Found when they are of something that is not established."""
        self.expect_strides(fm)
        labels = self.flow.read(fm, self.op.offset)
        if is_open(labels):
            raise Found(Verdict.OPEN, "what reads a result that is not established")
        return labels

    def write(self, positions: IntArray, unlimited: bool = False) -> None:
        """The operation computes the elements of its result with these row-major positions, (height, width, depth).

        unlimited  what is computed is not the result yet: an operation that limits it follows
        """
        tensor = self.result
        if int(positions.min()) < 0 or int(positions.max()) >= self.flow.labels(tensor).size:
            raise Found(Verdict.DIFFERS, f"a box of {self.op.ofm.shape} that leaves its tensor")
        self.written = True
        self.expect_type("output", self.op.ofm, tensor)
        self.expect_strides(self.op.ofm)
        if self.op.accumulator < 32:
            self.differs(f"an accumulator of {self.op.accumulator} bits")
        labels = self.flow.unlimited(tensor) if unlimited else self.flow.labels(tensor).reshape(-1)
        self.flow.memory.write(self.op.ofm, labels[positions], self.op.offset)
        if unlimited:
            return
        count = self.covered.setdefault(tensor, np.zeros(labels.size, dtype=np.int64))
        np.add.at(count, positions.reshape(-1), 1)

    def write_rest(self, last: bool) -> None:
        """Where the audit ended before it was known which elements the operation computes.

        The last operation of an operator is taken to compute all of its result, so that what follows can be compared
        with the golden graph by itself; anything else is something not established.
        """
        if self.written:
            return
        labels = self.flow.labels(self.result)
        whole = last and labels.size == np.prod(self.op.ofm.shape)
        found = labels.reshape(self.op.ofm.shape) if whole else self.flow.fresh(self.op.ofm.shape)
        self.flow.memory.write(self.op.ofm, found, self.op.offset)

    def table(self) -> IntArray | None:
        """The look-up table behind the operation, by its index from the smallest on; None without one."""
        slot = self.op.activation.table
        if slot is None:
            return None
        dtype = np.dtype(_TABLE_TYPES[self.op.ofm.bits])
        raw = self.flow.memory.table(slot, 256 * dtype.itemsize, self.op.offset)
        return np.asarray(np.frombuffer(raw, dtype=dtype), dtype=np.int64)


def _type(fm: FeatureMap) -> str:
    return f"{'i' if fm.signed else 'u'}{fm.bits}"
