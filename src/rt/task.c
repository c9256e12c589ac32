#include "rt/task.h"

#include <string.h>

#include "base/list.h"
#include "rt/loop.h"
#include "rt/loop_private.h"
#include "rt/stack.h"
#include "rt/switch.h"

#define TASK_MAGIC 0x5441534bu

/* Tops of stacks are staggered by this so that their hot lines fall into different cache sets. */
enum { STAGGER_STEP_BYTES = 128, STAGGER_STEPS = 4 };

struct task {
    uint32_t magic;
    uint32_t shields;
    enum run_class run_class;
    enum err_code cancel_reason;
    bool is_ready; /* in a run queue, or running with a wake pending */
    bool is_parked;
    bool timed_out;
    bool is_done;
    struct list ready_node;
    struct list all_node;
    struct timer timer;
    struct list deferred;
    struct loop *loop;
    const char *name;
    task_fn *fn;
    void *arg;
    char *slot;
    struct context context; /* where the task goes on */
    struct err err;
};

static struct loop *loop_here(void)
{
    struct loop *loop = loop_self();
    CHECK(loop != NULL);
    return loop;
}

struct task *task_self(void)
{
    struct loop *loop = loop_self();
    return loop == NULL || loop->on_loop_stack ? NULL : loop->running;
}

bool task_may_yield(void)
{
    const struct loop *loop = loop_self();
    return loop != NULL && loop->running != NULL && !loop->on_loop_stack &&
           loop->no_yield_depth == 0;
}

static void make_ready(struct loop *loop, struct task *task)
{
    if (task->is_ready)
        return;
    task->is_ready = true;
    list_push(&loop->ready[task->run_class], &task->ready_node);
    loop->ready_count++;
}

static void on_timeout(struct timer *timer)
{
    struct task *task = CONTAINER_OF(timer, struct task, timer);
    /* A task that is ready already has what it waits for: the wake wins over the deadline. */
    if (task->is_ready)
        return;
    task->timed_out = true;
    make_ready(task->loop, task);
}

/* The first and last frame of every task. */
NORETURN static void task_main(void *arg)
{
    struct task *task = arg;
    task->fn(task->arg);
    for (struct list *node; (node = list_pop(&task->deferred)) != NULL;) {
        struct deferred *d = CONTAINER_OF(node, struct deferred, node);
        d->fn(d->arg);
    }
    task->is_done = true;
    switch_exit(&task->loop->context);
}

struct task *task_spawn(enum run_class run_class, const char *name, task_fn *fn, void *arg)
{
    struct loop *loop = loop_here();
    char *slot = stack_take();
    if (slot == NULL)
        return NULL;
    size_t stagger = (size_t)(loop->spawned++ % STAGGER_STEPS) * STAGGER_STEP_BYTES;
    char *top = slot + TASK_STACK_BYTES - stagger;
    struct task *task = (struct task *)(void *)(top - ((sizeof(struct task) + 63) & ~(size_t)63));
    memset(task, 0, sizeof(*task));
    task->magic = TASK_MAGIC;
    task->run_class = run_class;
    task->loop = loop;
    task->name = name;
    task->fn = fn;
    task->arg = arg;
    task->slot = slot;
    list_init(&task->ready_node);
    list_init(&task->deferred);
    timer_init(&task->timer, on_timeout);
    list_push(&loop->tasks, &task->all_node);
    loop->task_count++;
    switch_prepare(&task->context, slot + STACK_GUARD_BYTES,
                   (size_t)((char *)task - slot) - STACK_GUARD_BYTES, task_main, task);
    make_ready(loop, task);
    return task;
}

static void task_bury(struct loop *loop, struct task *task)
{
    timer_disarm(&task->timer);
    list_remove(&task->all_node);
    list_remove(&task->ready_node);
    if (task->is_ready)
        loop->ready_count--;
    switch_discard(&task->context);
    task->magic = 0;
    loop->task_count--;
    stack_give(task->slot);
}

/* What a task asked of the loop when it switched to it is in loop->call; serve it and go back. */
void task_resume(struct loop *loop, struct task *task)
{
    CHECK_MAGIC(task, TASK_MAGIC);
    list_remove(&task->ready_node);
    task->is_ready = false;
    loop->ready_count--;
    loop->running = task;
    atomic_store_explicit(&loop->stats.running, task->name, memory_order_relaxed);
    err_slot_use(&task->err);
    switch_to(&loop->context, &task->context);
    while (loop->call.fn != NULL) {
        struct loop_call call = loop->call;
        loop->call.fn = NULL;
        loop->on_loop_stack = true;
        call.fn(call.arg);
        loop->on_loop_stack = false;
        switch_to(&loop->context, &task->context);
    }
    err_slot_use(NULL);
    loop->running = NULL;
    atomic_store_explicit(&loop->stats.running, NULL, memory_order_relaxed);
    if (task->is_done)
        task_bury(loop, task);
}

