#include "model.h"

MODEL_PLACE(MODEL_CONSTANTS_AXI, stream)
const uint32_t model_command_stream[MODEL_ROUND_UP(MODEL_COMMAND_STREAM_BYTES) / 4] = {
#include "data/command_stream.inc"
};

#if MODEL_CONSTANTS_BYTES > 0
MODEL_PLACE(MODEL_CONSTANTS_AXI, constants)
const uint32_t model_constants[MODEL_ROUND_UP(MODEL_CONSTANTS_BYTES) / 4] = {
#include "data/constants.inc"
};
#endif

MODEL_PLACE(MODEL_ARENA_AXI, arena)
uint8_t model_arena[MODEL_ROUND_UP(MODEL_ARENA_BYTES)];

#if MODEL_CACHE_BYTES > 0
/* On-chip memory of the NPU alone, where the arena is in a slower memory. */
MODEL_PLACE(MODEL_CACHE_AXI, cache)
static uint8_t model_cache[MODEL_ROUND_UP(MODEL_CACHE_BYTES)];
#endif

const struct model_region model_regions[MODEL_REGIONS] = {
#if MODEL_CONSTANTS_BYTES > 0
    [MODEL_CONSTANTS_REGION] = {model_constants, sizeof model_constants},
#endif
    [MODEL_ARENA_REGION] = {model_arena, sizeof model_arena},
#if MODEL_CACHE_BYTES > 0
    [MODEL_CACHE_REGION] = {model_cache, sizeof model_cache},
#endif
};

const struct model_port model_inputs[MODEL_INPUTS] = {
#include "data/inputs.inc"
};

const struct model_port model_outputs[MODEL_OUTPUTS] = {
#include "data/outputs.inc"
};
