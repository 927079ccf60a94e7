/* Runs compiled kernels over memory images: the program that tests/arm_kernels.py links with them.

   stdin, or the file that it is given: 32-bit words: number of buffers; of each its bytes, then its content;
           number of calls; of each kernel, steps, arguments, and of each argument buffer and byte offset;
           number of results, and the buffer of each
   stdout  the results' buffers
   The kernels are the rows of `kernels`, a table that is generated. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_ARGUMENTS = 24, LINE = 64 };
typedef void Called(int32_t, int32_t, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *,
                    void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *,
                    void *, void *);
extern void (*const kernels[])(void);

static uint32_t word(void) {
  uint32_t value;
  if (fread(&value, sizeof value, 1, stdin) != 1) exit(2);
  return value;
}

int main(int argc, char **argv) {
  if (argc > 1 && !freopen(argv[1], "rb", stdin)) return 1;
  const uint32_t count = word();
  uint8_t **memory = calloc(count, sizeof *memory);
  uint32_t *bytes = calloc(count, sizeof *bytes);
  for (uint32_t i = 0; i < count; i++) {
    bytes[i] = word();
    memory[i] = aligned_alloc(LINE, (bytes[i] / LINE + 1) * LINE);
    if (fread(memory[i], 1, bytes[i], stdin) != bytes[i]) return 2;
  }
  for (uint32_t calls = word(); calls; calls--) {
    const uint32_t kernel = word(), steps = word(), arguments = word();
    void *a[MOST_ARGUMENTS] = {0};
    if (arguments > MOST_ARGUMENTS) return 3;
    for (uint32_t i = 0; i < arguments; i++) {
      const uint32_t buffer = word();
      a[i] = memory[buffer] + word();
    }
    ((Called *)kernels[kernel])(0, (int32_t)steps, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10],
                                a[11], a[12], a[13], a[14], a[15], a[16], a[17], a[18], a[19], a[20], a[21], a[22],
                                a[23]);
  }
  for (uint32_t results = word(); results; results--) {
    const uint32_t buffer = word();
    if (fwrite(memory[buffer], 1, bytes[buffer], stdout) != bytes[buffer]) return 4;
  }
  return 0;
}
