#include "rt/loop.h"

#include <malloc.h>
#include <sched.h>
#include <sys/epoll.h>

#include "base/mem.h"
#include "rt/crash.h"
#include "rt/loop_private.h"
#include "rt/stack.h"
#include "rt/sys.h"

#define LOOP_MAGIC 0x4c4f4f50u

/* How often an idle loop asks itself whether it may give memory back. */
#define HOUSEKEEPING_NS (10 * NS_PER_SEC)

enum {
    EVENTS_A_POLL = 256,
    /* A turn ends after so many resumes or so much time, whichever is first. */
    RESUMES_A_TURN = 256,
    TURN_BUDGET_NS = 2000000,
    /* The clock is read once in so many resumes. */
    RESUMES_A_CLOCK = 16,
    /* Longest wait in the poller, so that a clock step cannot stall the loop for long. */
    POLL_MAX_MS = 60000,
};

static _Thread_local struct loop *current;

struct loop *loop_self(void)
{
    return current;
}

unsigned loop_index(const struct loop *loop)
{
    return loop->index;
}

pthread_t loop_thread(const struct loop *loop)
{
    return loop->thread;
}

struct loop_stats *loop_stats(struct loop *loop)
{
    return &loop->stats;
}

int64_t loop_now_ns(void)
{
    return current->now_ns;
}

char *loop_scratch(void)
{
    return current->scratch;
}

void loop_timer_arm(struct timer *timer, int64_t deadline_ns)
{
    timer_arm(&current->wheel, timer, deadline_ns);
}

/* A counter that only this thread writes: no locked instruction is needed. */
static void count(atomic_uint_fast64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* When nothing ran since the last look, memory that is kept for the next burst goes back. */
static void keep_house(struct timer *timer)
{
    struct loop *loop = CONTAINER_OF(timer, struct loop, housekeeping);
    uint64_t resumes = atomic_load_explicit(&loop->stats.resumes, memory_order_relaxed);
    bool is_quiet = resumes == loop->kept_house_at;
    if (is_quiet && !loop->is_tidy) {
        mem_blocks_trim();
        stacks_trim();
        malloc_trim(0);
    }
    loop->is_tidy = is_quiet;
    loop->kept_house_at = resumes;
    timer_arm(&loop->wheel, timer, clock_add_ns(loop->now_ns, HOUSEKEEPING_NS));
}

static void mailbox_read(struct loop *loop)
{
    struct mail *newest = atomic_exchange_explicit(&loop->mailbox, NULL, memory_order_acquire);
    struct mail *oldest = NULL;
    while (newest != NULL) {
        struct mail *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct mail *mail = oldest;
        oldest = mail->next;
        count(&loop->stats.mails, 1);
        mail->fn(mail);
    }
}

static void on_mail_bell(struct pollable *p)
{
    uint64_t rings;
    p->ready = 0;
    (void)!sys_read(p->fd, &rings, sizeof(rings));
    mailbox_read(CONTAINER_OF(p, struct loop, mail_bell));
}

void loop_post(struct loop *loop, struct mail *mail)
{
    /* The mail may be what ends the loop: loop_free waits until nobody is in here any more. */
    atomic_fetch_add_explicit(&loop->posting, 1, memory_order_relaxed);
    struct mail *head = atomic_load_explicit(&loop->mailbox, memory_order_relaxed);
    do {
        mail->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&loop->mailbox, &head, mail,
                                                    memory_order_release, memory_order_relaxed));
    if (head == NULL) {
        /* The box was empty, so the bell may not have been rung: the reader empties it whole. */
        uint64_t one = 1;
        (void)!sys_write(loop->mail_bell.fd, &one, sizeof(one));
    }
    atomic_fetch_sub_explicit(&loop->posting, 1, memory_order_release);
}

void loop_stop(struct loop *loop)
{
    atomic_fetch_add_explicit(&loop->posting, 1, memory_order_relaxed);
    atomic_store_explicit(&loop->is_stopping, true, memory_order_release);
    uint64_t one = 1;
    (void)!sys_write(loop->mail_bell.fd, &one, sizeof(one));
    atomic_fetch_sub_explicit(&loop->posting, 1, memory_order_release);
}

