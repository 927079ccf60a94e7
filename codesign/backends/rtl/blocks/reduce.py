"""cs_max, cs_sum, cs_argmax: one result from the steps of a window; cs_add: the sum of a joined pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codesign.backends.rtl.blocks.base import Fabric, Resources
from codesign.backends.rtl.blocks.cost import comparator
from codesign.backends.rtl.blocks.encode import plain_signed, type_parameters
from codesign.ir.types import IntType


class _Pipe:
    """What these pipes have: one register, no memory files."""

    latency = 1

    def memories(self) -> Mapping[str, list[str]]:
        """None."""
        return {}


@dataclass(frozen=True)
class Max(_Pipe):
    """cs_max: the largest element of each lane over the inner steps."""

    lanes: int
    dtype: IntType
    module: str = "cs_max"

    @property
    def out_width(self) -> int:
        """Bits of data_o."""
        return self.lanes * self.dtype.bits

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_max."""
        return {"Lanes": self.lanes, "Bits": self.dtype.bits, "Signed": int(plain_signed(self.dtype))}

    def resources(self, fabric: Fabric) -> Resources:
        """A comparator (`cost.comparator`), a flip-flop per bit; the choice is the register's enable."""
        return Resources(lut=self.lanes * (comparator(fabric, self.dtype.bits) + 1), ff=self.out_width + 1)


@dataclass(frozen=True)
class Sum(_Pipe):
    """cs_sum: the sum of each lane over the inner steps."""

    lanes: int
    in_type: IntType
    acc_type: IntType
    module: str = "cs_sum"

    @property
    def out_width(self) -> int:
        """Bits of data_o."""
        return self.lanes * self.acc_type.bits

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_sum."""
        return {"Lanes": self.lanes, **type_parameters("In", self.in_type), "AccBits": self.acc_type.bits}

    def resources(self, fabric: Fabric) -> Resources:
        """An accumulator of one LUT and one flip-flop per bit."""
        return Resources(lut=self.out_width + 1, ff=self.out_width + 1)


@dataclass(frozen=True)
class ArgMax(_Pipe):
    """cs_argmax: the index of the first largest of `count` elements, one a step."""

    dtype: IntType
    count: int
    out_type: IntType
    module: str = "cs_argmax"

    @property
    def out_width(self) -> int:
        """Bits of data_o."""
        return self.out_type.bits

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_argmax."""
        return {
            "Bits": self.dtype.bits,
            "Signed": int(plain_signed(self.dtype)),
            "Count": self.count,
            "OutBits": self.out_type.bits,
        }

    def resources(self, fabric: Fabric) -> Resources:
        """A comparator, the best element, its index and a counter."""
        bits, index = self.dtype.bits, self.out_type.bits
        return Resources(lut=comparator(fabric, bits) + index + 2, ff=bits + 2 * index + 1)


@dataclass(frozen=True)
class Add(_Pipe):
    """cs_add: a + b in each lane."""

    lanes: int
    a_type: IntType
    b_type: IntType
    out_type: IntType
    module: str = "cs_add"

    @property
    def out_width(self) -> int:
        """Bits of data_o."""
        return self.lanes * self.out_type.bits

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_add."""
        types = {**type_parameters("A", self.a_type), **type_parameters("B", self.b_type)}
        return {"Lanes": self.lanes, **types, "OutBits": self.out_type.bits}

    def resources(self, fabric: Fabric) -> Resources:
        """An adder of one LUT per bit of the wider operand, a register of one flip-flop per bit."""
        bits = max(self.a_type.bits, self.b_type.bits)
        return Resources(lut=self.lanes * min(bits, self.out_type.bits), ff=self.out_width + 1)
