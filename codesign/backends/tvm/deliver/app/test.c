/* Runs the network on frames and says whether every element is the golden evaluation's, or how long it takes.
 *
 *     network_test                            compare the golden frames that are built in; exit status 1: a difference
 *     network_test --inputs A --outputs B     run the frames of file A, write what comes out to file B
 *     network_test --repeat N [--layers]      nanoseconds of N inferences: least and median, of the whole, of each layer
 *     network_test --stack                    bytes of stack that an inference needs
 *     network_test --frames N                 one inference that warms the caches, then N that a simulator counts
 *     ... --threads N                         on so many threads
 *
 * A file holds one frame after the other; of a frame the bytes of all inputs, or of all outputs, one after the other.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "network.h"
#include "stack.h"
#include "tables/golden.h"

#define MOST_SHOWN 10

struct port {
    const char *name;
    size_t bytes;
    int itemsize, is_signed;
};

static const struct port inputs[] = {
#include "tables/inputs.inc"
};
static const struct port outputs[] = {
#include "tables/outputs.inc"
};

extern const unsigned char network_golden[];

static void *in[NETWORK_INPUTS], *out[NETWORK_OUTPUTS], *arena;
static volatile sig_atomic_t current_layer;

static void *memory(size_t bytes)
{
    void *made = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (made == NULL) {
        fprintf(stderr, "no memory for %zu bytes\n", bytes);
        exit(2);
    }
    memset(made, 0xa5, bytes);
    return made;
}

static void check(int status)
{
    if (status != NETWORK_OK) {
        fprintf(stderr, "the network returned %d\n", status);
        exit(2);
    }
}

static void run_layer(int layer)
{
    check(network_run_layers(layer, layer + 1, (const void *const *)in, out, arena));
}

static void run(void)
{
    check(network_run((const void *const *)in, out, arena));
}

/* A processor that lacks an instruction: the layer is known, because the first frame is run layer by layer. */
static void on_illegal_instruction(int number)
{
    int layer = (int)current_layer;
    printf("illegal instruction in layer %d, %s (%s)\n", layer, network_layer_name(layer), network_layer_kernel(layer));
    fflush(stdout);
    signal(number, SIG_DFL);
    raise(number);
}

static void try_layers(void)
{
    signal(SIGILL, on_illegal_instruction);
    for (int layer = 0; layer < NETWORK_LAYERS; layer++) {
        current_layer = layer;
        run_layer(layer);
    }
    signal(SIGILL, SIG_DFL);
}

static int64_t element(const unsigned char *data, size_t i, const struct port *port)
{
    int8_t s8 = 0;
    int16_t s16 = 0;
    int32_t s32 = 0;
    const unsigned char *at = data + i * (size_t)port->itemsize;
    memcpy(&s8, at, 1);
    memcpy(&s16, at, port->itemsize > 1 ? 2 : 0);
    memcpy(&s32, at, port->itemsize > 2 ? 4 : 0);
    if (port->itemsize == 1)
        return port->is_signed ? s8 : (uint8_t)s8;
    if (port->itemsize == 2)
        return port->is_signed ? s16 : (uint16_t)s16;
    return port->is_signed ? s32 : (int64_t)(uint32_t)s32;
}

static const unsigned char *load_frame(const unsigned char *frame)
{
    for (int i = 0; i < NETWORK_INPUTS; i++) {
        memcpy(in[i], frame, inputs[i].bytes);
        frame += inputs[i].bytes;
    }
    return frame;
}

static int compare(void)
{
    unsigned long elements = 0, mismatches = 0;
    const unsigned char *at = network_golden;
    for (int frame = 0; frame < GOLDEN_FRAMES; frame++) {
        at = load_frame(at);
        if (frame == 0)
            try_layers();
        run();
        for (int o = 0; o < NETWORK_OUTPUTS; o++) {
            const struct port *port = &outputs[o];
            for (size_t i = 0; i < port->bytes / (size_t)port->itemsize; i++) {
                int64_t found = element(out[o], i, port), golden = element(at, i, port);
                if (found != golden && mismatches++ < MOST_SHOWN)
                    printf("frame %d, output %s, element %zu: %" PRId64 ", golden %" PRId64 "\n", frame, port->name, i,
                        found, golden);
                elements++;
            }
            at += port->bytes;
        }
    }
    printf("%lu elements of %d frames: %lu mismatches\n", elements, GOLDEN_FRAMES, mismatches);
    return mismatches > 0;
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print_times(int64_t *ns, int count)
{
    qsort(ns, (size_t)count, sizeof *ns, ascending);
    printf(" %" PRId64 " %" PRId64, ns[0], ns[count / 2]);
}

static int time_inferences(int count, int each_layer)
{
    int64_t *ns = memory((size_t)count * sizeof *ns * (NETWORK_LAYERS + 1));
    load_frame(network_golden);
    try_layers();
    for (int i = 0; i < count; i++) {
        int64_t start = now();
        run();
        ns[i] = now() - start;
    }
    printf("network");
    print_times(ns, count);
    printf("\n");
    for (int i = 0; i < count && each_layer; i++)
        for (int layer = 0; layer < NETWORK_LAYERS; layer++) {
            int64_t start = now();
            run_layer(layer);
            ns[(layer + 1) * (int64_t)count + i] = now() - start;
        }
    for (int layer = 0; layer < NETWORK_LAYERS && each_layer; layer++) {
        printf("layer %d", layer);
        print_times(ns + (layer + 1) * (int64_t)count, count);
        printf(" %s\n", network_layer_name(layer));
    }
    free(ns);
    return 0;
}

/* What codesign's simulator is told: an unknown option of prctl, which fails harmlessly everywhere else. */
enum state { OFF, WARM, COUNT };

static void tell_simulator(enum state state)
{
#ifdef __linux__
    prctl(0x43445350, (unsigned long)state, 0UL, 0UL, 0UL);
#else
    (void)state;
#endif
}

static int count_inferences(int count)
{
    load_frame(network_golden);
    tell_simulator(WARM);
    run();
    tell_simulator(COUNT);
    for (int i = 0; i < count; i++)
        run();
    tell_simulator(OFF);
    return 0;
}

static FILE *opened(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);
    if (file == NULL) {
        perror(path);
        exit(2);
    }
    return file;
}

