"""The decoder of Ethos-U command streams, on words made by hand; the codings against Vela's own codec."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from conftest import missing
from hypothesis import given
from hypothesis import strategies as st

from codesign.backends.ethosu.stream import StreamError, decode, read_payload
from codesign.backends.ethosu.stream.memory import Memory
from codesign.backends.ethosu.stream.operations import (
    Copy,
    End,
    FeatureMap,
    Kind,
    Operation,
    Range,
    Rounding,
    Wait,
)
from codesign.backends.ethosu.stream.ordering import FILL, Volume, order_fast, order_u55, order_u85
from codesign.backends.ethosu.stream.records import join_cores, read_records
from codesign.backends.ethosu.stream.weights import decode_fast_weights, decode_weights

U55_128, U85_256 = 0x00001807, 0x20000118


def codec():
    """Vela's C codec of weights; the test ends where Vela is missing."""
    try:
        from ethosu import mlw_codec
    except ImportError:
        missing("ethos-u-vela")
    return mlw_codec


def payload(*words: int, config: int = U55_128) -> bytes:
    head = [0x31504F43, 0x00100001, config, 0x10066001, 5, 5, 5, len(words) << 16 | 2]
    return struct.pack(f"<{len(head) + len(words)}I", *head, *words)


def narrow(number: int, value: int = 0) -> list[int]:
    return [number | (value & 0xFFFF) << 16]


def wide(number: int, value: int) -> list[int]:
    return [number | 0x4000 | (value >> 32 & 0xFFFF) << 16, value & 0xFFFFFFFF]


def convolution_words() -> list[int]:
    """3x3 with stride 2 of a 6x8x8 map in NHCWB16 to 3x4x16: every register that a convolution reads."""
    words: list[int] = []
    for number, value in (
        (0x100, 0), (0x101, 0), (0x102, 1), (0x103, 1), (0x104, 7), (0x105, 0x41), (0x107, 0), (0x109, -3),
        (0x10A, 7), (0x10B, 5), (0x10C, 5), (0x10F, 1), (0x111, 3), (0x112, 2), (0x113, 15), (0x114, 0x8001),
        (0x115, 3), (0x116, 3), (0x117, 15), (0x118, -128), (0x11A, 3), (0x11B, 2), (0x11C, 2), (0x11F, 1),
        (0x120, 2), (0x121, 2), (0x122, 7), (0x124, 1), (0x125, 0), (0x126, -128), (0x127, 127), (0x128, 0),
        (0x129, 0),
    ):  # fmt: skip
        words += narrow(number, value)
    for number, value in (
        (0x00, 0x100), (0x01, 0), (0x02, 0), (0x03, 0), (0x04, 16), (0x05, 128), (0x06, 128), (0x10, 0x500),
        (0x11, 0), (0x12, 0), (0x13, 0), (0x14, 16), (0x15, 64), (0x16, 1), (0x20, 0x40), (0x21, 0x30), (0x22, 0),
        (0x23, 0xA0), (0x24, 0x0021_4000_0000),
    ):  # fmt: skip
        words += wide(number, value)
    return [*words, *narrow(0x02)]


def test_payload_names_the_device() -> None:
    found = read_payload(payload(0xFFFF0000))
    assert found.device.name == "ethos-u55-128"
    assert (found.device.cores, found.device.shram_kib, found.device.architecture) == (1, 24, (1, 0, 6))
    assert found.words.tolist() == [0xFFFF0000]
    assert read_payload(payload(0xFFFF0000, config=U85_256)).device.name == "ethos-u85-256"
    assert read_payload(payload(0xFFFF0000, config=0x10006009)).device.cores == 2


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"COP1\x00", "driver payload: 5 bytes; allowed: whole words of 4 bytes, at least two"),
        (b"COP2\x01\x00\x00\x00", "driver payload: the mark 0x32504f43; allowed: COP1, 0x31504f43"),
        (payload(1, 2)[:-4], "driver payload: 2 words of commands, 1 there; allowed: a whole command stream"),
        (b"COP1\x09\x00\x00\x00", "driver payload: the action 0x00000009 in word 1; allowed: 1, 2 or 5, in order"),
        (b"COP1\x05\x00\x00\x00", "driver payload: no register commands; allowed: action 2"),
        (payload(0, config=0x70000007), "driver payload: product 7; allowed: 0, 1, 2"),
    ],
)
def test_damaged_payload(data: bytes, text: str) -> None:
    with pytest.raises(StreamError) as caught:
        read_payload(data)
    assert str(caught.value) == text
    assert caught.value.exit_status == 1


