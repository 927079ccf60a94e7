// What the integer layers need of Vivado HLS and Vitis HLS: integers of any width, and streams.
#ifndef CODESIGN_FLOW_H_
#define CODESIGN_FLOW_H_

#include "ap_int.h"
#include "hls_stream.h"

namespace nnet {

template <int bits> using signed_integer = ap_int<bits>;
template <class T> using channel = hls::stream<T>;

} // namespace nnet

#endif
