/* Threads that wait for kernels: first awake, because the next kernel usually comes within microseconds, then asleep.
 *
 * Every kernel's steps are shared out in equal ranges, one per thread. The caller of network_call_parallel takes the first, and
 * waits for the others: nothing of a kernel is in flight when the next one begins.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>

#include "kernel.h"
#include "network.h"

#define MOST_THREADS 64
#define ROUNDS_AWAKE 20000 /* some tens of microseconds */

static struct {
    kernel *function; /* NULL: the threads are to end */
    void *const *arguments;
    int32_t steps;
    int count;
} job;

static pthread_t workers[MOST_THREADS];
static int threads = 1;
static atomic_uint generation; /* of the job; a worker that has done one waits for the next */
static atomic_int unfinished;  /* workers that have not done the job yet */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void run_share(int worker)
{
    int32_t begin = (int32_t)((int64_t)job.steps * worker / threads);
    int32_t end = (int32_t)((int64_t)job.steps * (worker + 1) / threads);
    if (begin < end)
        network_call(job.function, begin, end, job.arguments, job.count);
}

static void wait_for_job(unsigned done)
{
    for (int i = 0; i < ROUNDS_AWAKE; i++) {
        if (atomic_load_explicit(&generation, memory_order_acquire) != done)
            return;
        relax();
    }
    pthread_mutex_lock(&mutex);
    while (atomic_load_explicit(&generation, memory_order_acquire) == done)
        pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
}

static void *work(void *argument)
{
    int worker = (int)(intptr_t)argument;
    unsigned done = 0;
    for (;;) {
        wait_for_job(done++);
        if (job.function == NULL)
            return NULL;
        run_share(worker);
        atomic_fetch_sub_explicit(&unfinished, 1, memory_order_release);
    }
}

static void publish_job(void)
{
    atomic_store_explicit(&unfinished, threads - 1, memory_order_relaxed);
    pthread_mutex_lock(&mutex); /* else a worker could miss it between its last look and its sleep */
    atomic_fetch_add_explicit(&generation, 1, memory_order_release);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

void network_call_parallel(kernel *function, int32_t steps, void *const *arguments, int count)
{
    if (threads == 1 || steps == 1) {
        network_call(function, 0, steps, arguments, count);
        return;
    }
    job.function = function;
    job.arguments = arguments;
    job.steps = steps;
    job.count = count;
    publish_job();
    run_share(0);
    for (int i = 0; atomic_load_explicit(&unfinished, memory_order_acquire) > 0; i++) {
        if (i < ROUNDS_AWAKE)
            relax();
        else
            sched_yield(); /* there are more threads than cores */
    }
}

int network_set_threads(int wanted)
{
    if (threads > 1) {
        job.function = NULL;
        publish_job();
        for (int i = 1; i < threads; i++)
            pthread_join(workers[i], NULL);
        threads = 1;
    }
    if (wanted > MOST_THREADS)
        wanted = MOST_THREADS;
    atomic_store(&generation, 0);
    int made = 1; /* `threads` is set once all are there: until the first job, workers only look at `generation` */
    while (made < wanted && pthread_create(&workers[made], NULL, work, (void *)(intptr_t)made) == 0)
        made++;
    threads = made;
    return threads;
}
