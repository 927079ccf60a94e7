"""Commands to events: the registers as they stand whenever an operation starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from codesign.backends.ethosu.stream.commands import Command, Registers, at, commands
from codesign.backends.ethosu.stream.errors import StreamError
from codesign.backends.ethosu.stream.operations import (
    Activation,
    Block,
    Broadcast,
    Copy,
    Elementwise,
    End,
    Event,
    FeatureMap,
    Kernel,
    Kind,
    Operation,
    Pooling,
    Range,
    Rounding,
    Scale,
    ScaleMode,
    Storage,
    Sums,
    Wait,
)
from codesign.backends.ethosu.stream.payload import Device, Payload
from codesign.ir.ops.base import Padding

_T = TypeVar("_T")

_ADDRESS_BITS = 40
_TABLE_BYTES = 256
_U55_ROUNDINGS = {0: Rounding.DOUBLE, 1: Rounding.TRUNCATE, 2: Rounding.NATURAL}
_U85_ROUNDINGS = {0: Rounding.DOUBLE, 1: Rounding.NATURAL, **dict.fromkeys(range(2, 6), Rounding.OTHER)}
_SCALE_MODES = {mode.value: mode for mode in ScaleMode}
_U55_POOLINGS = {mode.value: mode for mode in (Pooling.MAX, Pooling.AVERAGE, Pooling.REDUCE_SUM)}
_U85_POOLINGS = {n: Pooling(n) if n < 5 else Pooling.OTHER for n in range(8)}
_U55_ELEMENTWISE = {n: Elementwise(n) for n in range(10)}
_U85_ELEMENTWISE = {n: Elementwise(n) if n < 10 else Elementwise.OTHER for n in range(43)}
_U55_TABLES = range(16, 24)
# Function of U85 -> bytes of its table: 8 bits to 8, 16 and 32; 16 bits to 16 and 32.
_U85_TABLES = {1: 256, 4: 256, 5: 512, 6: 1024, 7: 1024, 8: 2048, 9: 2048}
_FUNCTIONS = (0, 3, 4)
# Bits that a result is limited to whatever its type is; 0: those of its type; None: no limit.
_U55_CLIPS: Mapping[int, int | None] = {0: 0, 2: -8, 3: 8, 5: 16}
_U85_CLIPS: Mapping[int, int | None] = {0: 0, 1: None}
# Axes of the result in memory: HWC, WHC, HCW, WCH, CHW, CWH.
_TRANSPOSES = {0: (0, 1, 2), 1: (1, 0, 2), 2: (0, 2, 1), 3: (1, 2, 0), 6: (2, 0, 1), 7: (2, 1, 0)}
_MICROBLOCKS = ((1, 1), (1, 2), (1, 4), (2, 2), (2, 4), (4, 4))
_WEIGHTS = ("WEIGHT", "WEIGHT1", "WEIGHT2", "WEIGHT3")
_KINDS = {
    "CONV": Kind.CONVOLUTION,
    "DEPTHWISE": Kind.DEPTHWISE,
    "POOL": Kind.POOLING,
    "ELEMENTWISE": Kind.ELEMENTWISE,
    "RESIZE": Kind.RESIZE,
}


@dataclass(frozen=True, eq=False)
class Stream:
    """A decoded command stream: the device it was made for, and its events in order."""

    device: Device
    events: tuple[Event, ...]

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The events that compute."""
        return tuple(e for e in self.events if isinstance(e, Operation))


def decode(payload: Payload) -> Stream:
    """The events of a payload. Raises StreamError for a command that is none, or an operation without its registers."""
    return Stream(payload.device, tuple(events(payload)))


def events(payload: Payload) -> Iterator[Event]:
    """The events one by one; raises as `decode` does when it gets to a damaged one."""
    walk = _Walk(payload.device)
    for command in commands(payload):
        if not command.starts:
            walk.registers.set(command)
            continue
        try:
            event = walk.event(command)
        except StreamError as error:
            inner = error.diagnostics[0]
            raise StreamError.at(f"{at(command.offset)}: {inner.where}", inner.found, inner.allowed) from error
        except KeyError as error:
            found = f"{command.name} starts before {error.args[0]} is set"
            raise StreamError.at(at(command.offset), found, "every register set first") from error
        if event is not None:
            yield event


