/*
 * The event loop of one thread: run queue, timers, poller, mailbox.
 * A loop belongs to the thread that runs it; loop_post and loop_stop may come from any thread.
 * loop_run returns when it was told to stop; nothing else here suspends a task.
 * The loop owns its poller, wheel and stacks; pollables and jobs belong to the caller.
 * Functions return 0 or -ERR_x.
 */
#ifndef WEIR_RT_LOOP_H
#define WEIR_RT_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/list.h"
#include "rt/task.h"
#include "rt/timer.h"

/* Per-thread buffer that reads go into: see io_recv. */
enum { LOOP_SCRATCH_BYTES = 64 * 1024 };

/*
 * A descriptor in the poller, edge-triggered for both directions and registered once. When
 * something happened, `ready` gains EPOLL* bits and fn runs on the loop's stack, after all events
 * of the poll were taken in, so that no event can meet a pollable that was closed meanwhile.
 */
struct pollable;
typedef void pollable_fn(struct pollable *p);
struct pollable {
    struct list pending;
    pollable_fn *fn;
    int fd;
    uint32_t ready;
};

/* A piece of work for the loop's own stack: runs once in this or the next turn; must not yield. */
struct job;
typedef void job_fn(struct job *job);
struct job {
    struct list node;
    job_fn *fn;
};

/* A message to another thread's loop: fn runs there on the loop's stack; the receiver owns it. */
struct mail;
typedef void mail_fn(struct mail *mail);
struct mail {
    struct mail *next;
    mail_fn *fn;
};

/* Counters of one loop, written by its thread alone and read by others as they are (relaxed). */
struct loop_stats {
    atomic_uint_fast64_t turns;
    atomic_uint_fast64_t resumes;
    atomic_uint_fast64_t events;
    atomic_uint_fast64_t mails;
    atomic_uint_fast64_t over_budget;  /* turns that ended with ready tasks left */
    atomic_int_fast64_t busy_since_ns; /* when the turn began; 0 while it waits in the poller */
    atomic_int_fast64_t lag_max_ns;    /* longest time from ready to run since the last read */
    _Atomic(const char *) running;     /* name of the task that runs, or NULL */
    atomic_int_fast64_t load;          /* what the accept hand-off compares: open connections */
    atomic_int_fast64_t load_incoming; /* handed over by other threads and not yet arrived */
};

/* Makes the loop of the calling thread. `index` is its number from 0. NULL with the error slot set
 * when the poller cannot be had. */
struct loop *loop_new(unsigned index);
/* Runs until loop_stop. All tasks should have ended. */
void loop_run(struct loop *loop);
/* One turn, without waiting longer than `max_wait_ns`: for tests and the simulation. */
void loop_turn(struct loop *loop, int64_t max_wait_ns);
void loop_free(struct loop *loop);

/* The loop of this thread; NULL on a thread without one. */
struct loop *loop_self(void);
unsigned loop_index(const struct loop *loop);
/* The thread that made it. */
pthread_t loop_thread(const struct loop *loop);
struct loop_stats *loop_stats(struct loop *loop);

/* Any thread: ends loop_run after the current turn. */
void loop_stop(struct loop *loop);
/* Any thread: sends mail. Order between two posts of one thread is kept. Mail that has not been
 * read when the loop stops is lost: who posts must have ended before. */
void loop_post(struct loop *loop, struct mail *mail);

/* The time at the start of the turn or of the last wake-up; good for deadlines, not for measuring
 * short spans. */
int64_t loop_now_ns(void);

/* Registers p->fd for reading, writing and hang-up (edge-triggered). */
int loop_watch(struct pollable *p, int fd, pollable_fn *fn);
/* Takes it out of the poller; does not close the descriptor. */
void loop_unwatch(struct pollable *p);

void job_init(struct job *job, job_fn *fn);
/* Queues it unless it is queued already. */
void loop_queue(struct job *job);
void loop_unqueue(struct job *job);

/* Arms a timer in this thread's wheel. */
void loop_timer_arm(struct timer *timer, int64_t deadline_ns);

/* This thread's read buffer of LOOP_SCRATCH_BYTES: what is in it lasts until the next yield. */
char *loop_scratch(void);

#endif
