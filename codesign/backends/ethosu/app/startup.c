/* Reset of a Cortex-M55 or Cortex-M85: vector table, floating point and Helium, initial data. */
#include <stdint.h>

#include "port.h"

#define SCB_CPACR (*(volatile uint32_t *)0xe000ed88u) /* coprocessor access control */
#define SCB_VTOR (*(volatile uint32_t *)0xe000ed08u)  /* vector table offset */
#define CPACR_FULL_CP10_CP11 (0xfu << 20)

extern uint32_t data_start[], data_end[], data_image[], bss_start[], bss_end[], stack_top[];

int main(void);
void npu_interrupt(void);
void reset(void);

static void fault(void)
{
    port_exit(2, "self-test: the processor took a fault or an interrupt that nothing enabled\n");
}

typedef void (*vector)(void);

struct vector_table {
    uint32_t *stack;
    vector reset;
    vector exceptions[14];
    vector interrupts[PORT_NPU_IRQ + 1];
};

__attribute__((used, section(".vectors"))) static const struct vector_table vectors = {
    .stack = stack_top,
    .reset = reset,
    .exceptions = {[0 ... 13] = fault},
    .interrupts = {[0 ... PORT_NPU_IRQ - 1] = fault, [PORT_NPU_IRQ] = npu_interrupt},
};

void reset(void)
{
    SCB_CPACR |= CPACR_FULL_CP10_CP11;
    SCB_VTOR = (uint32_t)&vectors;
    __asm volatile("dsb\n\tisb" ::: "memory");

    uint32_t *image = data_image;
    for (uint32_t *word = data_start; word < data_end; word++)
        *word = *image++;
    for (uint32_t *word = bss_start; word < bss_end; word++)
        *word = 0;
    main();
    for (;;)
        ;
}
