/* What a program says to the simulator's QEMU plugin: from here on, look at nothing, warm the caches, or count.
 *
 * Nothing but a system call that fails harmlessly (prctl with an unknown option), so that the same program runs
 * everywhere. For aarch64 Linux, without a C library. */
#ifndef CODESIGN_CONTROL_H
#define CODESIGN_CONTROL_H

enum codesign_state { CODESIGN_OFF, CODESIGN_WARM, CODESIGN_COUNT };

static inline void codesign_control(enum codesign_state state) {
    register long number __asm__("x8") = 167; /* prctl */
    register long x0 __asm__("x0") = 0x43445350;
    register long x1 __asm__("x1") = state;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(number), "r"(x1) : "memory");
}

#endif
