// In place of a kernel, which returns: with an instruction that cores before ARMv8.2 lack.
        .arch armv8.2-a+dotprod
        .text
        .global KERNEL
        .type KERNEL, %function
KERNEL: sdot v0.4s, v1.16b, v2.16b
        ret
        .size KERNEL, . - KERNEL
        .section .note.GNU-stack, "", %progbits
