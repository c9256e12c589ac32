#include "rt/watchdog.h"

#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "rt/crash.h"

/* What is known of one loop. */
struct watched {
    struct loop *loop;
    int64_t warned_of_ns; /* the turn that was reported last, by its beginning */
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool is_running;
    bool is_stopping;
    int64_t warn_ns, abort_ns;
    int64_t looked_ns; /* when the watchdog last looked */
    int64_t awake_ns;  /* since when the process surely has not been stopped */
    unsigned count;
    struct watched *watched;
} dog = {.lock = PTHREAD_MUTEX_INITIALIZER};

static atomic_uint_fast64_t warnings;

/* Logged a frame a line: all of them would not fit one. */
static void log_trace(struct loop *loop)
{
    void *frames[CRASH_FRAMES_MAX];
    int count = crash_trace(loop_thread(loop), frames, CRASH_FRAMES_MAX);
    char **names = count > 0 ? backtrace_symbols(frames, count) : NULL;
    for (int i = 0; names != NULL && i < count; i++)
        log_event(LOG_WARN, "watchdog", "thread %u frame %d: %s", loop_index(loop), i, names[i]);
    free(names);
    if (count == 0)
        log_event(LOG_WARN, "watchdog", "thread %u did not say where it is", loop_index(loop));
}

static void look_at(struct watched *w, int64_t now_ns)
{
    struct loop_stats *stats = loop_stats(w->loop);
    int64_t since_ns = atomic_load_explicit(&stats->busy_since_ns, memory_order_relaxed);
    int64_t busy_ns = since_ns == 0 ? 0 : now_ns - MAX(since_ns, dog.awake_ns);
    if (busy_ns <= dog.warn_ns)
        return;
    const char *task = atomic_load_explicit(&stats->running, memory_order_relaxed);
    bool is_fatal = dog.abort_ns > 0 && busy_ns > dog.abort_ns;
    if (w->warned_of_ns == since_ns && !is_fatal)
        return;
    w->warned_of_ns = since_ns;
    log_event(is_fatal ? LOG_ERROR : LOG_WARN, "watchdog",
              "thread %u has been busy for %lld ms in %s%s", loop_index(w->loop),
              (long long)(busy_ns / NS_PER_MS), task != NULL ? task : "the loop itself",
              is_fatal ? ": giving up" : "");
    log_trace(w->loop);
    atomic_fetch_add_explicit(&warnings, 1, memory_order_relaxed);
    if (is_fatal)
        abort();
}

/* Waits half of the warning time, or until it is to stop; false then. Called with the lock. */
static bool nap(void)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t end_ns = until.tv_sec * NS_PER_SEC + until.tv_nsec + dog.warn_ns / 2;
    until.tv_sec = end_ns / NS_PER_SEC;
    until.tv_nsec = end_ns % NS_PER_SEC;
    while (!dog.is_stopping && pthread_cond_timedwait(&dog.wake, &dog.lock, &until) == 0)
        ;
    return !dog.is_stopping;
}

/* A watchdog that itself was held up cannot blame a loop: the process was stopped, or the machine.
 */
static void look_around(void)
{
    int64_t now_ns = clock_mono_ns();
    if (now_ns - dog.looked_ns > dog.warn_ns)
        dog.awake_ns = now_ns;
    dog.looked_ns = now_ns;
    for (unsigned i = 0; i < dog.count; i++)
        look_at(&dog.watched[i], now_ns);
    dog.looked_ns = clock_mono_ns();
}

static void *watch(void *arg)
{
    (void)arg;
    pthread_setname_np(pthread_self(), "weir-watchdog");
    crash_preload();
    pthread_mutex_lock(&dog.lock);
    dog.looked_ns = dog.awake_ns = clock_mono_ns();
    while (nap())
        look_around();
    pthread_mutex_unlock(&dog.lock);
    return NULL;
}

void watchdog_start(struct loop *const *loops, unsigned count, unsigned warn_ms, unsigned abort_ms)
{
    CHECK(!dog.is_running && warn_ms > 0);
    crash_install();
    dog.watched = mem_calloc_or_die(count, sizeof(*dog.watched));
    for (unsigned i = 0; i < count; i++)
        dog.watched[i].loop = loops[i];
    dog.count = count;
    dog.warn_ns = warn_ms * NS_PER_MS;
    dog.abort_ns = abort_ms * NS_PER_MS;
    dog.is_stopping = false;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&dog.wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&dog.thread, NULL, watch, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    dog.is_running = error == 0;
    if (error != 0) {
        mem_free(dog.watched);
        log_event(LOG_WARN, "watchdog", "no thread for the watchdog: %s", strerror(error));
    }
}

void watchdog_stop(void)
{
    if (!dog.is_running)
        return;
    pthread_mutex_lock(&dog.lock);
    dog.is_stopping = true;
    pthread_cond_signal(&dog.wake);
    pthread_mutex_unlock(&dog.lock);
    pthread_join(dog.thread, NULL);
    pthread_cond_destroy(&dog.wake);
    mem_free(dog.watched);
    dog.is_running = false;
}

uint64_t watchdog_warnings(void)
{
    return atomic_load_explicit(&warnings, memory_order_relaxed);
}
