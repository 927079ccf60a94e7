/* The network's layers, one after the other: a walk along a table of kernels and what they are called with. */
#include "network.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernel.h"

enum space { ARENA, CONSTANT, INPUT, OUTPUT };

struct argument {
    uint8_t space;
    uint16_t index; /* of the input or output */
    int64_t offset; /* bytes from the beginning of that memory */
};

struct step {
    kernel *function;
    int32_t steps;
    int32_t first_argument;
    int32_t arguments;
    int32_t split; /* whether its work is worth sharing between threads */
    int32_t fill;  /* the border that is filled before the kernel writes the image inside it; -1: none */
};

/* The border of an image in the arena: elements before the first row, between two rows, and after the last row. */
struct fill {
    int64_t offset; /* bytes */
    int32_t itemsize;
    int32_t value;
    int64_t before, row, between, after; /* elements */
    int32_t rows;
};

#define STEP(function, steps, first, arguments, split, fill) extern kernel function;
#include "tables/steps.inc"
#undef STEP

#define STEP(function, steps, first, arguments, split, fill) {function, steps, first, arguments, split, fill},
static const struct step steps[] = {
#include "tables/steps.inc"
};

static const struct argument arguments[] = {
#include "tables/arguments.inc"
};

static const struct fill fills[] = {
#include "tables/fills.inc"
    {0, 1, 0, 0, 0, 0, 0, 0}, /* C has no empty arrays */
};

static const uint8_t input_itemsize[] = {NETWORK_INPUT_ITEMSIZES};
static const uint8_t output_itemsize[] = {NETWORK_OUTPUT_ITEMSIZES};

extern const unsigned char network_constants[] __attribute__((visibility("hidden")));

static void *address_of(const struct argument *a, const void *const inputs[], void *const outputs[], void *arena)
{
    switch (a->space) {
    case CONSTANT:
        return (unsigned char *)(uintptr_t)network_constants + a->offset; /* kernels do not write to it */
    case INPUT:
        return (unsigned char *)(uintptr_t)inputs[a->index] + a->offset; /* nor to this */
    case OUTPUT:
        return (unsigned char *)outputs[a->index] + a->offset;
    default:
        return (unsigned char *)arena + a->offset;
    }
}

static unsigned char *fill_elements(unsigned char *to, int64_t count, const struct fill *fill)
{
    if (fill->itemsize == 1) {
        memset(to, fill->value, (size_t)count);
    } else if (fill->itemsize == 2) {
        int16_t *element = (int16_t *)(void *)to;
        for (int64_t i = 0; i < count; i++)
            element[i] = (int16_t)fill->value;
    } else {
        int32_t *element = (int32_t *)(void *)to;
        for (int64_t i = 0; i < count; i++)
            element[i] = fill->value;
    }
    return to + count * fill->itemsize;
}

static void fill_border(const struct fill *fill, unsigned char *arena)
{
    unsigned char *to = fill_elements(arena + fill->offset, fill->before, fill);
    for (int32_t y = 0; y < fill->rows; y++) {
        to += fill->row * fill->itemsize;
        to = fill_elements(to, y + 1 < fill->rows ? fill->between : fill->after, fill);
    }
}

static void run_step(const struct step *step, const void *const inputs[], void *const outputs[], void *arena)
{
    void *pointers[MOST_ARGUMENTS];
    if (step->fill >= 0)
        fill_border(&fills[step->fill], arena);
    for (int32_t i = 0; i < step->arguments; i++)
        pointers[i] = address_of(&arguments[step->first_argument + i], inputs, outputs, arena);
#ifdef THREADED
    if (step->split) {
        network_call_parallel(step->function, step->steps, pointers, step->arguments);
        return;
    }
#endif
    network_call(step->function, 0, step->steps, pointers, step->arguments);
}

static int check(const void *tensor, uintptr_t alignment)
{
    if (tensor == NULL)
        return NETWORK_NULL;
    return (uintptr_t)tensor % alignment ? NETWORK_ALIGNMENT : NETWORK_OK;
}

int network_run_layers(int first, int last, const void *const inputs[], void *const outputs[], void *arena)
{
    int status = inputs == NULL || outputs == NULL ? NETWORK_NULL : check(arena, NETWORK_ARENA_ALIGNMENT);
    if (first < 0 || last < first || last > NETWORK_LAYERS)
        return NETWORK_RANGE;
    for (int i = 0; i < NETWORK_INPUTS && status == NETWORK_OK; i++)
        status = check(inputs[i], input_itemsize[i]);
    for (int i = 0; i < NETWORK_OUTPUTS && status == NETWORK_OK; i++)
        status = check(outputs[i], output_itemsize[i]);
    if (status != NETWORK_OK)
        return status;
    for (int i = first; i < last; i++)
        run_step(&steps[i], inputs, outputs, arena);
    return NETWORK_OK;
}

int network_run(const void *const inputs[], void *const outputs[], void *arena)
{
    return network_run_layers(0, NETWORK_LAYERS, inputs, outputs, arena);
}

#ifndef THREADED
int network_set_threads(int threads)
{
    (void)threads;
    return 1;
}
#endif
