#include "flatbuffer.h"

#ifndef FLATBUFFER_PLACE
#define FLATBUFFER_PLACE __attribute__((aligned(16)))
#endif

FLATBUFFER_PLACE const uint32_t model_flatbuffer[(MODEL_FLATBUFFER_BYTES + 3) / 4] = {
#include "data/flatbuffer.inc"
};
