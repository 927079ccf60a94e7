// Loads, and every third time stores, 8 bytes at each offset of a table that the test has made: `walk`.
    .text
    .global _start
    .type walk, %function
walk:
    ldr w2, [x0], #4
    add x3, x4, x2
    tbnz x2, #31, 1f
    ldr x5, [x3]
    subs x1, x1, #1
    b.ne walk
    ret
1:  and x2, x2, #0x7fffffff
    add x3, x4, x2
    str x5, [x3]
    subs x1, x1, #1
    b.ne walk
    ret
    .size walk, . - walk
    .type _start, %function
_start:
    adrp x0, table
    add x0, x0, :lo12:table
    adrp x4, area
    add x4, x4, :lo12:area
    mov x1, #COUNT
    bl walk
    mov x0, #0
    mov x8, #93
    svc #0
    .size _start, . - _start

    .section .rodata
    .balign 65536
table:
    .include "table.inc"
    .bss
    .balign 65536
area:
    .skip AREA
