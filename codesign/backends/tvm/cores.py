"""The cores that LLVM has a name for, and which of the extensions that kernels are chosen by each of them has.

Kept here, not asked of LLVM, since a target's file is read without loading it; a test compares the two (LLVM 22).
"""

from __future__ import annotations

from collections.abc import Mapping

Cores = Mapping[str, tuple[str, ...]]


def _cores(groups: Mapping[tuple[str, ...], str]) -> Cores:
    return {name: features for features, names in groups.items() for name in names.split()}


AARCH64 = _cores(
    {
        (): """
            a64fx apple-a10 apple-a11 apple-a12 apple-a7 carmel cortex-a34 cortex-a35 cortex-a53 cortex-a57 cortex-a72
            cortex-a73 exynos-m3 falkor generic kryo thunderx thunderx2t99 thunderx3t110 thunderxt81 thunderxt83
            thunderxt88
        """,
        ("dotprod",): """
            apple-a13 apple-a14 cortex-a55 cortex-a65 cortex-a65ae cortex-a75 cortex-a76 cortex-a76ae cortex-a77
            cortex-a78 cortex-a78ae cortex-a78c cortex-r82 cortex-r82ae cortex-x1 cortex-x1c exynos-m4 exynos-m5
            neoverse-e1 neoverse-n1 saphira tsv110
        """,
        ("dotprod", "i8mm"): """
            ampere1 ampere1a ampere1b ampere1c apple-a15 apple-a16 apple-a17 apple-m4 apple-m5 c1-nano c1-premium
            c1-pro c1-ultra cortex-a320 cortex-a510 cortex-a520 cortex-a520ae cortex-a710 cortex-a715 cortex-a720
            cortex-a720ae cortex-a725 cortex-x2 cortex-x3 cortex-x4 cortex-x925 fujitsu-monaka gb10 grace
            neoverse-512tvb neoverse-n2 neoverse-n3 neoverse-v1 neoverse-v2 neoverse-v3 neoverse-v3ae olympus oryon-1
        """,
    }
)

X86_64 = _cores(
    {
        (): """
            amdfam10 athlon-fx athlon64 athlon64-sse3 atom barcelona bdver1 bdver2 bdver3 bonnell btver1 btver2
            core-avx-i core2 corei7 corei7-avx generic goldmont goldmont-plus ivybridge k8 k8-sse3 nehalem nocona
            opteron opteron-sse3 penryn sandybridge silvermont slm tremont westmere x86-64 x86-64-v2
        """,
        ("avx2",): """
            alderlake arrowlake arrowlake-s bdver4 broadwell cannonlake clearwaterforest core-avx2 gracemont grandridge
            haswell knl knm lunarlake meteorlake pantherlake raptorlake sierraforest skx skylake skylake-avx512
            wildcatlake x86-64-v3 x86-64-v4 znver1 znver2 znver3
        """,
        ("avx2", "avx512vnni"): """
            cascadelake cooperlake diamondrapids emeraldrapids graniterapids graniterapids-d icelake-client
            icelake-server novalake rocketlake sapphirerapids tigerlake znver4 znver5
        """,
    }
)

CORES: Mapping[str, Cores] = {"aarch64": AARCH64, "x86_64": X86_64}
