/*
 * Requests without a connection: a copy of a request in a task of its own, which goes the whole
 * way of any other, with a sink where the client would be.
 * Loop threads; a detached request stays on the one that made it.
 * What is tagged YIELDS does; nothing else.
 * It owns its request, its body and its memory, and holds the config's snapshot of the request it
 * was made of; all that goes when its task ends.
 * NULL or -ERR_NOMEM where there is no memory; a sink's -ERR_x ends the answer.
 */
#ifndef WEIR_GATEWAY_DETACHED_H
#define WEIR_GATEWAY_DETACHED_H

#include "base/buf.h"
#include "base/list.h"
#include "http/server.h"

struct detached;
struct exchange;
struct gateway_thread;
struct thread_snapshot;
struct virtual_key;

struct detached_sink {
    /* Its exchange begins; may be NULL. */
    void (*begun)(struct exchange *ex);
    /* What it does once its request is read and scanned; NULL = what every request does. */
    YIELDS void (*serve)(struct exchange *ex);
    /* Bytes of the answer. With the first of them the head is due: http.status, `headers` and
     * `content_length`. */
    YIELDS int (*write)(struct detached *d, const struct iovec *iov, int count, bool is_last);
    /* The exchange's record is complete, and about to be counted and logged; may be NULL. */
    void (*settled)(struct exchange *ex);
    /* All is over but its memory. */
    YIELDS void (*ended)(struct detached *d);
};

struct detached {
    struct list node; /* of its thread */
    const struct detached_sink *sink;
    void *owner; /* the sink's */
    struct http_request http;
    struct gateway_thread *thread;
    struct thread_snapshot *ts;
    const struct virtual_key *key; /* whose request it is: that was checked already */
    struct task *task;
    struct buf body; /* of the request, until it is collected */
    /* Of the answer, until its head was written. */
    const struct http_headers *headers;
    int64_t content_length;
    bool is_cancelled; /* nobody wants the answer any more */
    bool is_aborted;   /* nothing more may be written */
};

/* A copy of the exchange's request, with no body yet. Not started: detached_start or
 * detached_drop follows. */
struct detached *detached_new(const struct exchange *ex, const struct detached_sink *sink);
/* The same of a request that nobody has sent; `like` is copied. The thread's current config. */
struct detached *detached_make(struct gateway_thread *gateway, const struct http_request *like,
                               const struct detached_sink *sink);
/* From now on the sink hears of it. `name` as for task_spawn. */
int detached_start(struct detached *d, enum run_class run_class, const char *name);
/* Gives back what was not started. */
void detached_drop(struct detached *d);

/* Which detached request that is, or NULL for a client's. */
struct detached *detached_of(const struct http_request *http);
/* Cancels it: ERR_RESET as if a client hung up, ERR_CANCELED for a shutdown. */
void detached_cancel(struct detached *d, enum err_code reason);
/* Cancels those of this thread for a shutdown. */
void detached_cancel_all(void);

#endif
