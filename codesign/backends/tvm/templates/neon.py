"""Advanced SIMD instructions as tensor intrinsics: what ARM cores without a dot product multiply bytes with."""

from __future__ import annotations

from functools import cache
from typing import Any

from tvm import tirx
from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T

WIDTH = 16  # bytes of a register
SUMS = 4  # 32-bit sums of a register


def call(dtype: str, name: str, *args: Any) -> Any:
    """LLVM's intrinsic llvm.aarch64.neon.`name`."""
    return T.call_llvm_pure_intrin(T.llvm_lookup_intrinsic_id(f"llvm.aarch64.neon.{name}"), *args, dtype=dtype)


def _products(a: Any, b: Any, part: Any) -> Any:
    """Eight products in 16 bits of one half of two registers: SMULL or SMULL2."""
    return call("int16x8", "smull.v8i16", part("int8x8", a), part("int8x8", b))


def _pairwise(products: Any) -> Any:
    """Neighbours added in 32 bits; with the addition of an accumulator it is SADALP."""
    return call("int32x4", "saddlp.v4i32.v8i16", products)


@cache
def widening_dot(pairs: bool, scope: str = "global") -> str:
    """The registered intrinsic c[l] += sum over h, i < 2 of a[8h + 2l + i] * b[h, l, i]: bytes, c in a register.

    pairs  SMULL, SMLAL2, SADALP: the two products of h are added in 16 bits, so no two may be (-128)^2;
           otherwise SMULL, SADALP, SMULL2, SADALP
    scope  of a, for TVM: `local` in a buffer of the kernel's own
    """
    name = f"codesign.widening_dot.{'pairs' if pairs else 'single'}.{scope}"

    @T.prim_func(s_tir=True)
    def description(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (WIDTH,), "int8", offset_factor=1, scope=scope)
        B = T.match_buffer(b, (2, SUMS, 2), "int8", offset_factor=1)
        C = T.match_buffer(c, (SUMS,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:SUMS], A[0:WIDTH], B[0:2, 0:SUMS, 0:2])
            T.writes(C[0:SUMS])
            for n in T.serial(0, SUMS):
                for h in T.serial(0, 2):
                    for i in T.serial(0, 2):
                        with T.sblock("update"):
                            vl, vh, vi = T.axis.remap("SRR", [n, h, i])
                            C[vl] = C[vl] + T.cast(A[vh * 8 + vl * 2 + vi], "int32") * T.cast(B[vh, vl, vi], "int32")

    def total(c: Any, a: Any, b: Any) -> Any:
        low, high = _products(a, b, tirx.vectorlow), _products(a, b, tirx.vectorhigh)
        return c + _pairwise(low + high) if pairs else c + _pairwise(low) + _pairwise(high)

    @T.prim_func(s_tir=True)
    def implementation(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (WIDTH,), "int8", offset_factor=1, scope=scope)
        B = T.match_buffer(b, (2, SUMS, 2), "int8", offset_factor=1)
        C = T.match_buffer(c, (SUMS,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:SUMS], A[0:WIDTH], B[0:2, 0:SUMS, 0:2])
            T.writes(C[0:SUMS])
            C[T.ramp(T.int32(0), 1, 4)] = total(
                C.vload([0], dtype="int32x4"), A.vload([0], "int8x16"), B.vload([0, 0, 0], "int8x16")
            )

    TensorIntrin.register(name, description, implementation, override=True)
    return name


