#include "golden.h"

/* Read by the CPU alone: any memory will do, and the vectors of a large image need a large one. */
#ifndef GOLDEN_PLACE
#define GOLDEN_PLACE __attribute__((section(".golden")))
#endif

GOLDEN_PLACE const uint8_t golden_inputs[GOLDEN_VECTORS][MODEL_INPUT_BYTES] = {
#include "data/golden_inputs.inc"
};

GOLDEN_PLACE const uint8_t golden_outputs[GOLDEN_VECTORS][MODEL_OUTPUT_BYTES] = {
#include "data/golden_outputs.inc"
};
