/* Candidates for one task: each compared with the golden outputs, then timed, or run once for the simulator.
 *
 *     harness JOB check SECONDS MILLISECONDS   one line per candidate on stdout, see `report`
 *     harness JOB count                        each candidate twice, the caches warmed, then counted
 *
 * `check` runs every candidate in a process of its own, which ends after SECONDS: crashes and loops cost one candidate.
 * It writes each output over a pattern, and compares all of its memory: bytes around the output must be untouched. The
 * last frame is computed in two parts, as two threads would. Exact candidates are then timed for MILLISECONDS (0: not).
 *
 * JOB is little-endian words of 64 bits: the number of blobs, their sizes, the number of candidates, of frames; for each
 * candidate its kernel, its steps, the number of its arguments, and for each frame (blob, byte offset) of every argument,
 * the last of which is the output, then the blob with what the output's memory must hold; then the blobs' bytes. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kernels.h"

#ifdef __aarch64__
#include "control.h"
#else
enum { CODESIGN_OFF, CODESIGN_WARM, CODESIGN_COUNT };
static void codesign_control(int state) { (void)state; }
#endif

enum { MOST_ARGUMENTS = 24, MOST_FRAMES = 4, ALIGNMENT = 64, SLACK = 128, SAMPLE_NS = 20000, LEAST_SAMPLES = 5 };

struct blob {
    uint8_t *bytes;
    size_t size;
};

struct frame {
    void *arguments[MOST_ARGUMENTS];
    struct blob output, expected;
};

struct candidate {
    uint64_t kernel, steps, count;
    struct frame frames[MOST_FRAMES];
};

static uint64_t frame_count;

static void fail(const char *what) {
    fprintf(stderr, "harness: %s\n", what);
    exit(2);
}

static uint64_t word(FILE *file) {
    uint64_t value;
    if (fread(&value, sizeof value, 1, file) != 1) fail("the job ends early");
    return value;
}

static void call(routine kernel, int32_t begin, int32_t end, uint64_t count, void *const *a) {
#define P1 void *
#define P2 P1, void *
#define P3 P2, void *
#define P4 P3, void *
#define P5 P4, void *
#define P6 P5, void *
#define P7 P6, void *
#define P8 P7, void *
#define P9 P8, void *
#define P10 P9, void *
#define P11 P10, void *
#define P12 P11, void *
#define P13 P12, void *
#define P14 P13, void *
#define P15 P14, void *
#define P16 P15, void *
#define P17 P16, void *
#define P18 P17, void *
#define P19 P18, void *
#define P20 P19, void *
#define P21 P20, void *
#define P22 P21, void *
#define P23 P22, void *
#define P24 P23, void *
#define A1 a[0]
#define A2 A1, a[1]
#define A3 A2, a[2]
#define A4 A3, a[3]
#define A5 A4, a[4]
#define A6 A5, a[5]
#define A7 A6, a[6]
#define A8 A7, a[7]
#define A9 A8, a[8]
#define A10 A9, a[9]
#define A11 A10, a[10]
#define A12 A11, a[11]
#define A13 A12, a[12]
#define A14 A13, a[13]
#define A15 A14, a[14]
#define A16 A15, a[15]
#define A17 A16, a[16]
#define A18 A17, a[17]
#define A19 A18, a[18]
#define A20 A19, a[19]
#define A21 A20, a[20]
#define A22 A21, a[21]
#define A23 A22, a[22]
#define A24 A23, a[23]
#define CASE(n) \
    case n: \
        ((void (*)(int32_t, int32_t, P##n))kernel)(begin, end, A##n); \
        return;
    switch (count) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
        CASE(13) CASE(14) CASE(15) CASE(16) CASE(17) CASE(18) CASE(19) CASE(20) CASE(21) CASE(22) CASE(23) CASE(24)
    }
    fail("a kernel with another number of arguments");
}

static void run(const struct candidate *c, const struct frame *f) {
    call(kernels[c->kernel], 0, (int32_t)c->steps, c->count, f->arguments);
}

static struct candidate *load(const char *path, uint64_t *count) {
    FILE *file = fopen(path, "rb");
    if (!file) fail("the job cannot be read");
    uint64_t blob_count = word(file);
    struct blob *blobs = calloc(blob_count + 1, sizeof *blobs);
    if (!blobs) fail("no memory");
    for (uint64_t i = 0; i < blob_count; i++) {
        blobs[i].size = word(file);
        size_t room = (blobs[i].size + SLACK + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        blobs[i].bytes = aligned_alloc(ALIGNMENT, room);
        if (!blobs[i].bytes) fail("no memory");
        memset(blobs[i].bytes, 0x5a, room);
    }
    *count = word(file);
    frame_count = word(file);
    struct candidate *all = calloc(*count + 1, sizeof *all);
    if (!all || frame_count > MOST_FRAMES) fail("no memory, or too many frames");
    for (struct candidate *c = all; c < all + *count; c++) {
        c->kernel = word(file);
        c->steps = word(file);
        c->count = word(file);
        if (c->kernel >= (uint64_t)kernel_count || c->count < 1 || c->count > MOST_ARGUMENTS) fail("a wrong candidate");
        for (struct frame *f = c->frames; f < c->frames + frame_count; f++) {
            for (uint64_t k = 0; k <= c->count; k++) {
                uint64_t blob = word(file), offset = k < c->count ? word(file) : 0;
                if (blob >= blob_count || offset > blobs[blob].size) fail("a wrong blob");
                if (k < c->count) f->arguments[k] = blobs[blob].bytes + offset;
                if (k + 1 == c->count) f->output = blobs[blob];
                if (k == c->count) f->expected = blobs[blob];
            }
        }
    }
    for (uint64_t i = 0; i < blob_count; i++)
        if (fread(blobs[i].bytes, 1, blobs[i].size, file) != blobs[i].size) fail("the job ends early");
    fclose(file);
    return all;
}

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

/* The least time of one run, over samples of several runs in a row that the clock resolves. */
static double least_ns(const struct candidate *c, double budget_ns) {
    const struct frame *f = &c->frames[0];
    double start = now_ns();
    run(c, f);
    double once = now_ns() - start, best = once;
    long runs = once < SAMPLE_NS ? (long)(SAMPLE_NS / (once > 1 ? once : 1)) + 1 : 1;
    double end = now_ns() + budget_ns;
    for (int samples = 0; samples < LEAST_SAMPLES || now_ns() < end; samples++) {
        start = now_ns();
        for (long i = 0; i < runs; i++) run(c, f);
        double each = (now_ns() - start) / (double)runs;
        if (each < best) best = each;
    }
    return best;
}

