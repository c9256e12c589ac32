#include "rt/helper.h"

#include <pthread.h>
#include <signal.h>

#include "base/log.h"
#include "base/mem.h"
#include "rt/loop.h"

/* A piece of work in the queue. With helper_run it lives on the waiting task's stack. */
struct work {
    struct list node;
    void (*fn)(void *arg);
    void *arg;
    struct loop *loop; /* where the waiting task is told; NULL = nobody waits, free it */
    struct task *task;
    struct mail mail;
    bool is_done; /* of the task's thread */
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t has_work;
    bool is_started;
    bool is_stopping;
    unsigned threads_max;
    unsigned thread_count;
    unsigned idle;
    unsigned queue_max;
    unsigned queued;
    struct list queue;
    pthread_t *threads;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .has_work = PTHREAD_COND_INITIALIZER};

static void on_done(struct mail *mail)
{
    struct work *work = CONTAINER_OF(mail, struct work, mail);
    work->is_done = true;
    task_wake(work->task);
}

static void work_run(struct work *work)
{
    work->fn(work->arg);
    if (work->loop == NULL)
        mem_free(work);
    else
        loop_post(work->loop, &work->mail); /* from here on the work is the task's alone */
}

static void *thread_main(void *arg)
{
    (void)arg;
    pthread_setname_np(pthread_self(), "weir-helper");
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        struct list *node = list_pop(&pool.queue);
        if (node == NULL && pool.is_stopping)
            break;
        if (node == NULL) {
            pool.idle++;
            pthread_cond_wait(&pool.has_work, &pool.lock);
            pool.idle--;
            continue;
        }
        pool.queued--;
        pthread_mutex_unlock(&pool.lock);
        work_run(CONTAINER_OF(node, struct work, node));
        pthread_mutex_lock(&pool.lock);
    }
    pthread_mutex_unlock(&pool.lock);
    mem_blocks_trim();
    return NULL;
}

int helper_start(unsigned threads, unsigned queue_max)
{
    CHECK(threads > 0 && queue_max > 0);
    pthread_t *ids = mem_calloc(threads, sizeof(*ids));
    if (ids == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for helper threads");
    pthread_mutex_lock(&pool.lock);
    CHECK(!pool.is_started);
    pool.is_started = true;
    pool.is_stopping = false;
    pool.threads_max = threads;
    pool.thread_count = 0;
    pool.queue_max = queue_max;
    pool.threads = ids;
    list_init(&pool.queue);
    pthread_mutex_unlock(&pool.lock);
    return 0;
}

void helper_stop(void)
{
    pthread_mutex_lock(&pool.lock);
    if (!pool.is_started) {
        pthread_mutex_unlock(&pool.lock);
        return;
    }
    pool.is_stopping = true;
    pthread_cond_broadcast(&pool.has_work);
    pthread_mutex_unlock(&pool.lock);
    /* No thread is added while is_stopping stands. */
    for (unsigned i = 0; i < pool.thread_count; i++)
        pthread_join(pool.threads[i], NULL);
    pthread_mutex_lock(&pool.lock);
    mem_free(pool.threads);
    pool.threads = NULL;
    pool.is_started = false;
    pthread_mutex_unlock(&pool.lock);
}

/* Called with the lock. A new thread has all signals blocked: they are the main thread's. */
static void add_thread(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&pool.threads[pool.thread_count], NULL, thread_main, NULL) == 0)
        pool.thread_count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

enum outcome { QUEUED, REFUSED, NOT_STARTED };

static enum outcome enqueue(struct work *work)
{
    enum outcome outcome = NOT_STARTED;
    pthread_mutex_lock(&pool.lock);
    if (pool.is_started && !pool.is_stopping) {
        if (pool.idle <= pool.queued && pool.thread_count < pool.threads_max)
            add_thread();
        outcome = pool.queued < pool.queue_max && pool.thread_count > 0 ? QUEUED : REFUSED;
    }
    if (outcome == QUEUED) {
        list_push(&pool.queue, &work->node);
        pool.queued++;
        pthread_cond_signal(&pool.has_work);
    }
    pthread_mutex_unlock(&pool.lock);
    return outcome;
}

static int busy(void)
{
    static struct log_limit limit;
    unsigned suppressed;
    if (log_allow(&limit, 1, &suppressed))
        log_event(LOG_WARN, "helper", "all helper threads are busy and their queue is full");
    return err_set(ERR_BUSY, FAULT_GATEWAY, "the helper threads' queue is full");
}

YIELDS int helper_run(void (*fn)(void *arg), void *arg)
{
    CHECK(task_may_yield());
    struct work work = {
        .fn = fn, .arg = arg, .loop = loop_self(), .task = task_self(), .mail.fn = on_done};
    switch (enqueue(&work)) {
    case REFUSED:
        return busy();
    case NOT_STARTED:
        on_loop_stack(fn, arg);
        return task_check_cancel();
    case QUEUED:
        break;
    }
    task_shield();
    while (!work.is_done)
        task_park(CLOCK_NEVER);
    task_unshield();
    return task_check_cancel();
}

int helper_post(void (*fn)(void *arg), void *arg)
{
    struct work *work = MEM_NEW(struct work);
    if (work == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for helper work");
    work->fn = fn;
    work->arg = arg;
    enum outcome outcome = enqueue(work);
    if (outcome != QUEUED)
        mem_free(work);
    if (outcome == NOT_STARTED)
        on_loop_stack(fn, arg);
    return outcome == REFUSED ? busy() : 0;
}
