/* Up to three levels of set-associative, write-back, write-allocate caches with true LRU, and a stride prefetcher.
 *
 * A line is looked for in level 1, then 2, then 3, and filled into every level that lacked it. A dirty line that leaves
 * a level is written to the next one, which allocates it when it has none; what leaves the last is a write to memory.
 * Levels are neither inclusive nor exclusive. Addresses are the program's own (virtual).
 *
 * The prefetcher follows 16 streams. A stream is two lines at most 8 apart, both missed or found prefetched; from its
 * second equal stride on it holds `ahead` lines ahead of the last one, in level 1 and below, within the 4 KB page, as
 * Arm's prefetchers do. A prefetched line is there at once: what prefetching cannot hide is the bandwidth, which the
 * model bounds apart.
 *
 * Stores that miss in line after line are taken to write whole lines, which need not be read (write streaming: Arm DDI
 * 0500, Cortex-A53 TRM, section 6.2; the other cores have it too): from the third line of a run on, of 4 runs. */
#ifndef CODESIGN_CACHE_H
#define CODESIGN_CACHE_H

#include <stdbool.h>
#include <stdint.h>

enum { LEVELS = 3, MEMORY = LEVELS + 1, STREAMS = 16, STREAM_REACH = 8, PAGE_BITS = 12, RUNS = 4, RUN = 3 };

struct level {
    uint64_t *entries; /* sets * ways, each set from the most to the least recently used; 0: empty */
    uint64_t set_mask;
    unsigned ways;
};

struct stream {
    uint64_t last;
    int64_t stride;
    unsigned confidence;
    uint64_t used;
};

struct run {
    uint64_t last;
    unsigned length;
    uint64_t used;
};

struct hierarchy {
    struct level levels[LEVELS];
    unsigned depth; /* levels there are */
    unsigned line_bits;
    unsigned ahead;
    struct stream streams[STREAMS];
    struct run runs[RUNS];
    uint64_t now;
    uint64_t memory_reads, memory_writes; /* lines */
};

/* bytes[k], ways[k] of level k + 1; bytes 0: no such level. All sizes as the table [cpu] of a target guarantees them. */
struct hierarchy *cs_cache_new(const uint64_t bytes[LEVELS], const uint64_t ways[LEVELS], uint64_t line, uint64_t ahead);

/* One load or store of `size` bytes: the level that had it, 1 to 3, or MEMORY; the farthest of all lines touched. */
int cs_cache_access(struct hierarchy *, uint64_t address, unsigned size, bool store);

#endif
