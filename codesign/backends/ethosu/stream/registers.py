"""The register commands: their numbers, names and bit fields.

A command is one word, number in bits 0 to 9, bits 14 and 15 its form: 0 with a parameter of 16 bits (bits 16 to 31),
1 with the parameter and a word behind it, together a value of 48 bits, the word the lower 32. Numbers below 0x100 of
form 0 start an operation, all others set a register. U55 and U65 have one set of commands; U85 has most of them, some
with other fields, and more. Where a register has no fields listed, all of it is one number.

Sources: Vela 5.2, ethosu/vela/ethos_u55_regs (U55, U65) and its disassembler, for U85 too (the option
verbose_register_command_stream of the compiler core); Mesa, src/gallium/drivers/ethosu (U65, U85).
"""

from __future__ import annotations

from collections.abc import Mapping

Fields = Mapping[str, tuple[int, int]]
"""Name -> (lowest bit, bits)."""

WIDE = 0x4000
"""Added to the number of a command of form 1."""

OPERATIONS: Mapping[int, str] = {
    0x00: "STOP", 0x01: "IRQ", 0x02: "CONV", 0x03: "DEPTHWISE", 0x05: "POOL", 0x06: "ELEMENTWISE", 0x07: "RESIZE",
    0x10: "DMA_START", 0x11: "DMA_WAIT", 0x12: "KERNEL_WAIT", 0x13: "PMU_MASK",
}  # fmt: skip

_COMMON: Mapping[int, str] = {
    0x100: "IFM_PAD_TOP", 0x101: "IFM_PAD_LEFT", 0x102: "IFM_PAD_RIGHT", 0x103: "IFM_PAD_BOTTOM",
    0x104: "IFM_DEPTH_M1", 0x105: "IFM_PRECISION", 0x107: "IFM_UPSCALE", 0x109: "IFM_ZERO_POINT",
    0x10A: "IFM_WIDTH0_M1", 0x10B: "IFM_HEIGHT0_M1", 0x10C: "IFM_HEIGHT1_M1", 0x10F: "IFM_REGION",
    0x111: "OFM_WIDTH_M1", 0x112: "OFM_HEIGHT_M1", 0x113: "OFM_DEPTH_M1", 0x114: "OFM_PRECISION",
    0x115: "OFM_BLK_WIDTH_M1", 0x116: "OFM_BLK_HEIGHT_M1", 0x117: "OFM_BLK_DEPTH_M1", 0x118: "OFM_ZERO_POINT",
    0x11A: "OFM_WIDTH0_M1", 0x11B: "OFM_HEIGHT0_M1", 0x11C: "OFM_HEIGHT1_M1", 0x11F: "OFM_REGION",
    0x120: "KERNEL_WIDTH_M1", 0x121: "KERNEL_HEIGHT_M1", 0x122: "KERNEL_STRIDE", 0x124: "ACC_FORMAT",
    0x125: "ACTIVATION", 0x126: "ACTIVATION_MIN", 0x127: "ACTIVATION_MAX", 0x128: "WEIGHT_REGION",
    0x129: "SCALE_REGION", 0x12F: "BLOCKDEP", 0x130: "DMA0_SRC_REGION", 0x131: "DMA0_DST_REGION",
    0x132: "DMA0_SIZE0", 0x133: "DMA0_SIZE1", 0x180: "IFM2_BROADCAST", 0x185: "IFM2_PRECISION",
    0x189: "IFM2_ZERO_POINT", 0x18A: "IFM2_WIDTH0_M1", 0x18B: "IFM2_HEIGHT0_M1", 0x18C: "IFM2_HEIGHT1_M1",
    0x18F: "IFM2_REGION",
    0x4000: "IFM_BASE0", 0x4001: "IFM_BASE1", 0x4002: "IFM_BASE2", 0x4003: "IFM_BASE3", 0x4004: "IFM_STRIDE_X",
    0x4005: "IFM_STRIDE_Y", 0x4006: "IFM_STRIDE_C", 0x4010: "OFM_BASE0", 0x4011: "OFM_BASE1", 0x4012: "OFM_BASE2",
    0x4013: "OFM_BASE3", 0x4014: "OFM_STRIDE_X", 0x4015: "OFM_STRIDE_Y", 0x4016: "OFM_STRIDE_C",
    0x4020: "WEIGHT_BASE", 0x4021: "WEIGHT_LENGTH", 0x4022: "SCALE_BASE", 0x4023: "SCALE_LENGTH",
    0x4024: "OFM_SCALE", 0x4030: "DMA0_SRC", 0x4031: "DMA0_DST", 0x4032: "DMA0_LEN", 0x4080: "IFM2_BASE0",
    0x4081: "IFM2_BASE1", 0x4082: "IFM2_BASE2", 0x4083: "IFM2_BASE3", 0x4084: "IFM2_STRIDE_X",
    0x4085: "IFM2_STRIDE_Y", 0x4086: "IFM2_STRIDE_C", 0x4090: "WEIGHT1_BASE", 0x4091: "WEIGHT1_LENGTH",
}  # fmt: skip

_U55: Mapping[int, str] = {
    0x10D: "IFM_IB_END", 0x123: "PARALLEL_MODE", 0x12D: "AB_START", 0x181: "IFM2_SCALAR", 0x18D: "IFM2_IB_START",
    0x4025: "OPA_SCALE", 0x4026: "OPB_SCALE", 0x4033: "DMA0_SKIP0", 0x4034: "DMA0_SKIP1", 0x4092: "SCALE1_BASE",
    0x4093: "SCALE1_LENGTH",
}  # fmt: skip

