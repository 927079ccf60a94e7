#include "stack.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STACK_BYTES ((size_t)16 << 20)
#define PATTERN 0xa5

struct job {
    void (*run)(void);
    const unsigned char *stack;
    size_t used;
};

/* Looks at the stack before the thread ends, which needs some, too. */
static void *call(void *argument)
{
    struct job *job = argument;
    volatile unsigned char here = 0;
    job->run();
    size_t untouched = 0;
    while (job->stack[untouched] == PATTERN)
        untouched++;
    job->used = (size_t)((uintptr_t)&here - (uintptr_t)(job->stack + untouched));
    return NULL;
}

size_t stack_used(void (*run)(void))
{
    struct job job = {run, aligned_alloc(4096, STACK_BYTES), 0};
    pthread_attr_t attributes;
    pthread_t thread;
    if (job.stack == NULL || pthread_attr_init(&attributes) != 0) {
        fprintf(stderr, "no memory for a stack\n");
        exit(2);
    }
    memset((void *)(uintptr_t)job.stack, PATTERN, STACK_BYTES);
    if (pthread_attr_setstack(&attributes, (void *)(uintptr_t)job.stack, STACK_BYTES) != 0 ||
        pthread_create(&thread, &attributes, call, &job) != 0 || pthread_join(thread, NULL) != 0) {
        fprintf(stderr, "no thread with a stack of its own\n");
        exit(2);
    }
    free((void *)(uintptr_t)job.stack);
    return job.used;
}
