/* All that the static library may ask of a system without a C library: linking it with this alone proves it. */
#include <stddef.h>

void *memset(void *to, int value, size_t count)
{
    unsigned char *byte = to;
    for (size_t i = 0; i < count; i++)
        byte[i] = (unsigned char)value;
    return to;
}

void *memmove(void *to, const void *from, size_t count)
{
    unsigned char *target = to;
    const unsigned char *source = from;
    if (target < source) {
        for (size_t i = 0; i < count; i++)
            target[i] = source[i];
    } else {
        for (size_t i = count; i > 0; i--)
            target[i - 1] = source[i - 1];
    }
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    return memmove(to, from, count);
}
