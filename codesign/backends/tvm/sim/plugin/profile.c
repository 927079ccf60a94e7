/* A QEMU plugin: how often every block of code ran, which one followed, what its loads and stores met in the caches.
 *
 * Options (name=value): out (file), l1d, l2, l3 (bytes:ways), line, ahead, window (instructions), start (0, 1, 2),
 * every and of (simulate the caches for `every` instructions `of` so many; both 0: always).
 *
 * The program steers it by the system call prctl(CONTROL, state), which fails harmlessly without the plugin:
 * 0 nothing is looked at, 1 the caches are simulated, 2 everything is counted. Only the first thread is looked at.
 *
 * The output is a page, written as the program runs so that it survives a crash, then the records of the blocks that
 * ran while counting; struct page and struct record are its format, little-endian as the host is.
 *
 * Misses: a load's latency shows when it misses first; misses within `window` instructions behind it overlap with it
 * (Karkhanis and Smith, A First-Order Superscalar Processor Model, ISCA 2004). Such a first miss is counted as a stall
 * at the level that had the line. Stores wait in the store buffer: they cost bandwidth only.
 *
 * Branches: conditional ones by gshare, 4096 two-bit counters and 12 bits of history (McFarling, Combining Branch
 * Predictors, 1993); indirect ones by their last target; returns are always predicted. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cache.h"
#include "qemu.h"

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { SUCCESSORS = 4, PAGE = 4096, PRCTL = 167, CONTROL = 0x43445350, BUCKETS = 1 << 16 };
enum { OFF, WARM, COUNT };
enum kind { STRAIGHT, CONDITIONAL, INDIRECT, RETURN };

struct page {
    char magic[8];
    uint64_t last_address, last_word; /* of the block translated last: where a program without an instruction dies */
    uint64_t threads, instructions, blocks, complete;
};

struct record {
    uint64_t address, instructions, count, mispredicted;
    uint64_t accesses, missed_l1, missed_l2, missed_l3;
    uint64_t stalls[3]; /* first misses that level 2, level 3, memory had */
    uint64_t memory_reads, memory_writes; /* lines */
    struct {
        uint64_t record, count;
    } next[SUCCESSORS];
}; /* then `instructions` words of 32 bits, and one more where that number is odd */

struct access {
    struct block *block;
    uint64_t index;
};

struct block {
    struct block *chain;
    struct record r;
    struct block *next[SUCCESSORS];
    struct block *target; /* an indirect branch's last one */
    enum kind kind;
    uint64_t end, id;
    uint32_t *words;
    struct access *accesses;
};

static struct block *buckets[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct page *page;
static struct hierarchy *caches;
static uint64_t window, every, of;
static unsigned state = COUNT;
static uint64_t now; /* instructions started, while warming or counting */
static uint64_t shadow_end[MEMORY + 1]; /* the instruction at which a miss at that level no longer overlaps */
static struct block *previous;
static uint8_t counters[4096];
static unsigned history;
static const char *out_path;

static enum kind kind_of(uint32_t word) {
    if ((word & 0xff000010) == 0x54000000 || (word & 0x7c000000) == 0x34000000) return CONDITIONAL;
    if ((word & 0xfffffc1f) == 0xd65f0000) return RETURN;
    if ((word & 0xffdffc1f) == 0xd61f0000) return INDIRECT;
    return STRAIGHT;
}

static struct block *block_of(uint64_t address, const uint32_t *words, size_t n) {
    uint64_t hash = address >> 2;
    for (size_t i = 0; i < n; i++) hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15u;
    struct block **bucket = &buckets[(hash >> 40) % BUCKETS];
    for (struct block *b = *bucket; b; b = b->chain)
        if (b->r.address == address && b->r.instructions == n && !memcmp(b->words, words, n * sizeof *words)) return b;
    struct block *b = calloc(1, sizeof *b);
    b->chain = *bucket;
    b->r.address = address;
    b->r.instructions = n;
    b->kind = kind_of(words[n - 1]);
    b->end = address + 4 * n;
    b->words = malloc(n * sizeof *words);
    memcpy(b->words, words, n * sizeof *words);
    b->accesses = malloc(n * sizeof *b->accesses);
    for (size_t i = 0; i < n; i++) b->accesses[i] = (struct access){b, i};
    return *bucket = b;
}

/* The block `b` follows `from`: is that what a predictor would have said? */
static void branch(struct block *from, struct block *b) {
    if (from->kind == CONDITIONAL) {
        unsigned taken = b->r.address != from->end;
        uint8_t *counter = &counters[((from->end >> 2) ^ history) & 4095];
        from->r.mispredicted += (*counter >= 2) != taken;
        if (taken && *counter < 3) ++*counter;
        if (!taken && *counter > 0) --*counter;
        history = history << 1 | taken;
    } else if (from->kind == INDIRECT) {
        from->r.mispredicted += from->target && from->target != b;
        from->target = b;
    }
    for (unsigned i = 0; i < SUCCESSORS; i++) {
        if (!from->next[i]) from->next[i] = b;
        if (from->next[i] != b) continue;
        from->r.next[i].count++;
        return;
    }
}

static void on_block(unsigned vcpu, void *userdata) {
    if (vcpu || state == OFF) return;
    struct block *b = userdata;
    now += b->r.instructions;
    if (state != COUNT) return;
    b->r.count++;
    if (previous) branch(previous, b);
    previous = b;
}

static void on_access(unsigned vcpu, qemu_plugin_meminfo_t info, uint64_t address, void *userdata) {
    if (vcpu || state == OFF || (of && now % of >= every)) return;
    struct access *a = userdata;
    struct record *r = &a->block->r;
    bool store = qemu_plugin_mem_is_store(info);
    uint64_t reads = caches->memory_reads, writes = caches->memory_writes;
    int level = cs_cache_access(caches, address, 1u << qemu_plugin_mem_size_shift(info), store);
    if (state != COUNT) return;
    r->accesses++;
    if (level == 1 && reads == caches->memory_reads) return;
    r->memory_reads += caches->memory_reads - reads;
    r->memory_writes += caches->memory_writes - writes;
    r->missed_l1 += level > 1;
    r->missed_l2 += level > 2;
    r->missed_l3 += level > 3;
    if (level == 1 || store) return;
    uint64_t at = now - r->instructions + a->index;
    for (int k = level; k <= MEMORY; k++)
        if (at < shadow_end[k]) return;
    shadow_end[level] = at + window;
    r->stalls[level - 2]++;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    size_t n = qemu_plugin_tb_n_insns(tb);
    uint32_t words[n];
    for (size_t i = 0; i < n; i++) memcpy(&words[i], qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, i)), 4);
    pthread_mutex_lock(&lock);
    struct block *b = block_of(qemu_plugin_tb_vaddr(tb), words, n);
    pthread_mutex_unlock(&lock);
    page->last_address = b->end - 4;
    page->last_word = words[n - 1];
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, b);
    for (size_t i = 0; i < n; i++)
        qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), on_access, QEMU_PLUGIN_CB_NO_REGS,
                                         QEMU_PLUGIN_MEM_RW, &b->accesses[i]);
}

