// Stand-in for the SYCL headers of Intel's compiler, as far as an hls4ml project with io_parallel needs them, so that g++
// can compile it: pipes as queues, properties as empty types. Attributes of Intel's compiler are ignored by g++.
#ifndef CODESIGN_SYCL_H_
#define CODESIGN_SYCL_H_

#include <deque>

#define SYCL_EXTERNAL

namespace sycl {

class queue;

namespace ext {
namespace oneapi {
namespace experimental {

struct properties_tag {};
template <class... property_T> struct properties {
    constexpr properties(property_T...) {}
};

} // namespace experimental
} // namespace oneapi

namespace intel {
namespace experimental {

template <int> struct property {};
template <int cycles> inline constexpr property<cycles> ready_latency{};
template <int option = 0> inline constexpr property<option> streaming_interface{};
template <int option = 0> inline constexpr property<option> pipelined{};

template <class name_T, class data_T, int capacity = 0, class properties_T = oneapi::experimental::properties<>>
class pipe {
    static std::deque<data_T> &words() {
        static std::deque<data_T> held;
        return held;
    }

  public:
    static void write(const data_T &word) { words().push_back(word); }
    static data_T read() {
        const data_T word = words().front();
        words().pop_front();
        return word;
    }
};

template <auto &function> class task_sequence;

} // namespace experimental
} // namespace intel
} // namespace ext
} // namespace sycl

#endif
