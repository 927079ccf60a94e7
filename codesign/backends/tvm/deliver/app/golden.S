/* The self-test's frames: of each, all inputs, then all outputs that the golden evaluation gives. */
        .section .rodata.network_golden, "a", %progbits
        .balign 64
        .global network_golden
        .type network_golden, %object
network_golden:
        .incbin "golden.bin"
        .size network_golden, . - network_golden

        .section .note.GNU-stack, "", %progbits
