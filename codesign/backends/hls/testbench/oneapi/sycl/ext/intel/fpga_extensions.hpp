// Stand-in: sycl.hpp beside it says what for.
#include <sycl/sycl.hpp>
