"""Dot-product instructions as tensor intrinsics: four 8-bit products a lane, added to 32 bits in registers."""

from __future__ import annotations

from functools import cache
from typing import Any

from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T

QUAD = 4  # products that one lane adds up

# LLVM's intrinsic for vectors of so many lanes, per instruction set.
_VNNI = {16: "llvm.x86.avx512.vpdpbusd.512", 8: "llvm.x86.avx512.vpdpbusd.256", 4: "llvm.x86.avx512.vpdpbusd.128"}
_DOTPROD = {4: "llvm.aarch64.neon.sdot"}
_AVX2 = {8: "llvm.x86.avx2.pmadd.wd"}


def lanes_of(features: tuple[str, ...]) -> tuple[int, ...]:
    """The vector lengths in lanes for which there is a dot product, the longest first; empty: there is none."""
    if "avx512vnni" in features:
        return tuple(_VNNI)
    if "avx2" in features:
        return tuple(_AVX2)
    return tuple(_DOTPROD) if "dotprod" in features else ()


def quad_dot(lanes: int, operand: str, features: tuple[str, ...]) -> str:
    """The intrinsic c[lane] += sum over k < 4 of a[k] * b[lane, k], a of type `operand` and broadcast, b int8."""
    if operand == "int8":
        return _registered(lanes, operand, _DOTPROD[lanes])
    return _registered(lanes, operand, (_VNNI if "avx512vnni" in features else _AVX2)[lanes])


def _multiplied(instruction: str, c: Any, a: Any, b: Any, lanes: int) -> Any:
    """c with the products of bytes added: by one instruction, or by two of 16-bit words, even and odd bytes apart."""
    words = f"int32x{lanes}"
    function = T.llvm_lookup_intrinsic_id(instruction)
    if not instruction.endswith("pmadd.wd"):
        return T.call_llvm_pure_intrin(function, c, a, b, dtype=words)
    halves = 2 * lanes
    unsigned, signed = T.reinterpret(a, dtype=f"uint16x{halves}"), T.reinterpret(b, dtype=f"int16x{halves}")
    eight = T.broadcast(T.int16(8), halves)
    even = T.bitwise_and(unsigned, T.broadcast(T.uint16(255), halves)), (signed << eight) >> eight
    odd = unsigned >> T.broadcast(T.uint16(8), halves), signed >> eight
    for x, w in (even, odd):
        x = T.reinterpret(x, dtype=f"int16x{halves}")
        c = c + T.call_llvm_pure_intrin(function, x, w, dtype=words)
    return c


@cache
def _registered(lanes: int, operand: str, instruction: str) -> str:
    name = f"codesign.quad_dot.{instruction}"
    # AArch64's intrinsic takes both operands in bytes; so does x86's since LLVM 22.
    bytes_type, words_type = f"{operand}x{QUAD * lanes}", f"int32x{lanes}"

    @T.prim_func(s_tir=True)
    def description(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (QUAD,), operand, offset_factor=1)
        B = T.match_buffer(b, (lanes, QUAD), "int8", offset_factor=1)
        C = T.match_buffer(c, (lanes,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:QUAD], B[0:lanes, 0:QUAD])
            T.writes(C[0:lanes])
            for i in T.serial(0, lanes):
                for k in T.serial(0, QUAD):
                    with T.sblock("update"):
                        vi, vk = T.axis.remap("SR", [i, k])
                        C[vi] = C[vi] + T.cast(A[vk], "int32") * T.cast(B[vi, vk], "int32")

    @T.prim_func(s_tir=True)
    def implementation(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (QUAD,), operand, offset_factor=1)
        B = T.match_buffer(b, (lanes, QUAD), "int8", offset_factor=1)
        C = T.match_buffer(c, (lanes,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:QUAD], B[0:lanes, 0:QUAD])
            T.writes(C[0:lanes])
            C[T.ramp(T.int32(0), 1, lanes)] = _multiplied(
                instruction,
                C.vload([0], dtype=words_type),
                T.reinterpret(
                    T.broadcast(T.reinterpret(A.vload([0], f"{operand}x4"), dtype="int32"), lanes), dtype=bytes_type
                ),
                B.vload([0, 0], dtype=f"int8x{QUAD * lanes}"),
                lanes,
            )

    TensorIntrin.register(name, description, implementation, override=True)
    return name


# LLVM's intrinsic that adds two 16-bit products to each of so many lanes.
_PAIRS = {16: "llvm.x86.avx512.vpdpwssd.512", 8: "llvm.x86.avx512.vpdpwssd.256", 4: "llvm.x86.avx512.vpdpwssd.128"}


def product_lanes(features: tuple[str, ...], operand: str) -> tuple[int, ...]:
    """The vector lengths in lanes for which `lane_product` is one instruction; empty: for none."""
    return tuple(_PAIRS) if "avx512vnni" in features and operand == "uint8" else ()


@cache
def lane_product(lanes: int) -> str:
    """The intrinsic c[lane] += a[lane] * b[lane], a uint8, b int32 but within 16 bits.

    Of the two 16-bit products that VPDPWSSD adds to a lane, the upper one is 0 because a's upper half is.
    """
    name = f"codesign.lane_product.{lanes}"
    instruction = _PAIRS[lanes]
    words_type, halves_type = f"int32x{lanes}", f"int16x{2 * lanes}"

    @T.prim_func(s_tir=True)
    def description(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (lanes,), "uint8", offset_factor=1)
        B = T.match_buffer(b, (lanes,), "int32", offset_factor=1)
        C = T.match_buffer(c, (lanes,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:lanes], B[0:lanes])
            T.writes(C[0:lanes])
            for i in T.serial(0, lanes):
                with T.sblock("update"):
                    vi = T.axis.remap("S", [i])
                    C[vi] = C[vi] + T.cast(A[vi], "int32") * B[vi]

    @T.prim_func(s_tir=True)
    def implementation(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (lanes,), "uint8", offset_factor=1)
        B = T.match_buffer(b, (lanes,), "int32", offset_factor=1)
        C = T.match_buffer(c, (lanes,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:lanes], B[0:lanes])
            T.writes(C[0:lanes])
            C[T.ramp(T.int32(0), 1, lanes)] = T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(instruction),
                C.vload([0], dtype=words_type),
                T.reinterpret(T.cast(A.vload([0], f"uint8x{lanes}"), words_type), dtype=halves_type),
                T.reinterpret(B.vload([0], dtype=words_type), dtype=halves_type),
                dtype=words_type,
            )

    TensorIntrin.register(name, description, implementation, override=True)
    return name
