/* A function that needs some 100,000 bytes of stack, or next to nothing. */
#include "stack.h"

#include <stdio.h>
#include <string.h>

static volatile unsigned char sink;

static void much(void)
{
    volatile unsigned char room[100000];
    for (size_t i = 0; i < sizeof room; i++)
        room[i] = (unsigned char)i;
    sink = room[5];
}

static void little(void)
{
    sink = 1;
}

int main(void)
{
    printf("%zu %zu\n", stack_used(much), stack_used(little));
    return 0;
}
