/* A network as a list of kernel calls, for timing without an interpreter in between. */
#include <stdint.h>
#include <string.h>

#define ARGUMENTS 24

/* kernel 0: fill the border of an image. arguments: memory; sizes: rows, row bytes, above, left bytes, below,
   right bytes, the byte. */
struct step {
    void *kernel;
    int32_t begin, end;
    int32_t sizes[8];
    void *arguments[ARGUMENTS];
};

static void fill_border(uint8_t *image, const int32_t *sizes)
{
    const int32_t rows = sizes[0], row = sizes[1], above = sizes[2], left = sizes[3], below = sizes[4], right = sizes[5];
    memset(image, sizes[6], (size_t)above * row);
    for (int32_t y = above; y < rows - below; y++) {
        memset(image + (size_t)y * row, sizes[6], left);
        memset(image + (size_t)(y + 1) * row - right, sizes[6], right);
    }
    memset(image + (size_t)(rows - below) * row, sizes[6], (size_t)below * row);
}

/* Kernels take int32 and pointers alone: the fixed prototype with the most of them passes what each one takes. */
typedef void widest_t(int32_t, int32_t, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *,
                      void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *,
                      void *, void *);

void run_steps(const struct step *steps, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        const struct step *s = &steps[i];
        void *const *a = s->arguments;
        if (!s->kernel)
            fill_border(a[0], s->sizes);
        else
            ((widest_t *)s->kernel)(s->begin, s->end, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10],
                                    a[11], a[12], a[13], a[14], a[15], a[16], a[17], a[18], a[19], a[20], a[21], a[22],
                                    a[23]);
    }
}
