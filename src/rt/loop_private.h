/*
 * What loop.c and task.c share of a loop. No other file includes this.
 * Only the loop's own thread.
 * Nothing here yields by itself.
 * The loop owns all of it.
 * No errors.
 */
#ifndef WEIR_RT_LOOP_PRIVATE_H
#define WEIR_RT_LOOP_PRIVATE_H

#include "rt/loop.h"
#include "rt/switch.h"

/* What a task asks the loop's stack to run: see on_loop_stack. */
struct loop_call {
    void (*fn)(void *arg);
    void *arg;
};

struct loop {
    uint32_t magic;
    unsigned index;
    pthread_t thread;
    int epoll_fd;
    int64_t now_ns;
    struct context context; /* the thread's own stack, while a task runs */
    struct task *running;
    bool on_loop_stack; /* a call of the running task runs on the loop's stack */
    unsigned no_yield_depth;
    struct loop_call call;
    struct list ready[RUN_CLASS_COUNT];
    size_t ready_count;
    struct list tasks;
    size_t task_count;
    uint64_t spawned;
    struct list jobs;
    struct list pending; /* pollables with news */
    struct timer_wheel wheel;
    struct timer housekeeping;
    uint64_t kept_house_at; /* resumes when the house was last looked at */
    bool is_tidy;           /* and nothing has run since */
    char *scratch;
    struct pollable mail_bell;
    _Atomic(struct mail *) mailbox; /* newest first; taken whole and reversed */
    atomic_uint posting;            /* threads that are in loop_post or loop_stop */
    atomic_bool is_stopping;
    struct loop_stats stats;
};

void task_resume(struct loop *loop, struct task *task);
struct task *task_of_ready_node(struct list *node);

#endif