/* `exact NS`, or `wrong BYTES FIRST FRAME`: how many bytes differ, the first of them, in which frame. */
static void report(uint64_t index, const struct candidate *c, double budget_ns) {
    for (uint64_t k = 0; k < frame_count; k++) {
        const struct frame *f = &c->frames[k];
        int32_t steps = (int32_t)c->steps, middle = k + 1 == frame_count ? steps / 2 : 0;
        if (middle) call(kernels[c->kernel], 0, middle, c->count, f->arguments);
        call(kernels[c->kernel], middle, steps, c->count, f->arguments);
        if (f->expected.size != f->output.size) fail("an output of another size");
        size_t wrong = 0, first = 0;
        for (size_t i = f->output.size; i-- > 0;) {
            if (f->output.bytes[i] != f->expected.bytes[i]) {
                wrong++;
                first = i;
            }
        }
        if (wrong) {
            printf("%llu wrong %zu %zu %llu\n", (unsigned long long)index, wrong, first, (unsigned long long)k);
            return;
        }
    }
    double ns = budget_ns > 0 ? least_ns(c, budget_ns) : 0;
    printf("%llu exact %.1f\n", (unsigned long long)index, ns);
}

static void check(const struct candidate *all, uint64_t count, unsigned seconds, double budget_ns) {
    for (uint64_t i = 0; i < count; i++) {
        fflush(stdout);
        pid_t child = fork();
        if (child < 0) fail("no process");
        if (child == 0) {
            alarm(seconds);
            report(i, &all[i], budget_ns);
            fflush(stdout);
            _exit(0);
        }
        int status = 0;
        waitpid(child, &status, 0);
        if (WIFSIGNALED(status)) printf("%llu signal %d\n", (unsigned long long)i, WTERMSIG(status));
        if (WIFEXITED(status) && WEXITSTATUS(status)) printf("%llu signal 0\n", (unsigned long long)i);
    }
}

int main(int argc, char **argv) {
    codesign_control(CODESIGN_OFF);
    if (argc < 3) fail("harness JOB check SECONDS MILLISECONDS, or harness JOB count");
    uint64_t count;
    const struct candidate *all = load(argv[1], &count);
    if (argc == 5 && strcmp(argv[2], "check") == 0) {
        check(all, count, (unsigned)atoi(argv[3]), 1e6 * atof(argv[4]));
        return 0;
    }
    for (uint64_t i = 0; i < count; i++) {
        codesign_control(CODESIGN_WARM);
        run(&all[i], &all[i].frames[0]);
        codesign_control(CODESIGN_COUNT);
        run(&all[i], &all[i].frames[0]);
        codesign_control(CODESIGN_OFF);
    }
    return 0;
}
