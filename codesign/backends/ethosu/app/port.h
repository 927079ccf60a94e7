/* The platform: where the NPU is, and what the application needs of the processor. A board of yours is a case here.
 *
 * Addresses and interrupts: Zephyr, boards/arm/mps3/mps3_corstone300_fvp.dts, mps3_corstone310_fvp.dts and
 * boards/arm/mps4/mps4_corstone320_fvp.dts, nodes `ethosu`.
 */
#ifndef PORT_H
#define PORT_H

#include <stddef.h>
#include <stdint.h>

#if defined(PORT_CORSTONE300)
#define PORT_NPU_BASE 0x48102000u
#define PORT_NPU_IRQ 56
#elif defined(PORT_CORSTONE310) || defined(PORT_CORSTONE320)
#define PORT_NPU_BASE 0x50004000u
#define PORT_NPU_IRQ 16
#else
#error "define PORT_CORSTONE300, PORT_CORSTONE310 or PORT_CORSTONE320, or add a platform to port.h"
#endif

/* The addresses above are the secure ones, and the processor starts in secure privileged mode. */
#define PORT_NPU_SECURE 1u
#define PORT_NPU_PRIVILEGED 1u

void port_enable_npu_interrupt(void);

/* Before the NPU reads: what the processor wrote leaves its data cache. Nothing to do while the cache is off. */
void port_clean_cache(const void *start, size_t bytes);

/* After the NPU wrote: what the processor has in its data cache of these bytes is forgotten. `start` and `bytes` are
 * multiples of a cache line. */
void port_invalidate_cache(void *start, size_t bytes);

/* The end of the program: 0 all bytes equal, 1 some differ, 2 the NPU failed. With SEMIHOSTING to the debugger, the
 * simulator or QEMU, which also gets the text; else the processor waits, and the result is in selftest_result. */
_Noreturn void port_exit(int status, const char *text);

#endif
