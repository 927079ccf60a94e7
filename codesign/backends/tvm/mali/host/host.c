/* Runs a network on an OpenCL 1.2 device, frame by frame.
 *
 *   host [options] DIRECTORY INPUTS OUTPUTS
 *     DIRECTORY      network.txt, kernels.cl, constants.bin
 *     INPUTS         the inputs of all frames: frame after frame, port after port
 *     OUTPUTS        written: the outputs, in the same order
 *   -e EXPECTED      compare the outputs with this file
 *   -a TENSORS       write every tensor of every frame (with its border), in the order of network.txt
 *   -g ITEMS         no work-group of more than so many work-items: then the device chooses its size
 *   -n REPEATS       run every frame so often, and print the time of each kernel (the first run does not count)
 *
 * Exit status: 0 all done; 1 outputs differ from EXPECTED; 2 bad usage or a bad file; 3 OpenCL failed.
 */
#include "host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cl_device_id device;
static cl_context context;
static cl_command_queue queue;

static void check(cl_int status, const char *what, const char *name) {
  if (status != CL_SUCCESS) fail(OPENCL_FAILED, "OpenCL: %s %s gives %d", what, name, status);
}

static void open_device(int profile) {
  enum { MOST = 8 };
  cl_platform_id platforms[MOST];
  cl_uint count = 0;
  if (clGetPlatformIDs(MOST, platforms, &count) != CL_SUCCESS || !count)
    fail(OPENCL_FAILED, "OpenCL: there is no platform; install the driver of the device, or pocl-opencl-icd");
  const cl_device_type types[] = {CL_DEVICE_TYPE_GPU, CL_DEVICE_TYPE_ALL};
  for (int t = 0; t < 2 && !device; t++)
    for (cl_uint p = 0; p < count && p < MOST && !device; p++)
      if (clGetDeviceIDs(platforms[p], types[t], 1, &device, NULL) != CL_SUCCESS) device = NULL;
  if (!device) fail(OPENCL_FAILED, "OpenCL: there is no device");
  char name[256] = "", version[256] = "";
  clGetDeviceInfo(device, CL_DEVICE_NAME, sizeof name - 1, name, NULL);
  clGetDeviceInfo(device, CL_DEVICE_VERSION, sizeof version - 1, version, NULL);
  printf("device %s, %s\n", name, version);
  cl_int status;
  context = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
  check(status, "clCreateContext", name);
  queue = clCreateCommandQueue(context, device, profile ? CL_QUEUE_PROFILING_ENABLE : 0, &status);
  check(status, "clCreateCommandQueue", name);
}

/* Registers may leave a kernel fewer work-items at once than its groups have: then the device chooses their size. */
static void limit_groups(step_t *s, size_t most) {
  size_t allowed = 0;
  check(clGetKernelWorkGroupInfo(s->kernel, device, CL_KERNEL_WORK_GROUP_SIZE, sizeof allowed, &allowed, NULL),
        "clGetKernelWorkGroupInfo", s->name);
  s->free_groups = s->local[0] * s->local[1] * s->local[2] > (most && most < allowed ? most : allowed);
  if (s->free_groups && !most) printf("kernel %s: groups of %zu at most\n", s->name, allowed);
}

static void build(network_t *network, const char *directory, size_t most) {
  size_t bytes;
  char *source = read_file(directory, "kernels.cl", &bytes);
  cl_int status;
  cl_program program = clCreateProgramWithSource(context, 1, (const char **)&source, &bytes, &status);
  check(status, "clCreateProgramWithSource", "kernels.cl");
  status = clBuildProgram(program, 1, &device, "-cl-std=CL1.2", NULL, NULL);
  if (status != CL_SUCCESS) {
    static char log[1 << 14];
    clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, sizeof log - 1, log, NULL);
    fail(OPENCL_FAILED, "OpenCL: clBuildProgram kernels.cl gives %d\n%s", status, log);
  }
  free(source);
  for (int i = 0; i < network->steps; i++) {
    step_t *s = &network->step[i];
    s->kernel = clCreateKernel(program, s->name, &status);
    check(status, "clCreateKernel", s->name);
    for (int a = 0; a < s->arguments; a++)
      check(clSetKernelArg(s->kernel, (cl_uint)a, sizeof(cl_mem), &network->buffer[s->argument[a]].memory),
            "clSetKernelArg", s->name);
    limit_groups(s, most);
  }
}

enum { TAIL = 16 }; /* bytes behind a tensor that a vector load may touch; what they hold does not matter */

/* Constants hold their values, all other memory what the borders of its tensor hold. */
static void create_buffers(network_t *network, const char *directory) {
  size_t bytes;
  char *constants = read_file(directory, "constants.bin", &bytes);
  for (int i = 0; i < network->buffers; i++) {
    buffer_t *b = &network->buffer[i];
    const int constant = b->kind == 'c';
    if (constant && b->offset + b->bytes > bytes) fail(BAD_INPUT, "constants.bin: ends before %s", b->name);
    cl_int status;
    b->memory = clCreateBuffer(context, constant ? CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR : CL_MEM_READ_WRITE,
                               b->bytes + (constant ? 0 : TAIL), constant ? constants + b->offset : NULL, &status);
    check(status, "clCreateBuffer", b->name);
    if (!constant)
      check(clEnqueueFillBuffer(queue, b->memory, &b->fill, b->element, 0, b->bytes / b->element * b->element, 0, NULL,
                                NULL),
            "clEnqueueFillBuffer", b->name); /* the first bytes of `fill`: every OpenCL host of Arm's is little-endian */
  }
  check(clFinish(queue), "clFinish", "");
  free(constants);
}

