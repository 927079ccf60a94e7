/* How much stack a function needs. */
#ifndef STACK_H
#define STACK_H

#include <stddef.h>

/* Bytes of stack that `run` writes to, from its call on, in a thread whose stack holds a pattern before. */
size_t stack_used(void (*run)(void));

#endif
