/* What npu.c uses of Arm's Ethos-U core driver, for compiling it where the driver is not at hand.
 *
 * Only read when there is no ethosu_driver.h on the include path. The functions are those of version 0.16.0 and later
 * ones; the struct has their name and not their contents, so nothing that was compiled with it may be linked to the driver.
 */
#ifndef DRIVER_API_H
#define DRIVER_API_H

#include <stddef.h>
#include <stdint.h>

struct ethosu_driver {
    uint64_t opaque[16];
};

int ethosu_init(struct ethosu_driver *drv, void *const base_address, const void *fast_memory,
                const size_t fast_memory_size, uint32_t secure_enable, uint32_t privilege_enable);

int ethosu_invoke_v3(struct ethosu_driver *drv, const void *custom_data_ptr, const int custom_data_size,
                     uint64_t *const base_addr, const size_t *base_addr_size, const int num_base_addr, void *user_arg);

void ethosu_irq_handler(struct ethosu_driver *drv);

#endif
