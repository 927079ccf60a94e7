// Included before the generated code: bit counts by the processor's own instruction. Verilator's arithmetic version takes
// half of the time of a bipolar or bit-plane network, whose dot products are nothing but bit counts.
#pragma once
#include "verilated.h"

inline IData cs_popcount_words(int words, WDataInP data) {
  IData count = 0;
  for (int i = 0; i < words; ++i) count += IData(__builtin_popcount(data[i]));
  return count;
}

#define VL_COUNTONES_I(value) IData(__builtin_popcount(value))
#define VL_COUNTONES_Q(value) IData(__builtin_popcountll(value))
#define VL_COUNTONES_W(words, data) cs_popcount_words(words, data)
