// Stand-in: sycl.hpp says what for. A project includes it last, before its weights, which are `constexpr`; the open
// Algorithmic C types, unlike Intel's, are no literal types, so that these can only be `const`.
#include <sycl/sycl.hpp>
#define constexpr const