static void on_system_call(qemu_plugin_id_t id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                           uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    (void)id, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (vcpu || number != PRCTL || a1 != CONTROL) return;
    state = (unsigned)a2;
    previous = NULL;
}

static void on_thread(qemu_plugin_id_t id, unsigned vcpu) {
    (void)id, (void)vcpu;
    __atomic_add_fetch(&page->threads, 1, __ATOMIC_RELAXED);
}

static void on_end(qemu_plugin_id_t id, void *userdata) {
    (void)id, (void)userdata;
    FILE *out = fopen(out_path, "r+b");
    if (!out) return;
    fseek(out, PAGE, SEEK_SET);
    uint64_t blocks = 0;
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct block *b = buckets[i]; b; b = b->chain)
            if (b->r.count) b->id = blocks++;
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct block *b = buckets[i]; b; b = b->chain) {
            if (!b->r.count) continue;
            for (unsigned k = 0; k < SUCCESSORS && b->next[k]; k++) b->r.next[k].record = b->next[k]->id;
            page->instructions += b->r.count * b->r.instructions;
            uint32_t padding = 0;
            fwrite(&b->r, sizeof b->r, 1, out);
            fwrite(b->words, sizeof *b->words, b->r.instructions, out);
            fwrite(&padding, sizeof padding, b->r.instructions & 1, out);
        }
    page->blocks = blocks;
    page->complete = !fclose(out);
}

static uint64_t number(const char *text, char **end) { return strtoull(text, end, 0); }

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
                                                               char **argv) {
    (void)info;
    uint64_t bytes[LEVELS] = {0}, ways[LEVELS] = {0}, line = 64, ahead = 0;
    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '='), *end = NULL;
        if (!value) return -1;
        *value++ = 0;
        const char *name = argv[i];
        if (!strcmp(name, "out")) {
            out_path = strdup(value);
        } else if (name[0] == 'l' && !strcmp(name + 2, name[1] == '1' ? "d" : "") && name[1] >= '1' && name[1] <= '3') {
            bytes[name[1] - '1'] = number(value, &end);
            ways[name[1] - '1'] = *end == ':' ? number(end + 1, &end) : 0;
        } else if (!strcmp(name, "line")) {
            line = number(value, &end);
        } else if (!strcmp(name, "ahead")) {
            ahead = number(value, &end);
        } else if (!strcmp(name, "window")) {
            window = number(value, &end);
        } else if (!strcmp(name, "every")) {
            every = number(value, &end);
        } else if (!strcmp(name, "of")) {
            of = number(value, &end);
        } else if (!strcmp(name, "start")) {
            state = (unsigned)number(value, &end);
        } else {
            return -1;
        }
    }
    if (!out_path || !bytes[0]) return -1;
    caches = cs_cache_new(bytes, ways, line, ahead);
    int file = open(out_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || ftruncate(file, PAGE)) return -1;
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (page == MAP_FAILED) return -1;
    memcpy(page->magic, "CSPROF1", 8);
    qemu_plugin_register_vcpu_init_cb(id, on_thread);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_system_call);
    qemu_plugin_register_atexit_cb(id, on_end, NULL);
    return 0;
}
