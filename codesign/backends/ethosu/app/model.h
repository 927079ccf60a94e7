/* The compiled model: what the NPU needs in memory, and where inputs and outputs are.
 *
 * Numbers come from data/: sizes in model_sizes.h, contents in the .inc files. Arrays start at multiples of 32 bytes:
 * the NPU asks for 16, a cache line of Cortex-M55 and Cortex-M85 has 32 and must not hold anybody else's bytes.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "data/model_sizes.h"

#define MODEL_ALIGNMENT 32
#define MODEL_ROUND_UP(bytes) (((bytes) + MODEL_ALIGNMENT - 1) / MODEL_ALIGNMENT * MODEL_ALIGNMENT)

/* Where the linker puts an array: the section .npu_axi0_arena is in a memory behind the NPU's AXI port 0, and so on.
 * Define MODEL_PLACE yourself to place arrays in another way. */
#ifndef MODEL_PLACE
#define MODEL_PLACE_(axi, what) __attribute__((aligned(MODEL_ALIGNMENT), section(".npu_axi" #axi "_" #what)))
#define MODEL_PLACE(axi, what) MODEL_PLACE_(axi, what)
#endif

/* One input or output.
 *
 * address  of its first byte from the start of the arena
 * shape    the `rank` lengths, outermost first, the channels last
 * scale    real value = (stored value - zero_point) * scale; 0: the model says none
 */
struct model_port {
    const char *name;
    uint32_t address;
    uint32_t bytes;
    uint32_t element_bytes;
    uint32_t rank;
    uint32_t shape[6];
    float scale;
    int32_t zero_point;
};

/* One region of the command stream: its addresses count from `base`. A region that the model does not use is 0, 0. */
struct model_region {
    const void *base;
    size_t bytes;
};

/* The driver payload: a header and the register commands. */
extern const uint32_t model_command_stream[MODEL_ROUND_UP(MODEL_COMMAND_STREAM_BYTES) / 4];

#if MODEL_CONSTANTS_BYTES > 0
/* Weights, biases, scales and tables. */
extern const uint32_t model_constants[MODEL_ROUND_UP(MODEL_CONSTANTS_BYTES) / 4];
#endif

/* Inputs, outputs and what the NPU keeps between operations. Inputs are overwritten: write them before every run. */
extern uint8_t model_arena[MODEL_ROUND_UP(MODEL_ARENA_BYTES)];

extern const struct model_region model_regions[MODEL_REGIONS];
extern const struct model_port model_inputs[MODEL_INPUTS];
extern const struct model_port model_outputs[MODEL_OUTPUTS];

#endif