int loop_watch(struct pollable *p, int fd, pollable_fn *fn)
{
    p->fd = fd;
    p->fn = fn;
    p->ready = 0;
    list_init(&p->pending);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = p};
    if (sys_epoll_ctl(current->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return err_set_errno(ERR_IO, FAULT_GATEWAY, "epoll_ctl");
    return 0;
}

void loop_unwatch(struct pollable *p)
{
    list_remove(&p->pending);
    struct epoll_event event = {0};
    sys_epoll_ctl(current->epoll_fd, EPOLL_CTL_DEL, p->fd, &event);
}

void job_init(struct job *job, job_fn *fn)
{
    list_init(&job->node);
    job->fn = fn;
}

void loop_queue(struct job *job)
{
    if (list_is_empty(&job->node))
        list_push(&current->jobs, &job->node);
}

void loop_unqueue(struct job *job)
{
    list_remove(&job->node);
}

struct loop *loop_new(unsigned index)
{
    CHECK(current == NULL);
    struct loop *loop = MEM_NEW(struct loop);
    char *scratch = mem_alloc(LOOP_SCRATCH_BYTES);
    if (loop == NULL || scratch == NULL) {
        mem_free(loop);
        mem_free(scratch);
        err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a loop");
        return NULL;
    }
    loop->magic = LOOP_MAGIC;
    loop->index = index;
    loop->thread = pthread_self();
    loop->scratch = scratch;
    for (unsigned c = 0; c < RUN_CLASS_COUNT; c++)
        list_init(&loop->ready[c]);
    list_init(&loop->tasks);
    list_init(&loop->jobs);
    list_init(&loop->pending);
    loop->now_ns = clock_mono_ns();
    timer_wheel_init(&loop->wheel, loop->now_ns);
    timer_init(&loop->housekeeping, keep_house);
    timer_arm(&loop->wheel, &loop->housekeeping, clock_add_ns(loop->now_ns, HOUSEKEEPING_NS));
    current = loop;
    crash_thread_init();
    loop->mail_bell.fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int bell = loop->epoll_fd < 0 ? -1 : sys_eventfd();
    if (bell < 0 || loop_watch(&loop->mail_bell, bell, on_mail_bell) < 0) {
        err_set_errno(ERR_IO, FAULT_GATEWAY, "cannot make the loop's poller");
        loop_free(loop);
        return NULL;
    }
    return loop;
}

void loop_free(struct loop *loop)
{
    CHECK(loop == current);
    CHECK(loop->task_count == 0);
    while (atomic_load_explicit(&loop->posting, memory_order_acquire) != 0)
        sched_yield();
    if (loop->mail_bell.fd >= 0)
        sys_close(loop->mail_bell.fd);
    if (loop->epoll_fd >= 0)
        sys_close(loop->epoll_fd);
    stacks_release();
    crash_thread_fini();
    mem_free(loop->scratch);
    mem_blocks_trim();
    current = NULL;
    mem_free(loop);
}

static void refresh_now(struct loop *loop)
{
    loop->now_ns = clock_mono_ns();
}

static void run_jobs(struct loop *loop)
{
    struct list due;
    list_init(&due);
    list_splice(&due, &loop->jobs);
    for (struct list *node; (node = list_pop(&due)) != NULL;) {
        struct job *job = CONTAINER_OF(node, struct job, node);
        job->fn(job);
    }
}

/* The first class in which a task is ready, or RUN_CLASS_COUNT. A second heavy one must wait for
 * the next turn. */
static unsigned next_class(const struct loop *loop, unsigned ran)
{
    for (unsigned c = 0; c < RUN_CLASS_COUNT; c++) {
        if (!list_is_empty(&loop->ready[c]) && (c != RUN_HEAVY || (ran & 1u << RUN_HEAVY) == 0))
            return c;
    }
    return RUN_CLASS_COUNT;
}

static void run_one(struct loop *loop, unsigned run_class, unsigned *ran)
{
    *ran |= 1u << run_class;
    task_resume(loop, task_of_ready_node(loop->ready[run_class].next));
}

static void run_tasks(struct loop *loop)
{
    unsigned ran = 0; /* a bit per class */
    int64_t end_ns = loop->now_ns + TURN_BUDGET_NS;
    unsigned done = 0;
    for (unsigned c; (c = next_class(loop, ran)) != RUN_CLASS_COUNT;) {
        run_one(loop, c, &ran);
        if (++done % RESUMES_A_CLOCK != 0)
            continue;
        refresh_now(loop);
        if (done >= RESUMES_A_TURN || loop->now_ns >= end_ns) {
            count(&loop->stats.over_budget, 1);
            break;
        }
    }
    /* However busy the loop is, each class has one task a turn, or the lower ones would starve. */
    for (unsigned c = 0; c < RUN_CLASS_COUNT; c++) {
        if ((ran & 1u << c) == 0 && !list_is_empty(&loop->ready[c])) {
            run_one(loop, c, &ran);
            done++;
        }
    }
    count(&loop->stats.resumes, done);
}

static void take_events(struct loop *loop, const struct epoll_event *events, int n)
{
    for (int i = 0; i < n; i++) {
        struct pollable *p = events[i].data.ptr;
        p->ready |= events[i].events;
        if (list_is_empty(&p->pending))
            list_push(&loop->pending, &p->pending);
    }
    for (struct list *node; (node = list_pop(&loop->pending)) != NULL;) {
        struct pollable *p = CONTAINER_OF(node, struct pollable, pending);
        p->fn(p);
    }
}

static int wait_ms(struct loop *loop, int64_t max_wait_ns)
{
    if (loop->ready_count > 0 || !list_is_empty(&loop->jobs))
        return 0;
    int64_t next_ns = timer_wheel_next_ns(&loop->wheel);
    int64_t wait_ns = next_ns == CLOCK_NEVER ? max_wait_ns : next_ns - loop->now_ns;
    wait_ns = MIN(MAX(wait_ns, 0), max_wait_ns);
    int64_t ms = (wait_ns + NS_PER_MS - 1) / NS_PER_MS;
    return (int)MIN(ms, POLL_MAX_MS);
}

static void poll(struct loop *loop, int64_t max_wait_ns)
{
    struct epoll_event events[EVENTS_A_POLL];
    int timeout_ms = wait_ms(loop, max_wait_ns);
    if (timeout_ms > 0)
        atomic_store_explicit(&loop->stats.busy_since_ns, 0, memory_order_relaxed);
    int n = sys_epoll_wait(loop->epoll_fd, events, EVENTS_A_POLL, timeout_ms);
    refresh_now(loop);
    atomic_store_explicit(&loop->stats.busy_since_ns, loop->now_ns, memory_order_relaxed);
    if (n > 0) {
        count(&loop->stats.events, (uint64_t)n);
        take_events(loop, events, n);
    }
}

void loop_turn(struct loop *loop, int64_t max_wait_ns)
{
    CHECK_MAGIC(loop, LOOP_MAGIC);
    CHECK(loop == current && loop->running == NULL);
    /* Adopted anew each turn: the caller's stack may be another one in a test. */
    switch_adopt(&loop->context);
    int64_t start_ns = loop->now_ns;
    timer_wheel_run(&loop->wheel, loop->now_ns);
    run_jobs(loop);
    run_tasks(loop);
    refresh_now(loop);
    count(&loop->stats.turns, 1);
    int64_t lag_ns = loop->now_ns - start_ns;
    if (lag_ns > atomic_load_explicit(&loop->stats.lag_max_ns, memory_order_relaxed))
        atomic_store_explicit(&loop->stats.lag_max_ns, lag_ns, memory_order_relaxed);
    poll(loop, max_wait_ns);
}

void loop_run(struct loop *loop)
{
    refresh_now(loop);
    atomic_store_explicit(&loop->stats.busy_since_ns, loop->now_ns, memory_order_relaxed);
    while (!atomic_load_explicit(&loop->is_stopping, memory_order_acquire))
        loop_turn(loop, POLL_MAX_MS * NS_PER_MS);
    atomic_store_explicit(&loop->stats.busy_since_ns, 0, memory_order_relaxed);
}
