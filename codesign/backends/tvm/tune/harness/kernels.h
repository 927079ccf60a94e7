/* The kernels that a harness is linked with: the table that is made for each one names them. */
#ifndef CODESIGN_KERNELS_H
#define CODESIGN_KERNELS_H

typedef void (*routine)(void); /* cast to its own signature before it is called */

extern const routine kernels[];
extern const int kernel_count;

#endif