static void run(network_t *network, int profile) {
  for (int i = 0; i < network->steps; i++) {
    step_t *s = &network->step[i];
    cl_event event;
    check(clEnqueueNDRangeKernel(queue, s->kernel, 3, NULL, s->items, s->free_groups ? NULL : s->local, 0, NULL,
                                 profile ? &event : NULL),
          "clEnqueueNDRangeKernel", s->name);
    if (!profile) continue;
    cl_ulong begin = 0, end = 0;
    check(clWaitForEvents(1, &event), "clWaitForEvents", s->name);
    clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof begin, &begin, NULL);
    clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL);
    clReleaseEvent(event);
    s->nanoseconds += (double)(end - begin);
  }
  check(clFinish(queue), "clFinish", "");
}

static void read_buffer(const buffer_t *b, char *to) {
  check(clEnqueueReadBuffer(queue, b->memory, CL_TRUE, 0, b->bytes, to, 0, NULL, NULL), "clEnqueueReadBuffer", b->name);
}

static void write_tensors(const network_t *network, FILE *file) {
  for (int i = 0; i < network->buffers; i++) {
    const buffer_t *b = &network->buffer[i];
    if (b->kind == 'c') continue;
    char *data = malloc(b->bytes);
    if (!data) fail(BAD_INPUT, "no memory for %s", b->name);
    read_buffer(b, data);
    if (fwrite(data, 1, b->bytes, file) != b->bytes) fail(BAD_INPUT, "the file of tensors cannot be written");
    free(data);
  }
}

static FILE *create(const char *path) {
  FILE *file = fopen(path, "wb");
  if (!file) fail(BAD_INPUT, "%s: cannot be written", path);
  return file;
}

static void report(const network_t *network, size_t runs) {
  double total = 0;
  for (int i = 0; i < network->steps; i++) {
    const step_t *s = &network->step[i];
    printf("kernel %s %s %.0f ns\n", s->name, network->buffer[s->argument[s->arguments - 1]].name,
           s->nanoseconds / (double)runs);
    total += s->nanoseconds / (double)runs;
  }
  printf("all kernels %.0f ns\n", total);
}

int main(int argc, char **argv) {
  const char *expected_path = NULL, *tensors_path = NULL, *paths[3] = {0};
  int count = 0, repeats = 0;
  size_t most = 0;
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] == '-' && argv[i][1] && !argv[i][2] && i + 1 < argc) {
      const char option = argv[i++][1];
      if (option == 'e') expected_path = argv[i];
      else if (option == 'a') tensors_path = argv[i];
      else if (option == 'g') most = strtoul(argv[i], NULL, 10);
      else if (option == 'n') repeats = atoi(argv[i]);
      else fail(BAD_INPUT, "there is no option -%c; allowed: -e EXPECTED, -a TENSORS, -g ITEMS, -n REPEATS", option);
    } else if (count < 3) {
      paths[count++] = argv[i];
    } else {
      fail(BAD_INPUT, "too many arguments");
    }
  }
  if (count < 3) fail(BAD_INPUT, "usage: %s [options] DIRECTORY INPUTS OUTPUTS", argv[0]);

  network_t network = read_network(paths[0]);
  size_t bytes, expected_bytes = 0, differing = 0;
  char *inputs = read_file("", paths[1], &bytes);
  if (bytes % network.input_bytes)
    fail(BAD_INPUT, "%s: %zu bytes; allowed: a multiple of %zu, the inputs of a frame", paths[1], bytes, network.input_bytes);
  const size_t frames = bytes / network.input_bytes;
  char *expected = expected_path ? read_file("", expected_path, &expected_bytes) : NULL;
  if (expected && expected_bytes != frames * network.output_bytes)
    fail(BAD_INPUT, "%s: %zu bytes; allowed: %zu, the outputs of %zu frames", expected_path, expected_bytes,
         frames * network.output_bytes, frames);

  open_device(repeats > 0);
  create_buffers(&network, paths[0]);
  build(&network, paths[0], most);
  FILE *outputs = create(paths[2]), *tensors = tensors_path ? create(tensors_path) : NULL;
  char *result = malloc(network.output_bytes + 1);
  if (!result) fail(BAD_INPUT, "no memory for the outputs");
  const char *from = inputs;
  for (size_t frame = 0; frame < frames; frame++) {
    for (int i = 0; i < network.inputs; i++) {
      const buffer_t *b = &network.buffer[network.input[i]];
      check(clEnqueueWriteBuffer(queue, b->memory, CL_TRUE, 0, b->bytes, from, 0, NULL, NULL), "clEnqueueWriteBuffer",
            b->name);
      from += b->bytes;
    }
    run(&network, 0);
    for (int r = 0; r < repeats; r++) run(&network, 1);
    char *to = result;
    for (int i = 0; i < network.outputs; i++) {
      read_buffer(&network.buffer[network.output[i]], to);
      to += network.buffer[network.output[i]].bytes;
    }
    if (fwrite(result, 1, network.output_bytes, outputs) != network.output_bytes)
      fail(BAD_INPUT, "%s: cannot be written", paths[2]);
    for (size_t i = 0; expected && i < network.output_bytes; i++)
      differing += result[i] != expected[frame * network.output_bytes + i];
    if (tensors) write_tensors(&network, tensors);
  }
  if (fclose(outputs) || (tensors && fclose(tensors))) fail(BAD_INPUT, "%s: cannot be written", paths[2]);
  if (repeats > 0 && frames) report(&network, frames * (size_t)repeats);
  printf("%zu frames\n", frames);
  if (expected) printf("%zu of %zu bytes differ\n", differing, expected_bytes);
  return differing ? MISMATCH : 0;
}
