/* The platform of a test on the machine that compiles: there is no cache to see to, and the end of the program is exit. */
#include "port.h"

#include <stdio.h>
#include <stdlib.h>

extern volatile int32_t selftest_result;

void port_enable_npu_interrupt(void)
{
}

void port_clean_cache(const void *start, size_t bytes)
{
    (void)start;
    (void)bytes;
}

void port_invalidate_cache(void *start, size_t bytes)
{
    (void)start;
    (void)bytes;
}

void port_exit(int status, const char *text)
{
    printf("%d %s", (int)selftest_result, text);
    exit(status);
}