class _Walk:
    """The registers, and how operations are read from them."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.newer = device.family == "ethos-u85"
        self.registers = Registers(device.family)

    def event(self, command: Command) -> Event | None:
        """What a command starts; None for what changes nothing that is computed."""
        offset, name = command.offset, command.name
        if name in ("STOP", "IRQ"):
            return End(offset, command.value) if name == "STOP" else None
        if name == "PMU_MASK":
            return None
        if name in ("DMA_WAIT", "KERNEL_WAIT"):
            return Wait(offset, name == "DMA_WAIT", command.value & 0xF)
        if name == "DMA_START":
            return self._copy(offset)
        return self._operation(offset, _KINDS[name], command.value)

    def _copy(self, offset: int) -> Copy:
        get, length = self.registers.get, self.registers.get("DMA0_LEN")
        source, target = (self.registers.fields(f"DMA0_{end}_REGION") for end in ("SRC", "DST"))
        modes = (end[mode] for end in (source, target) for mode in ("stride_mode", "index_mode"))
        plain = not (source["internal"] or any(modes))
        return Copy(
            offset,
            Range(source["region"], get("DMA0_SRC", _ADDRESS_BITS), length),
            Range(target["region"], get("DMA0_DST", _ADDRESS_BITS), length),
            bool(target["internal"]),
            plain,
        )

    def _operation(self, offset: int, kind: Kind, parameter: int) -> Operation:
        get = self.registers.get
        windowed = kind in (Kind.CONVOLUTION, Kind.DEPTHWISE, Kind.POOLING)
        kernel = self._kernel() if windowed else None
        padding = (
            (get("IFM_PAD_TOP"), get("IFM_PAD_LEFT"), get("IFM_PAD_BOTTOM"), get("IFM_PAD_RIGHT"))
            if windowed
            else (0, 0, 0, 0)
        )
        upscale = self.registers.field("IFM_UPSCALE", "mode")
        ofm_shape = (get("OFM_HEIGHT_M1") + 1, get("OFM_WIDTH_M1") + 1, get("OFM_DEPTH_M1") + 1)
        mode = self._mode(kind, parameter)
        broadcasts = self._broadcasts() if kind is Kind.ELEMENTWISE else (Broadcast(), Broadcast())
        ifm_shape = self._input_shape(kind, ofm_shape, kernel, padding, upscale)
        weighted = kind in (Kind.CONVOLUTION, Kind.DEPTHWISE) and not parameter
        per_channel = not self.registers.field("OFM_PRECISION", "global_scale")
        unary = mode in (Elementwise.ABS, Elementwise.LRELU, Elementwise.CLZ)
        binary = kind is Kind.ELEMENTWISE and not unary
        scaled = binary and mode in (Elementwise.ADD, Elementwise.SUB)
        ofm = self._map("OFM", self._transposed(ofm_shape))
        return Operation(
            offset,
            kind,
            mode,
            self._map("IFM", _repeated(ifm_shape, broadcasts[0])),
            self._second(ifm_shape, broadcasts[1]) if binary else None,
            ofm,
            kernel,
            padding,
            upscale,
            self._weights() if weighted else (),
            self._scales() if weighted and per_channel else (),
            weighted and self._any("WEIGHT_FORMAT", "fast"),
            weighted and self._any("WEIGHT_FORMAT", "sparse"),
            per_channel,
            self._scale(),
            self._input_scales() if scaled else None,
            ScaleMode.BOTH_16 if self.newer else self._chosen(_SCALE_MODES, "IFM_PRECISION", "scale_mode"),
            not self.newer and binary and bool(self.registers.field("IFM2_BROADCAST", "swapped")),
            broadcasts,
            self._activation(ofm),
            self._block(),
            self._accumulator(),
            self._sums(),
            self._any("OFM_PRECISION", "reverse", "transpose"),
        )

    def _chosen(self, meanings: Mapping[int, _T], register: str, field: str) -> _T:
        """What a field means. Raises StreamError for a number that means nothing."""
        return _meaning(meanings, self.registers.field(register, field), f"{register}, {field.replace('_', ' ')}")

    def _mode(self, kind: Kind, parameter: int) -> Pooling | Elementwise | int | None:
        if kind is Kind.POOLING:
            return _meaning(_U85_POOLINGS if self.newer else _U55_POOLINGS, parameter, "POOL")
        if kind is Kind.ELEMENTWISE:
            return _meaning(_U85_ELEMENTWISE if self.newer else _U55_ELEMENTWISE, parameter, "ELEMENTWISE")
        return parameter if kind is Kind.RESIZE else None

    def _any(self, register: str, *fields: str) -> bool:
        """Whether one of these fields, which only U85 has, is not 0."""
        return self.newer and any(self.registers.field(register, field) for field in fields)

    def _transposed(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape of a result in memory: U85 may write it with other axes than it computes it in."""
        if not self.newer:
            return shape
        first, second, third = self._chosen(_TRANSPOSES, "OFM_PRECISION", "transpose")
        return shape[first], shape[second], shape[third]

    def _kernel(self) -> Kernel:
        f = self.registers.fields("KERNEL_STRIDE")
        if f["decomposition"]:
            raise StreamError.at("KERNEL_STRIDE", "a kernel in parts of 4x4 taps", "parts of 8x8")
        dilation_y, dilation_x = f["dilation_y_m1"] + 1, f["dilation_x_m1"] + 1
        height, width = self.registers.get("KERNEL_HEIGHT_M1"), self.registers.get("KERNEL_WIDTH_M1")
        if height % dilation_y or width % dilation_x:
            raise StreamError.at("KERNEL_STRIDE", f"a kernel of {height + 1}x{width + 1}, dilated", "one of odd size")
        return Kernel(
            height // dilation_y + 1,
            width // dilation_x + 1,
            f["stride_y_low"] + 2 * f["stride_y_high"] + 1,
            f["stride_x_low"] + 2 * f["stride_x_high"] + 1,
            dilation_y,
            dilation_x,
            bool(f["part_kernel"]),
        )

    def _input_shape(
        self,
        kind: Kind,
        ofm: tuple[int, int, int],
        kernel: Kernel | None,
        padding: Padding,
        upscale: int,
    ) -> tuple[int, int, int]:
        """(height, width, depth) that is read: no register says the first two; of chained inputs none the third."""
        if kind is Kind.ELEMENTWISE and self.newer:
            return ofm
        depth = self.registers.get("IFM_DEPTH_M1") + 1
        if kernel is None:
            if kind is Kind.RESIZE:
                return self.registers.get("KERNEL_HEIGHT_M1") + 1, self.registers.get("KERNEL_WIDTH_M1") + 1, depth
            return ofm[0], ofm[1], depth
        top, left, bottom, right = padding
        spans = (
            (ofm[0] - 1) * kernel.stride_y + (kernel.height - 1) * kernel.dilation_y + 1 - top - bottom,
            (ofm[1] - 1) * kernel.stride_x + (kernel.width - 1) * kernel.dilation_x + 1 - left - right,
        )
        height, width = (-(-span // 2) if upscale else span for span in spans)
        return max(height, 1), max(width, 1), depth

    def _map(self, name: str, shape: tuple[int, int, int]) -> FeatureMap:
        get, field = self.registers.get, self.registers.field
        storage = Storage(field(f"{name}_PRECISION", "storage")) if self.newer else Storage.MEMORY
        bits = 8 << field(f"{name}_PRECISION", "precision")
        signed = bool(field(f"{name}_PRECISION", "signed"))
        zero_point = get(f"{name}_ZERO_POINT", 0 if not signed else 16)
        brick = bool(field(f"{name}_PRECISION", "brick"))
        region = get(f"{name}_REGION") if storage is not Storage.NONE else 0
        tiles, strides = ((0, 0, 0, 0), *shape[:1] * 2, shape[1]), (0, 0, 0)
        if storage in (Storage.MEMORY, Storage.MEMORY_3X1):
            base0, base1, base2, base3 = (get(f"{name}_BASE{i}", _ADDRESS_BITS) for i in range(4))
            rows = get(f"{name}_HEIGHT0_M1") + 1, get(f"{name}_HEIGHT1_M1") + 1
            tiles = ((base0, base1, base2, base3), *rows, get(f"{name}_WIDTH0_M1") + 1)
            stride_y, stride_x, stride_c = (get(f"{name}_STRIDE_{axis}", _ADDRESS_BITS) for axis in "YXC")
            strides = stride_y, stride_x, stride_c
        return FeatureMap(region, *tiles, shape, *strides, brick, bits, signed, zero_point, storage)

    def _second(self, shape: tuple[int, int, int], broadcast: Broadcast) -> FeatureMap | int:
        if broadcast.scalar:
            return self.registers.get("OP_SCALAR", 32) if self.newer else self.registers.get("IFM2_SCALAR", 16)
        return self._map("IFM2", _repeated(shape, broadcast))

    def _broadcasts(self) -> tuple[Broadcast, Broadcast]:
        def read(name: str) -> Broadcast:
            f = self.registers.fields(name)
            return Broadcast(*(bool(f[axis]) for axis in ("height", "width", "depth", "scalar")))

        try:
            second = read("IFM2_BROADCAST")
        except KeyError:  # an operation of one input does not set it
            second = Broadcast()
        return (read("IFM_BROADCAST") if self.newer else Broadcast()), second

    def _weights(self) -> tuple[Range, ...]:
        names = _WEIGHTS[: self.device.cores]
        if self.newer and self.registers.field("WEIGHT_FORMAT", "fast"):
            names = names[:1]
        return self._ranges("WEIGHT_REGION", names)

    def _scales(self) -> tuple[Range, ...]:
        return self._ranges("SCALE_REGION", ("SCALE", "SCALE1")[: 1 if self.newer else self.device.cores])

    def _ranges(self, region: str, names: tuple[str, ...]) -> tuple[Range, ...]:
        get, found = self.registers.get, []
        for name in names:
            length = get(f"{name}_LENGTH", 32)
            found.append(Range(get(region), get(f"{name}_BASE", _ADDRESS_BITS) if length else 0, length))
        return tuple(found)

    def _scale(self) -> Scale:
        if self.newer:
            return self._newer_scale("OFM_SCALE")
        f = self.registers.fields("OFM_SCALE") if self._is_set("OFM_SCALE") else {"scale": 1, "shift": 0}
        rounding = self._chosen(_U55_ROUNDINGS, "OFM_PRECISION", "rounding")
        return Scale(f["scale"], f["shift"], rounding)

    def _is_set(self, name: str) -> bool:
        try:
            self.registers.get(name)
        except KeyError:
            return False
        return True

    def _newer_scale(self, name: str) -> Scale:
        f = self.registers.fields(name)
        return Scale(f["scale"], f["shift"], self._chosen(_U85_ROUNDINGS, name, "rounding"), f["double_round"])

    def _input_scales(self) -> tuple[Scale, Scale]:
        if self.newer:
            return self._newer_scale("IFM_SCALE"), self._newer_scale("IFM2_SCALE")
        field = self.registers.field
        rounding = self._chosen(_U55_ROUNDINGS, "IFM_PRECISION", "rounding")
        first = Scale(field("OPA_SCALE", "scale"), field("OPA_SCALE", "shift"), rounding)
        return first, Scale(field("OPB_SCALE", "scale"), 0, rounding)

    def _activation(self, ofm: FeatureMap) -> Activation:
        f = self.registers.fields("ACTIVATION")
        function, table = f["function"], None
        if self.newer and function in _U85_TABLES:
            table = f["table"] * _U85_TABLES[function] // _TABLE_BYTES
        elif not self.newer and function in _U55_TABLES:
            table = function - _U55_TABLES.start
        bits = 16 if ofm.signed else 0
        ranges = _U85_CLIPS if self.newer else _U55_CLIPS
        if (function not in _FUNCTIONS and table is None) or f["clip_range"] not in ranges:
            raise StreamError.at("ACTIVATION", f"function {function}, range {f['clip_range']}", "those of the device")
        low, high = (self.registers.get(f"ACTIVATION_{end}", bits) for end in ("MIN", "MAX"))
        return Activation(function, table, low, high, ranges[f["clip_range"]])

    def _block(self) -> Block:
        height, width, depth = (self.registers.get(f"OFM_BLK_{axis}_M1") + 1 for axis in ("HEIGHT", "WIDTH", "DEPTH"))
        if not self.newer:
            return Block(height, width, depth)
        return Block(height, width, depth, _MICROBLOCKS[self.registers.field("ACC_FORMAT", "microblock") % 6])

    def _accumulator(self) -> int:
        if self.newer:
            return (32, 48, 0, 0)[self.registers.field("ACC_FORMAT", "format")]
        return (32, 40, 16, 0)[self.registers.field("ACC_FORMAT", "format")]

    def _sums(self) -> Sums:
        field = self.registers.field
        return Sums(field("ACC_FORMAT", "input"), self._any("ACC_FORMAT", "output")) if self.newer else Sums()


def _meaning(meanings: Mapping[int, _T], number: int, where: str) -> _T:
    if number not in meanings:
        raise StreamError.at(where, str(number), ", ".join(map(str, meanings)))
    return meanings[number]


def _repeated(shape: tuple[int, int, int], broadcast: Broadcast) -> tuple[int, int, int]:
    """The shape of an input whose axes are repeated up to `shape`."""
    height, width, depth = shape
    if broadcast.scalar:
        return 1, 1, 1
    return (
        1 if broadcast.height else height,
        1 if broadcast.width else width,
        1 if broadcast.depth else depth,
    )
