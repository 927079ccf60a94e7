"""Commands to events: the registers as they stand whenever an operation starts."""

from __future__ import annotations

from dataclasses import dataclass

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
    Wait,
)
from codesign.backends.ethosu.stream.payload import Device, Payload
from codesign.ir.ops.base import Padding

_ADDRESS_BITS = 40
_TABLE_BYTES = 256
_U55_ROUNDINGS = {0: Rounding.DOUBLE, 1: Rounding.TRUNCATE, 2: Rounding.NATURAL}
_U85_ROUNDINGS = {0: Rounding.DOUBLE, 1: Rounding.NATURAL}
_U55_TABLES = range(16, 24)
# Function of U85 -> bytes of its table: 8 bits to 8, 16 and 32; 16 bits to 16 and 32.
_U85_TABLES = {1: 256, 4: 256, 5: 512, 6: 1024, 7: 1024, 8: 2048, 9: 2048}
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
    walk = _Walk(payload.device)
    events: list[Event] = []
    for command in commands(payload):
        if not command.starts:
            walk.registers.set(command)
            continue
        try:
            event = walk.event(command)
        except KeyError as error:
            found = f"{command.name} starts before {error.args[0]} is set"
            raise StreamError.at(at(command.offset), found, "every register set first") from error
        if event is not None:
            events.append(event)
    return Stream(payload.device, tuple(events))


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
        plain = not (source["stride_mode"] or source["index_mode"] or target["index_mode"] or source["internal"])
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
        upscale = get("IFM_UPSCALE")
        ofm_shape = (get("OFM_HEIGHT_M1") + 1, get("OFM_WIDTH_M1") + 1, get("OFM_DEPTH_M1") + 1)
        mode = _mode(kind, parameter)
        broadcasts = self._broadcasts() if kind is Kind.ELEMENTWISE else (Broadcast(), Broadcast())
        ifm_shape = self._input_shape(kind, mode, ofm_shape, kernel, padding, upscale)
        weighted = kind in (Kind.CONVOLUTION, Kind.DEPTHWISE)
        per_channel = not self.registers.field("OFM_PRECISION", "global_scale")
        unary = mode in (Elementwise.ABS, Elementwise.LRELU, Elementwise.CLZ)
        binary = kind is Kind.ELEMENTWISE and not unary
        scaled = binary and mode in (Elementwise.ADD, Elementwise.SUB)
        ofm = self._map("OFM", ofm_shape, True)
        return Operation(
            offset,
            kind,
            mode,
            self._map("IFM", _repeated(ifm_shape, broadcasts[0]), False),
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
            ScaleMode.BOTH_16 if self.newer else ScaleMode(self.registers.field("IFM_PRECISION", "scale_mode")),
            not self.newer and binary and bool(self.registers.field("IFM2_BROADCAST", "swapped")),
            broadcasts,
            self._activation(ofm),
            self._block(),
            self._accumulator(),
            self._any("ACC_FORMAT", "input", "output"),
            self._any("OFM_PRECISION", "reverse", "transpose"),
        )

    def _any(self, register: str, *fields: str) -> bool:
        """Whether one of these fields, which only U85 has, is not 0."""
        return self.newer and any(self.registers.field(register, field) for field in fields)

    def _kernel(self) -> Kernel:
        f = self.registers.fields("KERNEL_STRIDE")
        dilation_y, dilation_x = f["dilation_y_m1"] + 1, f["dilation_x_m1"] + 1
        return Kernel(
            self.registers.get("KERNEL_HEIGHT_M1") // dilation_y + 1,
            self.registers.get("KERNEL_WIDTH_M1") // dilation_x + 1,
            f["stride_y_low"] + 2 * f["stride_y_high"] + 1,
            f["stride_x_low"] + 2 * f["stride_x_high"] + 1,
            dilation_y,
            dilation_x,
            bool(f["part_kernel"]),
        )

    def _input_shape(
        self,
        kind: Kind,
        mode: Pooling | Elementwise | int | None,
        ofm: tuple[int, int, int],
        kernel: Kernel | None,
        padding: Padding,
        upscale: int,
    ) -> tuple[int, int, int]:
        """(height, width, depth) that is read: no register says the first two."""
        if kernel is None:
            if kind is Kind.RESIZE:
                return self.registers.get("KERNEL_HEIGHT_M1") + 1, self.registers.get("KERNEL_WIDTH_M1") + 1, ofm[2]
            return ofm
        top, left, bottom, right = padding
        spans = (
            (ofm[0] - 1) * kernel.stride_y + (kernel.height - 1) * kernel.dilation_y + 1 - top - bottom,
            (ofm[1] - 1) * kernel.stride_x + (kernel.width - 1) * kernel.dilation_x + 1 - left - right,
        )
        height, width = (-(-span // 2) if upscale else span for span in spans)
        whole = kind is Kind.CONVOLUTION or mode is Pooling.REDUCE_SUM or self.newer
        depth = self.registers.get("IFM_DEPTH_M1") + 1 if whole else ofm[2]
        return max(height, 1), max(width, 1), depth

    def _map(self, name: str, shape: tuple[int, int, int], output: bool) -> FeatureMap:
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
        return self._map("IFM2", _repeated(shape, broadcast), False)

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
        rounding = _U55_ROUNDINGS.get(self.registers.field("OFM_PRECISION", "rounding"), Rounding.OTHER)
        return Scale(f["scale"], f["shift"], rounding)

    def _is_set(self, name: str) -> bool:
        try:
            self.registers.get(name)
        except KeyError:
            return False
        return True

    def _newer_scale(self, name: str) -> Scale:
        f = self.registers.fields(name)
        return Scale(f["scale"], f["shift"], _U85_ROUNDINGS.get(f["rounding"], Rounding.OTHER), f["double_round"])

    def _input_scales(self) -> tuple[Scale, Scale]:
        if self.newer:
            return self._newer_scale("IFM_SCALE"), self._newer_scale("IFM2_SCALE")
        field = self.registers.field
        rounding = _U55_ROUNDINGS.get(field("IFM_PRECISION", "rounding"), Rounding.OTHER)
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
        clips = not (self.newer and f["clip_range"])
        low, high = (self.registers.get(f"ACTIVATION_{end}", bits) for end in ("MIN", "MAX"))
        return Activation(function, table, low, high, clips)

    def _block(self) -> Block:
        height, width, depth = (self.registers.get(f"OFM_BLK_{axis}_M1") + 1 for axis in ("HEIGHT", "WIDTH", "DEPTH"))
        if not self.newer:
            return Block(height, width, depth)
        return Block(height, width, depth, _MICROBLOCKS[self.registers.field("ACC_FORMAT", "microblock") % 6])

    def _accumulator(self) -> int:
        if self.newer:
            return (32, 48)[self.registers.field("ACC_FORMAT", "format") & 1]
        return (32, 40, 16, 0)[self.registers.get("ACC_FORMAT") & 3]


def _mode(kind: Kind, parameter: int) -> Pooling | Elementwise | int | None:
    if kind is Kind.POOLING:
        return Pooling(parameter) if parameter in range(5) else Pooling.OTHER
    if kind is Kind.ELEMENTWISE:
        return Elementwise(parameter) if parameter in range(10) else Elementwise.OTHER
    return parameter if kind is Kind.RESIZE else None


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
