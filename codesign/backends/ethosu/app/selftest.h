/* The self-test: every golden input through the NPU, every output byte compared. */
#ifndef SELFTEST_H
#define SELFTEST_H

#include <stdint.h>

#define SELFTEST_NPU_MISSING (-1) /* the driver found no NPU */
#define SELFTEST_RUN_FAILED (-2)  /* a run ended with an error; also when the model is for another NPU */

/* The number of output bytes that differ from the golden ones, or SELFTEST_RUN_FAILED.
 *
 * run  executes the command stream on the arena once; 0: done */
int32_t selftest(int (*run)(void));

#endif
