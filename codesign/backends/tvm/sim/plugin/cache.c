/* See cache.h for what is modelled. */
#include "cache.h"

#include <stdlib.h>

/* An entry is ((line + 1) << 2) | flags, so that 0 is an empty one. */
enum { DIRTY = 1, PREFETCHED = 2, FLAGS = 3 };

static uint64_t entry_of(uint64_t line) { return (line + 1) << 2; }

struct hierarchy *cs_cache_new(const uint64_t bytes[LEVELS], const uint64_t ways[LEVELS], uint64_t line,
                               uint64_t ahead) {
    struct hierarchy *h = calloc(1, sizeof *h);
    h->line_bits = (unsigned)__builtin_ctzll(line);
    h->ahead = (unsigned)ahead;
    for (unsigned k = 0; k < LEVELS && bytes[k]; k++) {
        uint64_t sets = bytes[k] / (ways[k] * line);
        h->levels[k] = (struct level){calloc(sets * ways[k], sizeof(uint64_t)), sets - 1, (unsigned)ways[k]};
        h->depth = k + 1;
    }
    return h;
}

/* The line's entry, moved to the front of its set; NULL: a miss. */
static uint64_t *find(struct level *level, uint64_t line) {
    uint64_t *set = level->entries + (line & level->set_mask) * level->ways, wanted = entry_of(line);
    if ((set[0] & ~(uint64_t)FLAGS) == wanted) return set;
    for (unsigned way = 1; way < level->ways; way++) {
        uint64_t entry = set[way];
        if ((entry & ~(uint64_t)FLAGS) != wanted) continue;
        for (; way; way--) set[way] = set[way - 1];
        set[0] = entry;
        return set;
    }
    return NULL;
}

static void write_back(struct hierarchy *h, unsigned k, uint64_t line);

/* Put a line that is not there into level k (from 0), at the front of its set. */
static void fill(struct hierarchy *h, unsigned k, uint64_t line, uint64_t flags) {
    struct level *level = &h->levels[k];
    uint64_t *set = level->entries + (line & level->set_mask) * level->ways;
    uint64_t victim = set[level->ways - 1];
    for (unsigned way = level->ways - 1; way; way--) set[way] = set[way - 1];
    set[0] = entry_of(line) | flags;
    if (victim & DIRTY) write_back(h, k + 1, (victim >> 2) - 1);
}

static void write_back(struct hierarchy *h, unsigned k, uint64_t line) {
    if (k >= h->depth) {
        h->memory_writes++;
        return;
    }
    uint64_t *entry = find(&h->levels[k], line);
    if (entry)
        *entry |= DIRTY;
    else
        fill(h, k, line, DIRTY);
}

/* Look for a line from level k on and fill it into those that lacked it: the level (from 1) that had it. */
static int fetch(struct hierarchy *h, unsigned k, uint64_t line) {
    if (k >= h->depth) {
        h->memory_reads++;
        return MEMORY;
    }
    if (find(&h->levels[k], line)) return (int)k + 1;
    int found = fetch(h, k + 1, line);
    fill(h, k, line, 0);
    return found;
}

static void prefetch(struct hierarchy *h, const struct stream *s, uint64_t line) {
    unsigned page = PAGE_BITS - h->line_bits;
    for (unsigned i = 1; i <= h->ahead; i++) {
        uint64_t next = line + (uint64_t)(s->stride * (int64_t)i);
        if (next >> page != line >> page) return;
        if (find(&h->levels[0], next)) continue;
        fetch(h, 1, next);
        fill(h, 0, next, PREFETCHED);
    }
}

/* A line was missed, or found prefetched: it continues a stream, makes one of two misses, or may start one. */
static void train(struct hierarchy *h, uint64_t line) {
    struct stream *oldest = h->streams;
    h->now++;
    for (struct stream *s = h->streams; s < h->streams + STREAMS; s++) {
        if (s->used < oldest->used) oldest = s;
        int64_t step = (int64_t)(line - s->last);
        if (!s->used || step == 0 || step > STREAM_REACH || step < -STREAM_REACH) continue;
        if (step == s->stride) {
            *s = (struct stream){line, step, s->confidence + 1, h->now};
            prefetch(h, s, line);
            return;
        }
        if (s->confidence == 0) {
            *s = (struct stream){line, step, 1, h->now};
            return;
        }
    }
    *oldest = (struct stream){line, 0, 0, h->now};
}

/* A store missed: is it one of a run of whole lines, none of which a lower level has? */
static bool streams(struct hierarchy *h, uint64_t line) {
    struct run *oldest = h->runs, *found = NULL;
    h->now++;
    for (struct run *r = h->runs; r < h->runs + RUNS; r++) {
        if (r->used && r->last + 1 == line) found = r;
        if (r->used < oldest->used) oldest = r;
    }
    struct run *run = found ? found : oldest;
    *run = (struct run){line, found ? found->length + 1 : 1, h->now};
    if (run->length < RUN) return false;
    for (unsigned k = 1; k < h->depth; k++)
        if (find(&h->levels[k], line)) return false;
    return true;
}

static int touch(struct hierarchy *h, uint64_t line, bool store) {
    uint64_t *entry = find(&h->levels[0], line);
    if (entry) {
        bool first = *entry & PREFETCHED;
        *entry = (*entry & ~(uint64_t)PREFETCHED) | (store ? DIRTY : 0);
        if (first) train(h, line);
        return 1;
    }
    if (store && streams(h, line)) {
        fill(h, 0, line, DIRTY);
        return MEMORY;
    }
    int found = fetch(h, 1, line);
    fill(h, 0, line, store ? DIRTY : 0);
    if (h->ahead) train(h, line);
    return found;
}

int cs_cache_access(struct hierarchy *h, uint64_t address, unsigned size, bool store) {
    uint64_t line = address >> h->line_bits, last = (address + size - 1) >> h->line_bits;
    int farthest = touch(h, line, store);
    while (line != last) {
        int found = touch(h, ++line, store);
        if (found > farthest) farthest = found;
    }
    return farthest;
}
