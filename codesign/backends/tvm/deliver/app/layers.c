/* Names for profiling, apart from what computes: a linker leaves them out where nobody asks for them. */
#include <stddef.h>

#include "network.h"

#define LAYER(name, kernel) {name, kernel},
static const struct {
    const char *name, *kernel;
} layers[] = {
#include "tables/layers.inc"
};

const char *network_layer_name(int layer)
{
    return layer >= 0 && layer < NETWORK_LAYERS ? layers[layer].name : NULL;
}

const char *network_layer_kernel(int layer)
{
    return layer >= 0 && layer < NETWORK_LAYERS ? layers[layer].kernel : NULL;
}
