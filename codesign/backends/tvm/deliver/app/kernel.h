/* How a kernel is called. */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdint.h>

#define MOST_ARGUMENTS 24

/* A kernel is `void name(int32_t begin, int32_t end, void *argument...)` and runs the steps begin ... end - 1 of its
 * outermost loop. The tables hold all of them under one type, which network_call turns into that of the right length. */
typedef void kernel(void);

void network_call(kernel *function, int32_t begin, int32_t end, void *const *arguments, int count);

/* All steps of a kernel, by all threads; returns when the last is done. */
void network_call_parallel(kernel *function, int32_t steps, void *const *arguments, int count);

#endif