def test_convolution_from_words() -> None:
    stream = decode(read_payload(payload(*convolution_words(), *narrow(0x12, 1), *narrow(0, 0xFFFF))))
    operation, wait, end = stream.events
    assert isinstance(operation, Operation)
    assert operation.kind is Kind.CONVOLUTION
    assert operation.offset == 4 * len(convolution_words()) - 4
    kernel = operation.kernel
    assert kernel is not None
    assert (kernel.height, kernel.width, kernel.stride_y, kernel.stride_x) == (3, 3, 2, 2)
    assert (kernel.dilation_y, kernel.part_kernel) == (1, True)
    assert operation.padding == (0, 0, 1, 1)
    assert operation.ifm.shape == (6, 8, 8)
    assert (operation.ifm.brick, operation.ifm.bits, operation.ifm.signed, operation.ifm.zero_point) == (
        True,
        8,
        True,
        -3,
    )
    assert operation.ofm.shape == (3, 4, 16)
    assert operation.ofm.zero_point == -128
    assert operation.scale.rounding is Rounding.NATURAL
    assert operation.per_channel
    assert operation.weights == (Range(0, 0x40, 0x30),)
    assert operation.scales == (Range(0, 0, 0xA0),)
    assert (operation.activation.minimum, operation.activation.maximum, operation.activation.table) == (-128, 127, None)
    assert (operation.accumulator, operation.block.depth) == (40, 16)
    assert wait == Wait(operation.offset + 4, False, 1)
    assert end == End(operation.offset + 8, 0xFFFF)


def test_transfer_from_words() -> None:
    words = [*narrow(0x130, 0), *narrow(0x131, 0x103), *wide(0x30, 0x80), *wide(0x31, 0x5800), *wide(0x32, 0x100)]
    (copy,) = decode(read_payload(payload(*words, *narrow(0x10)))).events
    assert copy == Copy(32, Range(0, 0x80, 0x100), Range(3, 0x5800, 0x100), True, True)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (narrow(0x1FF), "command stream, byte 0x0: the word 0x000001ff; allowed: a command of ethos-u55"),
        ([0x4000], "command stream, byte 0x0: the word 0x00004000; allowed: a command of ethos-u55"),
        ([0x8100], "command stream, byte 0x0: the word 0x00008100; allowed: a command of ethos-u55"),
        (
            narrow(0x10),
            "command stream, byte 0x0: DMA_START starts before DMA0_LEN is set; allowed: every register set first",
        ),
    ],
)
def test_damaged_commands(words: list[int], text: str) -> None:
    with pytest.raises(StreamError) as caught:
        decode(read_payload(payload(*words)))
    assert str(caught.value) == text


def box(**changes: object) -> FeatureMap:
    fields: dict[str, object] = {
        "region": 1, "base": (0, 0, 0, 0), "height0": 4, "height1": 4, "width0": 3, "shape": (4, 3, 2), "stride_y": 6,
        "stride_x": 2, "stride_c": 1, "brick": False, "bits": 8, "signed": True, "zero_point": 0,
    }  # fmt: skip
    return FeatureMap(**{**fields, **changes})  # type: ignore[arg-type]


def test_addresses_of_formats_and_tiles() -> None:
    assert box().addresses().reshape(-1).tolist() == list(range(24))
    brick = box(brick=True, shape=(2, 2, 18), stride_y=64, stride_c=32).addresses()
    assert brick[1, 1].tolist() == [64 + 16 + c if c < 16 else 64 + 32 + 16 + c - 16 for c in range(18)]
    rolling = box(base=(12, 0, 0, 0), height0=2).addresses()
    assert rolling[:, 0, 0].tolist() == [12, 18, 0, 6]
    four = box(base=(0, 100, 200, 300), height0=1, height1=2, width0=1, shape=(3, 2, 1)).addresses()[:, :, 0]
    assert four.tolist() == [[0, 100], [200, 106], [206, 300]]


def regions() -> list[np.ndarray]:
    return [np.zeros(size, dtype=np.int64) for size in (256, 32)]


