/* Weights, biases and tables of the kernels: constants.bin, as it is. */
        .section .rodata.network_constants, "a", %progbits
        .balign 64
        .global network_constants
        .hidden network_constants
        .type network_constants, %object
network_constants:
        .incbin "constants.bin"
        .size network_constants, . - network_constants

        .section .note.GNU-stack, "", %progbits
