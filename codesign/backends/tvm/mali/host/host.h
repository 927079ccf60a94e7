/* What network.txt describes, and the parts of the host program. Errors end the program with a sentence. */
#ifndef CODESIGN_HOST_H
#define CODESIGN_HOST_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <stddef.h>

enum { MISMATCH = 1, BAD_INPUT = 2, OPENCL_FAILED = 3 };

typedef struct {
  char name[256];
  char kind; /* i: input, o: output, t: tensor, c: constant */
  size_t bytes, offset, element;
  long fill;
  cl_mem memory;
} buffer_t;

typedef struct {
  char name[64];
  size_t items[3], local[3];
  int arguments;
  int *argument;
  int free_groups; /* the device chooses the size of its groups */
  cl_kernel kernel;
  double nanoseconds;
} step_t;

typedef struct {
  int buffers, steps, inputs, outputs;
  buffer_t *buffer;
  step_t *step;
  int *input, *output;
  size_t input_bytes, output_bytes; /* of one frame */
} network_t;

void fail(int status, const char *format, ...);
char *read_file(const char *directory, const char *name, size_t *bytes);
network_t read_network(const char *directory);

#endif