def test_memory_follows_constants_and_elements() -> None:
    memory = Memory(bytes(range(64)), regions(), 0x5800)
    memory.copy(Copy(0, Range(0, 16, 8), Range(2, 4, 8), False, True))
    assert memory.constants(Range(2, 5, 3), 0) == bytes([17, 18, 19])
    memory.copy(Copy(0, Range(0, 0, 32), Range(3, 0x5900, 32), True, True))
    assert memory.table(1, 4, 0) == bytes([0, 1, 2, 3])
    labels = np.arange(1, 25).reshape(4, 3, 2)
    memory.write(box(), labels, 0)
    assert (memory.read(box(), 0) == labels).all()
    wide_map = box(bits=32, shape=(1, 1, 2))
    memory.write(wide_map, np.array([[[7, 8]]]), 0)
    assert memory.read(wide_map, 0).tolist() == [[[7, 8]]]
    assert memory.read(box(bits=32, base=(2, 0, 0, 0), shape=(1, 1, 1)), 0).item() == np.iinfo(np.int64).min
    constants = memory.feature_constants(memory.read(box(region=0, shape=(1, 1, 2), bits=16), 0), 16, True)
    assert constants is not None
    assert constants.tolist() == [[[0x0100, 0x0302]]]


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda m: m.constants(Range(2, 30, 4), 8), "4 bytes at 0x1e of region 2; allowed: within its 32 bytes"),
        (lambda m: m.constants(Range(7, 0, 4), 8), "region 7; allowed: 0 to 2"),
        (
            lambda m: m.constants(Range(1, 0, 4), 8),
            "constants from memory that holds something else; allowed: read-only bytes",
        ),
        (
            lambda m: m.write(box(region=0), np.zeros((4, 3, 2), int), 8),
            "a result among the constants; allowed: another region",
        ),
        (
            lambda m: m.copy(Copy(8, Range(0, 0, 4), Range(1, 0, 4), False, False)),
            "a transfer in several dimensions; allowed: a run of bytes",
        ),
    ],
)
def test_memory_refuses(act, text: str) -> None:
    with pytest.raises(StreamError) as caught:
        act(Memory(bytes(64), regions()))
    assert str(caught.value) == f"command stream, byte 0x8: {text}"


weights = st.one_of(
    st.lists(st.integers(-255, 255), min_size=1, max_size=400),
    st.lists(st.sampled_from([0, 0, 0, 0, 5, -7, 127]), min_size=1, max_size=400),
    st.lists(st.integers(-3, 3), min_size=1, max_size=400),
)


@given(weights)
def test_weights_as_the_codec_of_vela_decodes_them(values: list[int]) -> None:
    mlw_codec = codec()
    encoded = bytes(mlw_codec.encode(values))
    found = decode_weights(encoded)
    assert found[: len(values)].tolist() == values
    assert found.tolist() == list(mlw_codec.decode(bytearray(encoded)))


@given(weights, st.data())
def test_damaged_weights_differ_or_are_refused(values: list[int], data: st.DataObject) -> None:
    encoded = bytearray(codec().encode(values))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = decode_weights(bytes(encoded))
    except StreamError as error:
        assert str(error).startswith("weights: ")  # noqa: PT017
    else:
        assert found.dtype == np.int64


