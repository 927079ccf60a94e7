/* Reads network.txt: the buffers, the steps in their order, the inputs and outputs. */
#include "host.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, MOST_ARGUMENTS = 1024 };

void fail(int status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("error: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(status);
}

static void *allocate(size_t count, size_t size) {
  void *memory = calloc(count ? count : 1, size);
  if (!memory) fail(BAD_INPUT, "no memory for %zu bytes", count * size);
  return memory;
}

char *read_file(const char *directory, const char *name, size_t *bytes) {
  char path[4096];
  snprintf(path, sizeof path, "%s%s%s", directory, *directory ? "/" : "", name);
  FILE *file = fopen(path, "rb");
  if (!file) fail(BAD_INPUT, "%s: cannot be read", path);
  fseek(file, 0, SEEK_END);
  const long size = ftell(file);
  rewind(file);
  char *data = size < 0 ? NULL : allocate((size_t)size + 1, 1); /* ends in 0: texts are read as strings */
  if (!data || fread(data, 1, (size_t)size, file) != (size_t)size) fail(BAD_INPUT, "%s: cannot be read", path);
  fclose(file);
  *bytes = (size_t)size;
  return data;
}

static int read_int(FILE *file, const char *what) {
  int value;
  if (fscanf(file, "%d", &value) != 1) fail(BAD_INPUT, "network.txt: no number where %s is expected", what);
  return value;
}

static int read_count(FILE *file, const char *word) {
  char found[32];
  if (fscanf(file, "%31s", found) != 1 || strcmp(found, word)) fail(BAD_INPUT, "network.txt: no %s", word);
  const int count = read_int(file, word);
  if (count < 0 || count > 1 << 20) fail(BAD_INPUT, "network.txt: %d %s", count, word);
  return count;
}

static int read_buffer(FILE *file, const network_t *network) {
  const int index = read_int(file, "a buffer");
  if (index < 0 || index >= network->buffers) fail(BAD_INPUT, "network.txt: there is no buffer %d", index);
  return index;
}

static int *read_ports(FILE *file, const network_t *network, const char *word, int *count, size_t *bytes) {
  *count = read_count(file, word);
  int *ports = allocate((size_t)*count, sizeof *ports);
  for (int i = 0; i < *count; i++) {
    ports[i] = read_buffer(file, network);
    *bytes += network->buffer[ports[i]].bytes;
  }
  return ports;
}

/* CRC-32, as zip and PNG have it. */
static unsigned long crc32(const char *data, size_t bytes) {
  unsigned long crc = 0xFFFFFFFFul;
  for (size_t i = 0; i < bytes; i++) {
    crc ^= (unsigned char)data[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320ul : 0);
  }
  return crc ^ 0xFFFFFFFFul;
}

/* The last line, `checksum HEX`, is of all that is before it: a kernel would write beyond a buffer that is too small. */
static void check_sum(const char *directory) {
  size_t bytes;
  char *text = read_file(directory, "network.txt", &bytes);
  size_t line = bytes ? bytes - 1 : 0;
  while (line && text[line - 1] != '\n') line--;
  char told[17] = "";
  if (sscanf(text + line, "checksum %16s", told) != 1) fail(BAD_INPUT, "network.txt: no checksum at its end");
  if (strcmp(told, "none")) {
    char found[17];
    snprintf(found, sizeof found, "%08lx", crc32(text, line));
    if (strcmp(told, found))
      fail(BAD_INPUT, "network.txt: its checksum is %s, not %s: damaged; where it was changed on purpose: checksum none",
           found, told);
  }
  free(text);
}

network_t read_network(const char *directory) {
  char path[4096];
  snprintf(path, sizeof path, "%s/network.txt", directory);
  FILE *file = fopen(path, "r");
  if (!file) fail(BAD_INPUT, "%s: cannot be read", path);
  if (read_count(file, "codesign-opencl") != VERSION) fail(BAD_INPUT, "network.txt: not of version %d", VERSION);
  check_sum(directory);
  network_t network = {0};
  network.buffers = read_count(file, "buffers");
  network.buffer = allocate((size_t)network.buffers, sizeof *network.buffer);
  for (int i = 0; i < network.buffers; i++) {
    buffer_t *b = &network.buffer[i];
    if (fscanf(file, "%255s %c %zu %zu %zu %ld", b->name, &b->kind, &b->bytes, &b->offset, &b->element, &b->fill) != 6)
      fail(BAD_INPUT, "network.txt: buffer %d is damaged", i);
    if (!b->bytes || !b->element || b->element > sizeof b->fill)
      fail(BAD_INPUT, "network.txt: buffer %s has %zu bytes, elements of %zu", b->name, b->bytes, b->element);
  }
  network.steps = read_count(file, "steps");
  network.step = allocate((size_t)network.steps, sizeof *network.step);
  for (int i = 0; i < network.steps; i++) {
    step_t *s = &network.step[i];
    if (fscanf(file, "%63s %zu %zu %zu %zu %zu %zu", s->name, &s->items[0], &s->items[1], &s->items[2], &s->local[0],
               &s->local[1], &s->local[2]) != 7)
      fail(BAD_INPUT, "network.txt: step %d is damaged", i);
    s->arguments = read_int(file, "the number of arguments");
    if (s->arguments < 1 || s->arguments > MOST_ARGUMENTS)
      fail(BAD_INPUT, "network.txt: step %d has %d arguments", i, s->arguments);
    s->argument = allocate((size_t)s->arguments, sizeof *s->argument);
    for (int a = 0; a < s->arguments; a++) s->argument[a] = read_buffer(file, &network);
  }
  network.input = read_ports(file, &network, "inputs", &network.inputs, &network.input_bytes);
  network.output = read_ports(file, &network, "outputs", &network.outputs, &network.output_bytes);
  fclose(file);
  return network;
}
