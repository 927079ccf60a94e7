/* The compiled model for TensorFlow Lite Micro. */
#ifndef FLATBUFFER_H
#define FLATBUFFER_H

#include <stdint.h>

#include "data/model_sizes.h"

/* MODEL_FLATBUFFER_BYTES bytes; the last word is filled with zeros. */
extern const uint32_t model_flatbuffer[(MODEL_FLATBUFFER_BYTES + 3) / 4];

#endif
