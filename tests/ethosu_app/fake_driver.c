/* Stands in for Arm's driver and the NPU: knows the golden vectors, and writes the outputs that belong to the inputs it
 * finds. FAKE_FAULT makes one mistake: 1 a wrong output byte, 2 a failing run, 3 no NPU, 4 a run that writes nothing. */
#include "driver_api.h"
#include "golden.h"
#include "model.h"
#include "port.h"

#ifndef FAKE_FAULT
#define FAKE_FAULT 0
#endif

static volatile int interrupts;

void ethosu_irq_handler(struct ethosu_driver *drv)
{
    (void)drv;
    interrupts++;
}

int ethosu_init(struct ethosu_driver *drv, void *const base_address, const void *fast_memory,
                const size_t fast_memory_size, uint32_t secure_enable, uint32_t privilege_enable)
{
    (void)drv;
    if ((uintptr_t)base_address != PORT_NPU_BASE || fast_memory || fast_memory_size)
        return -1;
    return FAKE_FAULT == 3 || secure_enable != 1 || privilege_enable != 1 ? -1 : 0;
}

static int same(const uint8_t *arena, const uint8_t *golden)
{
    for (uint32_t port = 0; port < MODEL_INPUTS; port++)
        for (uint32_t i = 0; i < model_inputs[port].bytes; i++)
            if (arena[model_inputs[port].address + i] != *golden++)
                return 0;
    return 1;
}

/* What the driver demands of its arguments: a payload that says so, and everything at multiples of 16 bytes. */
static int valid(const void *payload, int bytes, const uint64_t *bases, const size_t *sizes, int regions)
{
    const uint8_t *header = payload;

    if (bytes < 32 || header[0] != 'C' || header[1] != 'O' || header[2] != 'P' || header[3] != '1')
        return 0;
    if ((uintptr_t)payload % 16 != 0 || regions != MODEL_REGIONS)
        return 0;
    if (sizes[MODEL_ARENA_REGION] < MODEL_ARENA_BYTES)
        return 0;
#if MODEL_CONSTANTS_BYTES > 0
    if (sizes[MODEL_CONSTANTS_REGION] < MODEL_CONSTANTS_BYTES)
        return 0;
#endif
    for (int region = 0; region < regions; region++)
        if (bases[region] % 16 != 0 || (bases[region] == 0) != (sizes[region] == 0))
            return 0;
    return 1;
}

static void interrupt(void)
{
#ifdef __arm__
    volatile uint32_t *pending = (volatile uint32_t *)0xe000e200u;
    int before = interrupts;

    pending[PORT_NPU_IRQ / 32] = 1u << (PORT_NPU_IRQ % 32);
    while (interrupts == before)
        ;
#else
    interrupts++;
#endif
}

int ethosu_invoke_v3(struct ethosu_driver *drv, const void *custom_data_ptr, const int custom_data_size,
                     uint64_t *const base_addr, const size_t *base_addr_size, const int num_base_addr, void *user_arg)
{
    uint8_t *arena = (uint8_t *)(uintptr_t)base_addr[MODEL_ARENA_REGION];

    (void)drv;
    (void)user_arg;
    if (FAKE_FAULT == 2 || !valid(custom_data_ptr, custom_data_size, base_addr, base_addr_size, num_base_addr))
        return -1;
    interrupt();
    if (FAKE_FAULT == 4)
        return 0;
    for (uint32_t vector = 0; vector < GOLDEN_VECTORS; vector++) {
        if (!same(arena, golden_inputs[vector]))
            continue;
        const uint8_t *golden = golden_outputs[vector];
        for (uint32_t port = 0; port < MODEL_OUTPUTS; port++)
            for (uint32_t i = 0; i < model_outputs[port].bytes; i++)
                arena[model_outputs[port].address + i] = *golden++;
        if (FAKE_FAULT == 1 && vector == 0)
            arena[model_outputs[0].address] ^= 1;
        return 0;
    }
    return -1;
}
