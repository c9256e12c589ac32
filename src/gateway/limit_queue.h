/*
 * Requests that wait for a target whose keys are all at their limits: in the order they came, one
 * tries at a time, so that nobody is overtaken and a limit that ends lets no herd through.
 * One queue a target and loop thread; the request's task.
 * limit_queue_turn yields.
 * A ticket is the caller's and must leave the queue before its memory goes.
 * -ERR_BUSY when the queue is full, -ERR_TIMEOUT, -ERR_CANCELED.
 */
#ifndef WEIR_GATEWAY_LIMIT_QUEUE_H
#define WEIR_GATEWAY_LIMIT_QUEUE_H

#include "base/list.h"
#include "base/str.h"
#include "rt/task.h"

struct limit_ticket {
    struct list node;
    struct task *task;
    struct str provider, model; /* must live until it has left */
    bool is_in;
};

/* True when somebody waits for the target: who comes now queues up behind. */
bool limit_queue_is_busy(struct str provider, struct str model);

/* At most `most` wait for a target on this thread. */
int limit_queue_enter(struct limit_ticket *ticket, struct str provider, struct str model,
                      unsigned most);
/* Waits until it is the first of its target and `until_ns` has come. */
YIELDS int limit_queue_turn(const struct limit_ticket *ticket, int64_t until_ns,
                            int64_t deadline_ns);
/* The next one's turn; nothing for a ticket that is not in. */
void limit_queue_leave(struct limit_ticket *ticket);

#endif