@cache
def across() -> str:
    """The registered intrinsic t[o] += sum over l < 4 of c[o, l], o < 4: three ADDP, and the addition."""
    name = "codesign.across"

    @T.prim_func(s_tir=True)
    def description(c: T.handle, t: T.handle) -> None:
        C = T.match_buffer(c, (SUMS, SUMS), "int32", offset_factor=1, scope="local")
        S = T.match_buffer(t, (SUMS,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(S[0:SUMS], C[0:SUMS, 0:SUMS])
            T.writes(S[0:SUMS])
            for o in T.serial(0, SUMS):
                for n in T.serial(0, SUMS):
                    with T.sblock("update"):
                        vo, vl = T.axis.remap("SR", [o, n])
                        S[vo] = S[vo] + C[vo, vl]

    def pairwise(a: Any, b: Any) -> Any:
        return call("int32x4", "addp.v4i32", a, b)

    @T.prim_func(s_tir=True)
    def implementation(c: T.handle, t: T.handle) -> None:
        C = T.match_buffer(c, (SUMS, SUMS), "int32", offset_factor=1, scope="local")
        S = T.match_buffer(t, (SUMS,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(S[0:SUMS], C[0:SUMS, 0:SUMS])
            T.writes(S[0:SUMS])
            S[T.ramp(T.int32(0), 1, 4)] = S.vload([0], dtype="int32x4") + pairwise(
                pairwise(C.vload([0, 0], "int32x4"), C.vload([1, 0], "int32x4")),
                pairwise(C.vload([2, 0], "int32x4"), C.vload([3, 0], "int32x4")),
            )

    TensorIntrin.register(name, description, implementation, override=True)
    return name


@cache
def lane_dot(groups: int, scope: str = "global", weights: str = "global") -> str:
    """The registered intrinsic c[o] += sum over g < groups, i < 4 of a[4g + i] * b[g, o, i]: SDOT by element.

    The activations are loaded once for all groups (2 to 4), in a whole register where there are more than two: up to
    four bytes behind them are read.
    """
    name = f"codesign.lane_dot.{groups}.{scope}.{weights}"
    loaded = 2 if groups == 2 else 4  # words

    @T.prim_func(s_tir=True)
    def description(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (groups * 4,), "int8", offset_factor=1, scope=scope)
        B = T.match_buffer(b, (groups, SUMS, 4), "int8", offset_factor=1, scope=weights)
        C = T.match_buffer(c, (SUMS,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:SUMS], A[0 : groups * 4], B[0:groups, 0:SUMS, 0:4])
            T.writes(C[0:SUMS])
            for o in T.serial(0, SUMS):
                for g in T.serial(0, groups):
                    for i in T.serial(0, 4):
                        with T.sblock("update"):
                            vo, vg, vi = T.axis.remap("SRR", [o, g, i])
                            C[vo] = C[vo] + T.cast(A[vg * 4 + vi], "int32") * T.cast(B[vg, vo, vi], "int32")

    def total(c: Any, a: Any, b: Any) -> Any:
        words = T.reinterpret(a, dtype=f"int32x{loaded}")
        for g in range(groups):
            word = tirx.Shuffle([words] * (4 // loaded), [g] * 4)
            c = call("int32x4", "sdot", c, b[g], T.reinterpret(word, dtype="int8x16"))
        return c

    @T.prim_func(s_tir=True)
    def implementation(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (groups * 4,), "int8", offset_factor=1, scope=scope)
        B = T.match_buffer(b, (groups, SUMS, 4), "int8", offset_factor=1, scope=weights)
        C = T.match_buffer(c, (SUMS,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:SUMS], A[0 : groups * 4], B[0:groups, 0:SUMS, 0:4])
            T.writes(C[0:SUMS])
            C[T.ramp(T.int32(0), 1, 4)] = total(
                C.vload([0], dtype="int32x4"),
                A.vload([0], f"int8x{loaded * 4}"),
                [B.vload([g, 0, 0], "int8x16") for g in range(groups)],
            )

    TensorIntrin.register(name, description, implementation, override=True)
    return name


@cache
def interleaved_dot() -> str:
    """The registered intrinsic c[n] += sum over r < 4 of a[r, n] * b[n, r], n < 16: four rows interleaved, four SDOT.

    Rows that several products share are interleaved once: LLVM sees the same instructions.
    """
    name = "codesign.interleaved_dot"

    @T.prim_func(s_tir=True)
    def description(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (4, WIDTH), "int8", offset_factor=1, scope="local")
        B = T.match_buffer(b, (WIDTH, 4), "int8", offset_factor=1)
        C = T.match_buffer(c, (WIDTH,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:WIDTH], A[0:4, 0:WIDTH], B[0:WIDTH, 0:4])
            T.writes(C[0:WIDTH])
            for n in T.serial(0, WIDTH):
                for r in T.serial(0, 4):
                    with T.sblock("update"):
                        vn, vr = T.axis.remap("SR", [n, r])
                        C[vn] = C[vn] + T.cast(A[vr, vn], "int32") * T.cast(B[vn, vr], "int32")

    def zipped(a: Any, b: Any, dtype: str, half: int) -> Any:
        lanes = int(dtype.partition("x")[2])
        start = half * lanes // 2
        order = [index for n in range(start, start + lanes // 2) for index in (n, n + lanes)]
        return tirx.Shuffle([T.reinterpret(a, dtype=dtype), T.reinterpret(b, dtype=dtype)], order)

    def sums(a: Any, b: Any, c: Any, part: int) -> Any:
        """Of four channels, from 4 * part."""
        rows = [a.vload([r, 0], "int8x16") for r in range(4)]
        pairs = [zipped(rows[r], rows[r + 1], "int8x16", part // 2) for r in (0, 2)]
        quads = T.reinterpret(zipped(pairs[0], pairs[1], "int16x8", part % 2), dtype="int8x16")
        return call("int32x4", "sdot", c.vload([4 * part], "int32x4"), quads, b.vload([4 * part, 0], "int8x16"))

    @T.prim_func(s_tir=True)
    def implementation(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (4, WIDTH), "int8", offset_factor=1, scope="local")
        B = T.match_buffer(b, (WIDTH, 4), "int8", offset_factor=1)
        C = T.match_buffer(c, (WIDTH,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:WIDTH], A[0:4, 0:WIDTH], B[0:WIDTH, 0:4])
            T.writes(C[0:WIDTH])
            C[T.ramp(T.int32(0), 1, 4)] = sums(A, B, C, 0)
            C[T.ramp(T.int32(4), 1, 4)] = sums(A, B, C, 1)
            C[T.ramp(T.int32(8), 1, 4)] = sums(A, B, C, 2)
            C[T.ramp(T.int32(12), 1, 4)] = sums(A, B, C, 3)

    TensorIntrin.register(name, description, implementation, override=True)
    return name


@cache
def narrow_dot(bits: int, scope: str = "global") -> str:
    """The registered intrinsic c[n] += sum of a[n + i] * b[n + i] over 16 bytes, sums of `bits` in a register.

    bits  16: n < 8 and i = 0, 8, by SMLAL and SMLAL2; 8: n < 16, i = 0, by MLA. Nothing may overflow
    """
    name, lanes, parts = f"codesign.narrow_dot.{bits}.{scope}", 128 // bits, bits // 8
    dtype = f"int{bits}"

    @T.prim_func(s_tir=True)
    def description(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (WIDTH,), "int8", offset_factor=1, scope=scope)
        B = T.match_buffer(b, (WIDTH,), "int8", offset_factor=1, scope="local")
        C = T.match_buffer(c, (lanes,), dtype, offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:WIDTH], B[0:WIDTH])
            T.writes(C[0:lanes])
            for n in T.serial(0, lanes):
                for h in T.serial(0, parts):
                    with T.sblock("update"):
                        vn, vh = T.axis.remap("SR", [n, h])
                        C[vn] = C[vn] + T.cast(A[vh * lanes + vn], dtype) * T.cast(B[vh * lanes + vn], dtype)

    @T.prim_func(s_tir=True)
    def description_of_bytes(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (WIDTH,), "int8", offset_factor=1, scope=scope)
        B = T.match_buffer(b, (WIDTH,), "int8", offset_factor=1, scope="local")
        C = T.match_buffer(c, (WIDTH,), "int8", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:WIDTH], A[0:WIDTH], B[0:WIDTH])
            T.writes(C[0:WIDTH])
            for n in T.serial(0, WIDTH):
                with T.sblock("update"):
                    vn = T.axis.remap("S", [n])
                    C[vn] = C[vn] + A[vn] * B[vn]

    def total(c: Any, a: Any, b: Any) -> Any:
        if bits == 8:
            return c + a * b
        return c + _products(a, b, tirx.vectorlow) + _products(a, b, tirx.vectorhigh)

    @T.prim_func(s_tir=True)
    def implementation(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (WIDTH,), "int8", offset_factor=1, scope=scope)
        B = T.match_buffer(b, (WIDTH,), "int8", offset_factor=1, scope="local")
        C = T.match_buffer(c, (lanes,), dtype, offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:WIDTH], B[0:WIDTH])
            T.writes(C[0:lanes])
            C[T.ramp(T.int32(0), 1, lanes)] = total(
                C.vload([0], dtype=f"{dtype}x{lanes}"), A.vload([0], "int8x16"), B.vload([0], "int8x16")
            )

    TensorIntrin.register(name, description if bits == 16 else description_of_bytes, implementation, override=True)
    return name


@cache
def pairwise(bits: int) -> str:
    """The registered intrinsic c[n] += sum over i < 32 / bits of a[n * 32 / bits + i], n < 4: SADALP of narrow sums."""
    name, parts, dtype = f"codesign.pairwise.{bits}", 32 // bits, f"int{bits}"

    @T.prim_func(s_tir=True)
    def description(a: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (SUMS * parts,), dtype, offset_factor=1, scope="local")
        C = T.match_buffer(c, (SUMS,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:SUMS], A[0 : SUMS * parts])
            T.writes(C[0:SUMS])
            for n in T.serial(0, SUMS):
                for i in T.serial(0, parts):
                    with T.sblock("update"):
                        vn, vi = T.axis.remap("SR", [n, i])
                        C[vn] = C[vn] + T.cast(A[vn * parts + vi], "int32")

    def total(c: Any, a: Any) -> Any:
        words = call("int16x8", "saddlp.v8i16.v16i8", a) if bits == 8 else a
        return c + _pairwise(words)

    @T.prim_func(s_tir=True)
    def implementation(a: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (SUMS * parts,), dtype, offset_factor=1, scope="local")
        C = T.match_buffer(c, (SUMS,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:SUMS], A[0 : SUMS * parts])
            T.writes(C[0:SUMS])
            C[T.ramp(T.int32(0), 1, 4)] = total(C.vload([0], "int32x4"), A.vload([0], f"{dtype}x{SUMS * parts}"))

    TensorIntrin.register(name, description, implementation, override=True)
    return name
