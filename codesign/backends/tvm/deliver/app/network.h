/* A quantised neural network in plain C: bit-exact to its golden integer evaluation.
 *
 * What the tensors are, and how large the arena is, says network_ports.h. Nothing here allocates memory, reads files or
 * keeps results from one inference to the next. The static library needs memcpy, memmove and memset, and nothing else;
 * the shared library needs a C library with POSIX threads.
 */
#ifndef NETWORK_H
#define NETWORK_H

#include "network_ports.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    NETWORK_OK = 0,
    NETWORK_NULL = -1,      /* a pointer is NULL */
    NETWORK_ALIGNMENT = -2, /* the arena is not aligned to NETWORK_ARENA_ALIGNMENT, or a tensor not to its element */
    NETWORK_RANGE = -3      /* not 0 <= first <= last <= NETWORK_LAYERS */
};

/* One inference: outputs = network(inputs). Returns NETWORK_OK, or one of the errors above, then nothing was written.
 *
 * inputs   NETWORK_INPUTS pointers, outputs NETWORK_OUTPUTS pointers, to the tensors of network_ports.h, none of which
 *          overlaps another. Inputs are only read; outputs may be written more than once, and read in between.
 *          Values outside an input's range give undefined results.
 * arena    NETWORK_ARENA_BYTES of working memory, aligned to NETWORK_ARENA_ALIGNMENT, whatever it holds
 *
 * Two threads may call it at once with arenas of their own, unless network_set_threads was called with more than 1.
 */
int network_run(const void *const inputs[], void *const outputs[], void *arena);

/* The layers first ... last - 1 of an inference, with the same arguments as the layers before them had: for profiling.
 * network_run is network_run_layers(0, NETWORK_LAYERS, ...). */
int network_run_layers(int first, int last, const void *const inputs[], void *const outputs[], void *arena);

/* Compute with that many threads, the caller's among them; at most 64. They are kept until the next call: 1 ends them.
 * Returns how many there are now. The static library has always 1. Not to be called while network_run runs. */
int network_set_threads(int threads);

/* The user's name of a layer, and the function that computes it: equal layers share one. */
const char *network_layer_name(int layer);
const char *network_layer_kernel(int layer);

#ifdef __cplusplus
}
#endif

#endif
