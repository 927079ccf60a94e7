/* Inputs with the outputs that belong to them: the golden integer evaluation of the model, as the NPU stores tensors.
 *
 * Of every vector all inputs one after the other in the order of model_inputs, and all outputs likewise.
 */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <stdint.h>

#include "data/model_sizes.h"

extern const uint8_t golden_inputs[GOLDEN_VECTORS][MODEL_INPUT_BYTES];
extern const uint8_t golden_outputs[GOLDEN_VECTORS][MODEL_OUTPUT_BYTES];

#endif
