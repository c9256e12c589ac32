/*
 * Timers: a hierarchical wheel of 1 ms ticks, one per loop, with lazy re-arming.
 * Only the loop's own thread; nothing yields.
 * The caller owns the node (embedded in a task or a connection) and must disarm it before it dies.
 * Nothing can fail.
 * Pushing a deadline out, and disarming lazily, are plain stores; the wheel notices on expiry.
 */
#ifndef WEIR_RT_TIMER_H
#define WEIR_RT_TIMER_H

#include "base/clock.h"
#include "base/list.h"

enum { WHEEL_LEVELS = 5, WHEEL_SLOTS = 64 };

struct timer;
/* Runs on the loop's stack and must not yield; the timer is not armed any more and may be re-armed
 * or freed inside. */
typedef void timer_fn(struct timer *timer);

struct timer {
    struct list node;
    int64_t deadline_ns; /* CLOCK_NEVER = not armed (the node may still be linked) */
    int64_t linked_tick; /* -1 = not linked */
    timer_fn *fn;
};

struct timer_wheel {
    int64_t now_tick;
    uint64_t used[WHEEL_LEVELS]; /* a bit per slot that may hold nodes */
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void timer_wheel_init(struct timer_wheel *wheel, int64_t now_ns);
void timer_init(struct timer *timer, timer_fn *fn);
/* CLOCK_NEVER disarms. */
void timer_arm(struct timer_wheel *wheel, struct timer *timer, int64_t deadline_ns);
/* A store; the node may stay linked for a while. */
static inline void timer_disarm_lazily(struct timer *timer)
{
    timer->deadline_ns = CLOCK_NEVER;
}
/* Unlinks: needed before the timer's memory goes. */
void timer_disarm(struct timer *timer);
/* Fires what is due at now_ns. Returns how many fired. */
unsigned timer_wheel_run(struct timer_wheel *wheel, int64_t now_ns);
/* The earliest time at which timer_wheel_run may have something to do; CLOCK_NEVER if none. */
int64_t timer_wheel_next_ns(const struct timer_wheel *wheel);

#endif
