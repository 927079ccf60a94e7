/* Cortex-M55 and Cortex-M85: interrupt controller, data cache, end of the program.
 *
 * Registers: Armv8-M Architecture Reference Manual (DDI0553), "System Control Space".
 */
#include "port.h"

#define CACHE_LINE 32u

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define NVIC_ISER(n) REGISTER(0xe000e100u + 4u * (n)) /* interrupt set-enable */
#define SCB_CCR REGISTER(0xe000ed14u)                 /* configuration and control */
#define SCB_DCIMVAC REGISTER(0xe000ef5cu)             /* invalidate a line by address */
#define SCB_DCCMVAC REGISTER(0xe000ef68u)             /* clean a line by address */
#define CCR_DC (1u << 16)                             /* data cache on */

static void barrier(void)
{
    __asm volatile("dsb\n\tisb" ::: "memory");
}

void port_enable_npu_interrupt(void)
{
    NVIC_ISER(PORT_NPU_IRQ / 32) = 1u << (PORT_NPU_IRQ % 32);
    barrier();
}

void port_clean_cache(const void *start, size_t bytes)
{
    uintptr_t line = (uintptr_t)start & ~(uintptr_t)(CACHE_LINE - 1);

    barrier();
    if ((SCB_CCR & CCR_DC) == 0)
        return;
    for (; line < (uintptr_t)start + bytes; line += CACHE_LINE)
        SCB_DCCMVAC = line;
    barrier();
}

void port_invalidate_cache(void *start, size_t bytes)
{
    uintptr_t line = (uintptr_t)start;

    barrier();
    if ((SCB_CCR & CCR_DC) == 0)
        return;
    for (; line < (uintptr_t)start + bytes; line += CACHE_LINE)
        SCB_DCIMVAC = line;
    barrier();
}

#ifdef SEMIHOSTING
/* Semihosting for AArch32 and AArch64, Arm's ABI: operation in r0, its argument in r1, `bkpt 0xab`. */
#define SYS_WRITE0 0x04
#define SYS_EXIT_EXTENDED 0x20
#define APPLICATION_EXIT 0x20026u

static void semihosting(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = argument;

    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}
#endif

_Noreturn void port_exit(int status, const char *text)
{
#ifdef SEMIHOSTING
    const uint32_t reason[2] = {APPLICATION_EXIT, (uint32_t)status};

    semihosting(SYS_WRITE0, text);
    semihosting(SYS_EXIT_EXTENDED, reason);
#else
    (void)status;
    (void)text;
#endif
    for (;;)
        __asm volatile("wfi");
}
