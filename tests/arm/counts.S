// Known counts: count_loop 1 + 3 * 7 + 1, count_leaf 2 a call, called 5 times from count_caller and once from outside.
#define PRCTL 167
    .text
    .type count_leaf, %function
count_leaf:
    add x9, x9, #1
    ret
    .size count_leaf, . - count_leaf

    .type count_loop, %function
count_loop:
    mov x1, #7
1:  add x2, x2, x1
    subs x1, x1, #1
    b.ne 1b
    ret
    .size count_loop, . - count_loop

    .type count_caller, %function
count_caller:
    mov x10, x30
    mov x11, #5
2:  bl leaf_outside
    subs x11, x11, #1
    b.ne 2b
    mov x30, x10
    ret
    .size count_caller, . - count_caller

    .type leaf_outside, %function
leaf_outside:
    nop
    ret
    .size leaf_outside, . - leaf_outside

    .global _start
    .type _start, %function
_start:
    bl count_leaf               // before counting: must not be seen when started with OFF
    mov x8, #PRCTL
    movz x0, #0x5350
    movk x0, #0x4344, lsl #16
    mov x1, #2
    svc #0
    bl count_loop
    bl count_caller
    bl leaf_outside
    bl count_leaf
    mov x8, #PRCTL
    movz x0, #0x5350
    movk x0, #0x4344, lsl #16
    mov x1, #0
    svc #0
    bl count_loop               // after counting
    mov x0, #0
    mov x8, #93
    svc #0
    .size _start, . - _start