_U85: Mapping[int, str] = {
    0x108: "IFM_BROADCAST", 0x12A: "RESIZE_X_SCALE_N_M1", 0x12B: "RESIZE_Y_SCALE_N_M1", 0x12C: "RESIZE_X_OFFSET",
    0x12D: "RESIZE_Y_OFFSET", 0x12E: "WEIGHT_FORMAT", 0x4025: "IFM_SCALE", 0x4026: "IFM2_SCALE", 0x4027: "OP_SCALAR",
    0x4092: "WEIGHT2_BASE", 0x4093: "WEIGHT2_LENGTH", 0x4094: "WEIGHT3_BASE", 0x4095: "WEIGHT3_LENGTH",
    0x4096: "RESIZE_X_STEP", 0x4097: "RESIZE_Y_STEP",
}  # fmt: skip

REGISTERS: Mapping[str, Mapping[int, str]] = {
    "ethos-u55": {**_COMMON, **_U55},
    "ethos-u65": {**_COMMON, **_U55},
    "ethos-u85": {**_COMMON, **_U85},
}
"""Family -> number (of form 1: with WIDE) -> name, without NPU_SET_."""

_KERNEL_STRIDE: Fields = {
    "stride_x_low": (0, 1), "stride_y_low": (1, 1), "part_kernel": (2, 1), "dilation_x_m1": (3, 1),
    "dilation_y_m1": (4, 1), "decomposition": (5, 1), "stride_x_high": (6, 1), "stride_y_high": (9, 1),
}  # fmt: skip
_DMA_REGION: Fields = {"region": (0, 8), "internal": (8, 1), "stride_mode": (9, 2), "index_mode": (11, 1)}
_SCALE: Fields = {"scale": (0, 32), "shift": (32, 6)}
_U85_SCALE: Fields = {**_SCALE, "double_round": (38, 5), "rounding": (45, 3)}
_INPUT: Fields = {"signed": (0, 1), "precision": (2, 2), "brick": (6, 1)}
_OUTPUT: Fields = {"signed": (0, 1), "precision": (1, 2), "brick": (6, 1), "global_scale": (8, 1)}

_U55_FIELDS: Mapping[str, Fields] = {
    "KERNEL_STRIDE": _KERNEL_STRIDE,
    "DMA0_SRC_REGION": _DMA_REGION,
    "DMA0_DST_REGION": _DMA_REGION,
    "OFM_SCALE": _SCALE,
    "OPA_SCALE": _SCALE,
    "OPB_SCALE": {"scale": (0, 32)},
    "IFM_PRECISION": {**_INPUT, "scale_mode": (8, 2), "rounding": (14, 2)},
    "IFM2_PRECISION": _INPUT,
    "OFM_PRECISION": {**_OUTPUT, "rounding": (14, 2)},
    "ACTIVATION": {"function": (0, 12), "clip_range": (12, 4)},
    "IFM2_BROADCAST": {"height": (0, 1), "width": (1, 1), "depth": (2, 1), "swapped": (6, 1), "scalar": (7, 1)},
    "IFM_UPSCALE": {"mode": (0, 2)},
    "ACC_FORMAT": {"format": (0, 2)},
}

_U85_FIELDS: Mapping[str, Fields] = {
    "KERNEL_STRIDE": _KERNEL_STRIDE,
    "DMA0_SRC_REGION": _DMA_REGION,
    "DMA0_DST_REGION": _DMA_REGION,
    "OFM_SCALE": _U85_SCALE,
    "IFM_SCALE": _U85_SCALE,
    "IFM2_SCALE": _U85_SCALE,
    "IFM_PRECISION": {**_INPUT, "storage": (14, 2)},
    "IFM2_PRECISION": {**_INPUT, "storage": (14, 2)},
    "OFM_PRECISION": {**_OUTPUT, "reverse": (9, 2), "transpose": (11, 3), "storage": (14, 2)},
    "ACTIVATION": {"function": (0, 5), "table": (5, 3), "clip_range": (12, 4)},
    "IFM_BROADCAST": {"height": (0, 1), "width": (1, 1), "depth": (2, 1), "scalar": (3, 1)},
    "IFM2_BROADCAST": {"height": (0, 1), "width": (1, 1), "depth": (2, 1), "scalar": (3, 1)},
    "IFM_UPSCALE": {"mode": (0, 2)},
    "WEIGHT_FORMAT": {"fast": (0, 4), "sparse": (4, 4)},
    "ACC_FORMAT": {"format": (0, 2), "input": (4, 2), "output": (6, 1), "microblock": (8, 3)},
}

_ADDRESS = {"ethos-u55": 32, "ethos-u65": 40, "ethos-u85": 40}
_LENGTHS = ("_LENGTH", "_LEN", "_SCALAR")

PARAMETERS: Mapping[str, int] = {
    "STOP": 16, "IRQ": 16, "CONV": 0, "DEPTHWISE": 0, "POOL": 3, "ELEMENTWISE": 6, "RESIZE": 2, "DMA_START": 0,
    "DMA_WAIT": 4, "KERNEL_WAIT": 4, "PMU_MASK": 16,
}  # fmt: skip
"""Bits that the parameter of an operation has; on U85 CONV has one: the weights are the second input."""

FIELDS: Mapping[str, Mapping[str, Fields]] = {
    "ethos-u55": _U55_FIELDS,
    "ethos-u65": _U55_FIELDS,
    "ethos-u85": _U85_FIELDS,
}
"""Family -> register -> its fields."""


def mask(family: str, name: str, number: int) -> int:
    """The bits of a register that mean something; the others must be 0."""
    fields = FIELDS[family].get(name)
    if fields is not None:
        return sum(((1 << bits) - 1) << low for low, bits in fields.values())
    if not number & WIDE:
        return 0xFFFF
    return (1 << (32 if name.endswith(_LENGTHS) else 48 if name.endswith("_STEP") else _ADDRESS[family])) - 1