struct task *task_of_ready_node(struct list *node)
{
    return CONTAINER_OF(node, struct task, ready_node);
}

static bool is_cancelled(const struct task *task)
{
    return task->cancel_reason != ERR_NONE && task->shields == 0;
}

static int canceled(const struct task *task)
{
    return err_set(ERR_CANCELED, FAULT_NONE, "cancelled: %s", err_name((int)task->cancel_reason));
}

static struct task *self_for_wait(void)
{
    CHECK(task_may_yield());
    return loop_self()->running;
}

int task_park(int64_t deadline_ns)
{
    struct task *task = self_for_wait();
    struct loop *loop = task->loop;
    if (is_cancelled(task))
        return canceled(task);
    task->timed_out = false;
    if (!task->is_ready) {
        if (deadline_ns != CLOCK_NEVER) {
            if (deadline_ns <= loop_now_ns())
                return err_set(ERR_TIMEOUT, FAULT_NONE, "deadline passed");
            timer_arm(&loop->wheel, &task->timer, deadline_ns);
        }
        task->is_parked = true;
        switch_to(&task->context, &loop->context);
        task->is_parked = false;
        timer_disarm_lazily(&task->timer);
    } else {
        /* A wake came while the task ran: take it without going through the loop. */
        list_remove(&task->ready_node);
        task->is_ready = false;
        loop->ready_count--;
    }
    if (is_cancelled(task))
        return canceled(task);
    if (task->timed_out)
        return err_set(ERR_TIMEOUT, FAULT_NONE, "deadline passed");
    return 0;
}

int task_sleep_until(int64_t deadline_ns)
{
    for (;;) {
        int r = task_park(deadline_ns);
        if (r == -ERR_TIMEOUT)
            return 0;
        if (r < 0)
            return r;
    }
}

static void go_through_queue(struct task *task)
{
    make_ready(task->loop, task);
    switch_to(&task->context, &task->loop->context);
}

int task_yield(void)
{
    struct task *task = self_for_wait();
    if (!is_cancelled(task))
        go_through_queue(task);
    return task_check_cancel();
}

enum run_class task_class(void)
{
    return self_for_wait()->run_class;
}

int task_set_class(enum run_class run_class)
{
    struct task *task = self_for_wait();
    if (task->run_class == run_class)
        return 0;
    bool was_ready = task->is_ready;
    if (was_ready) {
        list_remove(&task->ready_node);
        task->is_ready = false;
        task->loop->ready_count--;
    }
    task->run_class = run_class;
    if (run_class == RUN_BULK || run_class == RUN_HEAVY)
        go_through_queue(task);
    if (was_ready)
        make_ready(task->loop, task);
    return is_cancelled(task) ? canceled(task) : 0;
}

void task_wake(struct task *task)
{
    CHECK_MAGIC(task, TASK_MAGIC);
    make_ready(task->loop, task);
}

void task_cancel(struct task *task, enum err_code reason)
{
    CHECK_MAGIC(task, TASK_MAGIC);
    CHECK(reason != ERR_NONE);
    if (task->cancel_reason == ERR_NONE)
        task->cancel_reason = reason;
    if (task->is_parked && task->shields == 0)
        make_ready(task->loop, task);
}

enum err_code task_cancel_reason(const struct task *task)
{
    return task->cancel_reason;
}

int task_check_cancel(void)
{
    const struct task *task = self_for_wait();
    return is_cancelled(task) ? canceled(task) : 0;
}

void task_cancel_clear(struct task *task)
{
    task->cancel_reason = ERR_NONE;
}

void task_shield(void)
{
    self_for_wait()->shields++;
}

void task_unshield(void)
{
    struct task *task = self_for_wait();
    CHECK(task->shields > 0);
    task->shields--;
}

void task_defer(struct deferred *d, void (*fn)(void *arg), void *arg)
{
    d->fn = fn;
    d->arg = arg;
    list_push_front(&self_for_wait()->deferred, &d->node);
}

void task_undefer(struct deferred *d)
{
    list_remove(&d->node);
}

void on_loop_stack(void (*fn)(void *arg), void *arg)
{
    struct loop *loop = loop_self();
    if (loop == NULL || loop->running == NULL || loop->on_loop_stack) {
        fn(arg);
        return;
    }
    loop->call = (struct loop_call){fn, arg};
    switch_to(&loop->running->context, &loop->context);
}

void no_yield_begin(void)
{
    struct loop *loop = loop_self();
    if (loop != NULL)
        loop->no_yield_depth++;
}

void no_yield_end(void)
{
    struct loop *loop = loop_self();
    if (loop != NULL) {
        CHECK(loop->no_yield_depth > 0);
        loop->no_yield_depth--;
    }
}

void task_trim_stack(void)
{
    const struct task *task = self_for_wait();
    stack_trim(task->slot, __builtin_frame_address(0));
}

size_t task_count(void)
{
    return loop_here()->task_count;
}
