// What the integer layers need of Catapult: integers of any width, and streams.
#ifndef CODESIGN_FLOW_H_
#define CODESIGN_FLOW_H_

#include "ac_channel.h"
#include "ac_int.h"

namespace nnet {

template <int bits> using signed_integer = ac_int<bits, true>;
template <class T> using channel = ac_channel<T>;

} // namespace nnet

#endif
