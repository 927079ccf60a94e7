#include "selftest.h"

#include "golden.h"
#include "model.h"
#include "port.h"

/* What the arena holds before a run: outputs of the run before must not be taken for those of this one. */
#define STALE 0xa5

static void load(const uint8_t *vector)
{
    for (uint32_t i = 0; i < sizeof model_arena; i++)
        model_arena[i] = STALE;
    for (uint32_t port = 0; port < MODEL_INPUTS; port++)
        for (uint32_t i = 0; i < model_inputs[port].bytes; i++)
            model_arena[model_inputs[port].address + i] = *vector++;
    port_clean_cache(model_arena, sizeof model_arena);
}

static int32_t differences(const uint8_t *golden)
{
    int32_t count = 0;

    port_invalidate_cache(model_arena, sizeof model_arena);
    for (uint32_t port = 0; port < MODEL_OUTPUTS; port++)
        for (uint32_t i = 0; i < model_outputs[port].bytes; i++)
            count += model_arena[model_outputs[port].address + i] != *golden++;
    return count;
}

int32_t selftest(int (*run)(void))
{
    int32_t count = 0;

    for (uint32_t vector = 0; vector < GOLDEN_VECTORS; vector++) {
        load(golden_inputs[vector]);
        if (run() != 0)
            return SELFTEST_RUN_FAILED;
        count += differences(golden_outputs[vector]);
    }
    return count;
}