def fast(header: list[tuple[int, int]], codes: list[tuple[int, int]]) -> bytes:
    """Numbers of so many bits each, from the lowest bit up, in whole blocks of 32 bytes."""
    word, place = 0, 0
    for value, bits in [*header, *codes]:
        word, place = word | (value & ((1 << bits) - 1)) << place, place + bits
    return word.to_bytes(-(-place // 256) * 32, "little")


def test_fast_weights_from_bits() -> None:
    palette = [(2 * abs(w) + (w < 0), 9) for w in (0, 5, -3, 127, *[0] * 12)]
    four = fast([(0, 1), (1, 1), (0, 102), (0, 8), *palette], [(c, 2) for c in (1, 2, 3, 0, 1)])
    assert decode_fast_weights(four)[:5].tolist() == [5, -3, 127, 0, 5]
    sixteen = fast([(0, 1), (0, 1), (0, 102), (0, 8), *palette], [(c, 4) for c in (3, 2, 15)])
    assert decode_fast_weights(sixteen)[:3].tolist() == [127, -3, 0]
    raw = fast([(1, 1), (0, 1), (0, 102), (-2, 8), *[(0, 9)] * 16], [(w - 2, 8) for w in (129, -126, 0)])
    assert decode_fast_weights(raw)[:3].tolist() == [129, -126, 0]


volumes = st.builds(
    lambda o, kh, kw, i, kind, dilation, stride, block, wide: Volume(
        o, kh, kw, 1 if kind == 2 else i, kind == 2, kind == 1, dilation, stride, block, wide
    ),
    st.integers(1, 70), st.integers(1, 11), st.integers(1, 11), st.integers(1, 70), st.integers(0, 2),
    st.tuples(st.integers(1, 2), st.integers(1, 2)), st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.sampled_from([8, 16, 24, 64]), st.booleans(),
)  # fmt: skip


@given(volumes, st.sampled_from([4, 8]), st.integers(0, 99))
def test_order_of_u55_as_vela_packs(volume: Volume, micro: int, seed: int) -> None:
    mlw_codec = codec()
    shape = volume.outputs, volume.height, volume.width, volume.inputs
    array = np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int16)
    packed, _ = mlw_codec.reorder_encode(
        8, micro, array, volume.block, volume.depthwise, volume.part_kernel, 16 if volume.wide else 8,
        8 // volume.dilation[0], 8 // volume.dilation[1],
    )  # fmt: skip
    order = order_u55(volume, 0, 1, micro)
    assert decode_weights(bytes(packed)).tolist() == np.where(order == FILL, 0, array.reshape(-1)[order]).tolist()


@given(volumes, st.sampled_from([(128, 1, 8), (256, 1, 16), (512, 2, 16), (1024, 4, 32)]), st.booleans())
def test_order_of_u85_has_every_weight_once(volume: Volume, device: tuple[int, int, int], sparse: bool) -> None:
    macs, streams, micro = device
    volume = replace(volume, block=-(-volume.block // micro) * micro)
    sparse = sparse and not volume.depthwise
    orders = [order_u85(volume, s, streams, micro, macs, sparse) for s in range(streams)]
    if not volume.depthwise:
        orders.append(order_fast(volume, streams, micro, macs, sparse))
        assert sorted(orders.pop().tolist()) == sorted(np.concatenate(orders).tolist())
    found = np.concatenate(orders)
    assert sorted(found[found != FILL].tolist()) == list(range(volume.size))


def test_orders_of_two_cores_share_the_outputs() -> None:
    volume = Volume(5, 1, 1, 3, False, False, (1, 1), (1, 1), 16, False)
    found = [order_u55(volume, core, 2, 8) for core in (0, 1)]
    assert [sorted(set((f[f != FILL] // 3).tolist())) for f in found] == [[0, 2, 4], [1, 3]]


@given(st.integers(-(1 << 39), (1 << 39) - 1), st.integers(0, (1 << 32) - 1), st.integers(0, 63))
def test_records_of_u55(bias: int, multiplier: int, shift: int) -> None:
    data = bias.to_bytes(5, "little", signed=True) + multiplier.to_bytes(4, "little") + bytes([shift])
    found = read_records(data * 2 + bytes(4), "ethos-u65", 32)
    assert (found.bias.tolist(), found.multiplier.tolist(), found.shift.tolist()) == (
        [bias] * 2,
        [multiplier] * 2,
        [shift] * 2,
    )


@pytest.mark.parametrize(("accumulator", "bias_bytes", "scale_bytes"), [(32, 4, 4), (48, 6, 2)])
def test_records_of_u85(accumulator: int, bias_bytes: int, scale_bytes: int) -> None:
    data = (-5).to_bytes(bias_bytes, "little", signed=True) + (0x1234).to_bytes(scale_bytes, "little") + bytes([37, 0])
    found = read_records(data, "ethos-u85", accumulator)
    assert (found.bias.tolist(), found.multiplier.tolist(), found.shift.tolist()) == ([-5], [0x1234], [37])


def test_records_of_two_cores() -> None:
    one = read_records(bytes([1, *[0] * 9, 3, *[0] * 9]), "ethos-u65", 32)
    two = read_records(bytes([2, *[0] * 9]), "ethos-u65", 32)
    joined = join_cores([one, two], 3)
    assert joined is not None
    assert joined.bias.tolist() == [1, 2, 3]
    assert join_cores([one, two], 4) is None