/* Reads the inputs of a frame; 0: there is none left, -1: but a part of one. */
static int read_frame(FILE *file)
{
    size_t had = 0;
    for (int i = 0; i < NETWORK_INPUTS; i++) {
        size_t got = fread(in[i], 1, inputs[i].bytes, file);
        had += got;
        if (got != inputs[i].bytes)
            return had == 0 && !ferror(file) ? 0 : -1;
    }
    return 1;
}

static int run_file(const char *from, const char *to)
{
    FILE *source = opened(from, "rb"), *target = opened(to, "wb");
    int64_t said = now();
    int failed = 0, more = 0;
    for (long frame = 0; !failed && (more = read_frame(source)) > 0; frame++) {
        if (frame == 0)
            try_layers();
        run();
        for (int o = 0; o < NETWORK_OUTPUTS; o++)
            failed |= fwrite(out[o], 1, outputs[o].bytes, target) != outputs[o].bytes;
        if (now() - said > 500000000) {
            said = now();
            printf("frame %ld\n", frame + 1);
            fflush(stdout);
        }
    }
    fclose(source);
    if (fclose(target) != 0 || failed) {
        perror(to);
        return 2;
    }
    if (more < 0)
        fprintf(stderr, "%s: cannot be read to its end, or ends within a frame\n", from);
    return more < 0 ? 2 : 0;
}

/* A whole number of 1 or more, else 0. */
static int positive(const char *text)
{
    char *end = NULL;
    long value = strtol(text, &end, 10);
    return end != text && *end == '\0' && value >= 1 && value <= 1000000000 ? (int)value : 0;
}

static int usage(const char *program)
{
    fprintf(stderr,
        "%s [--inputs FILE --outputs FILE | --repeat N [--layers] | --frames N | --stack] [--threads N]\n"
        "N: 1 or more; without arguments: compare the golden frames\n",
        program);
    return 2;
}

int main(int argc, char **argv)
{
    const char *from = NULL, *to = NULL;
    int repeat = 0, frames = 0, layers = 0, stack = 0, threads = 1, wrong = 0;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--layers") == 0) {
            layers = 1;
            continue;
        }
        if (strcmp(argv[i], "--stack") == 0) {
            stack = 1;
            continue;
        }
        if (value == NULL)
            return usage(argv[0]);
        if (strcmp(argv[i], "--inputs") == 0)
            from = value;
        else if (strcmp(argv[i], "--outputs") == 0)
            to = value;
        else if (strcmp(argv[i], "--repeat") == 0)
            repeat = positive(value), wrong |= !repeat;
        else if (strcmp(argv[i], "--frames") == 0)
            frames = positive(value), wrong |= !frames;
        else if (strcmp(argv[i], "--threads") == 0)
            threads = positive(value), wrong |= !threads;
        else
            return usage(argv[0]);
        i++;
    }
    if ((from == NULL) != (to == NULL) || wrong)
        return usage(argv[0]);
    for (int i = 0; i < NETWORK_INPUTS; i++)
        in[i] = memory(inputs[i].bytes);
    for (int i = 0; i < NETWORK_OUTPUTS; i++)
        out[i] = memory(outputs[i].bytes);
    arena = memory(NETWORK_ARENA_BYTES);
    network_set_threads(threads);
    int status = 0;
    if (from != NULL) {
        status = run_file(from, to);
    } else if (repeat > 0) {
        status = time_inferences(repeat, layers);
    } else if (frames > 0) {
        status = count_inferences(frames);
    } else if (stack) {
        load_frame(network_golden);
        printf("stack %zu\n", stack_used(run));
    } else {
        status = compare();
    }
    network_set_threads(1);
    return status;
}
