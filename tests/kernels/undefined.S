// In place of a kernel: the instruction of x86 that no processor has.
        .text
        .global KERNEL
        .type KERNEL, %function
KERNEL: ud2
        .size KERNEL, . - KERNEL
        .section .note.GNU-stack, "", %progbits
