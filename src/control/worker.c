#include "control/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "gateway/probe_targets.h"
#include "gateway/resume.h"
#include "http/client.h"
#include "observe/metrics.h"
#include "provider/credential.h"
#include "rt/dns.h"

/* How long the last tasks of a stopped loop may take to end by themselves, and once cancelled. */
#define LAST_TURNS_NS (100 * NS_PER_MS)
#define CANCELLED_TURNS_NS NS_PER_SEC

/* --- one thread ---------------------------------------------------------------------------------
 */

static bool worker_init(struct worker *worker)
{
    const struct settings *settings = snapshot_settings(worker->group->first);
    worker->loop = loop_new(worker->index);
    if (worker->loop == NULL)
        return false;
    metrics_thread_init(worker->loop);
    http_pool_init(&settings->pool);
    worker->gateway = gateway_thread_new(worker->group->first);
    if (worker->gateway != NULL)
        return true;
    http_pool_fini();
    metrics_thread_fini();
    loop_free(worker->loop);
    return false;
}

static void turn_until_idle(struct worker *worker, int64_t max_ns)
{
    int64_t end_ns = clock_add_ns(clock_mono_ns(), max_ns);
    while (task_count() > 0 && clock_mono_ns() < end_ns)
        loop_turn(worker->loop, 10 * NS_PER_MS);
}

/* Gives everything back; false when tasks are left that hold some of it. */
static bool worker_fini(struct worker *worker)
{
    probe_targets_stop();
    turn_until_idle(worker, LAST_TURNS_NS);
    http_server_cancel_all(); /* who waits for a client to hang up first, say */
    resume_cancel_all();
    credential_stop_all();
    http_pool_fini();
    dns_thread_fini();
    turn_until_idle(worker, CANCELLED_TURNS_NS);
    if (task_count() > 0) {
        log_event(LOG_WARN, "process", "thread %u ends with %zu tasks that did not", worker->index,
                  task_count());
        return false;
    }
    gateway_thread_free(worker->gateway);
    metrics_thread_fini();
    loop_free(worker->loop);
    return true;
}

static void done(struct workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    if (--workers->pending == 0)
        pthread_cond_signal(&workers->changed);
    pthread_mutex_unlock(&workers->lock);
}

static void wait_all(struct workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    while (workers->pending > 0)
        pthread_cond_wait(&workers->changed, &workers->lock);
    pthread_mutex_unlock(&workers->lock);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    bool is_ready = worker_init(worker);
    if (!is_ready)
        worker->failure = *err_slot();
    done(worker->group);
    if (!is_ready)
        return NULL;
    loop_run(worker->loop);
    return worker_fini(worker) ? worker : NULL;
}

/* --- all of them --------------------------------------------------------------------------------
 */

static int start_threads(struct workers *workers)
{
    workers->pending = workers->count;
    for (unsigned i = 0; i < workers->count; i++) {
        struct worker *worker = &workers->items[i];
        *worker = (struct worker){.index = i, .group = workers};
        int r = pthread_create(&worker->thread, NULL, worker_main, worker);
        if (r == 0)
            continue;
        pthread_mutex_lock(&workers->lock);
        workers->pending -= workers->count - i;
        workers->count = i;
        pthread_mutex_unlock(&workers->lock);
        wait_all(workers);
        return err_set(ERR_IO, FAULT_GATEWAY, "cannot start a thread: %s", strerror(r));
    }
    wait_all(workers);
    for (unsigned i = 0; i < workers->count; i++) {
        const struct err *failure = &workers->items[i].failure;
        if (failure->code != 0)
            return err_set((enum err_code)failure->code, failure->fault, "%s", failure->message);
    }
    return 0;
}

int workers_start(struct workers *workers, unsigned count, struct snapshot *first)
{
    *workers = (struct workers){.count = count, .first = first};
    workers->items = mem_calloc(count, sizeof(*workers->items));
    workers->loops = mem_calloc(count, sizeof(struct loop *));
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->changed, NULL);
    if (workers->items == NULL || workers->loops == NULL) {
        workers->count = 0;
        workers_stop(workers);
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for threads");
    }
    int r = start_threads(workers);
    if (r < 0) {
        struct err failure = *err_slot();
        workers_stop(workers);
        *err_slot() = failure;
        return r;
    }
    for (unsigned i = 0; i < count; i++)
        workers->loops[i] = workers->items[i].loop;
    return 0;
}

struct order {
    struct mail mail;
    struct worker *worker;
    worker_fn *fn;
    void *arg;
};

static void on_order(struct mail *mail)
{
    struct order *order = CONTAINER_OF(mail, struct order, mail);
    struct workers *workers = order->worker->group;
    order->fn(order->worker, order->arg);
    done(workers);
}

void workers_run(struct workers *workers, worker_fn *fn, void *arg)
{
    /* The main thread has nothing to fall back to: without these few bytes it cannot go on. */
    struct order *orders = mem_calloc_or_die(workers->count, sizeof(*orders));
    workers->pending = workers->count;
    for (unsigned i = 0; i < workers->count; i++) {
        orders[i] =
            (struct order){.mail.fn = on_order, .worker = &workers->items[i], .fn = fn, .arg = arg};
        loop_post(workers->items[i].loop, &orders[i].mail);
    }
    wait_all(workers);
    mem_free(orders);
}

int64_t workers_incoming(const struct workers *workers)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < workers->count; i++)
        sum += atomic_load_explicit(&loop_stats(workers->items[i].loop)->load_incoming,
                                    memory_order_acquire);
    return sum;
}

int64_t workers_load(const struct workers *workers)
{
    int64_t sum = workers_incoming(workers);
    for (unsigned i = 0; i < workers->count; i++)
        sum +=
            atomic_load_explicit(&loop_stats(workers->items[i].loop)->load, memory_order_acquire);
    return sum;
}

bool workers_stop(struct workers *workers)
{
    bool is_clean = true;
    for (unsigned i = 0; i < workers->count; i++) {
        if (workers->items[i].gateway != NULL)
            loop_stop(workers->items[i].loop);
    }
    for (unsigned i = 0; i < workers->count; i++) {
        void *result = NULL;
        pthread_join(workers->items[i].thread, &result);
        is_clean &= result != NULL || workers->items[i].gateway == NULL;
    }
    if (!is_clean)
        return false;
    pthread_mutex_destroy(&workers->lock);
    pthread_cond_destroy(&workers->changed);
    mem_free(workers->items);
    mem_free(workers->loops);
    *workers = (struct workers){.count = 0};
    return true;
}
