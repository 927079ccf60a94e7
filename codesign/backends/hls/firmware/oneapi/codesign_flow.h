// What the integer layers need of Intel's oneAPI compiler: integers of any width. Arrays are objects: codesign_arrays.h.
#ifndef CODESIGN_FLOW_H_
#define CODESIGN_FLOW_H_

#include <sycl/ext/intel/ac_types/ac_int.hpp>

#define CODESIGN_ARRAYS

namespace nnet {

template <int bits> using signed_integer = ac_int<bits, true>;

// Streams are types there, not objects: io_stream is not offered, and this is never instantiated.
template <class T> class channel {
  public:
    T read();
    void write(const T &word);
};

} // namespace nnet

#endif
