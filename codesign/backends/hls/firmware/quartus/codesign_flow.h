// What the integer layers need of the Intel HLS compiler, and of g++ in its place: integers of any width, and streams.
#ifndef CODESIGN_FLOW_H_
#define CODESIGN_FLOW_H_

#include "nnet_common.h"
#include "nnet_types.h"

namespace nnet {

template <int bits> using signed_integer = ac_int<bits, true>;
template <class T> using channel = stream<T>;

} // namespace nnet

#endif
