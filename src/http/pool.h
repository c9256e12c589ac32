/*
 * Connections to upstreams: opened, kept while idle, found again. One pool a loop thread.
 * Only the loop thread.
 * pool_open yields; nothing else does.
 * A connection is the call's while it is taken and the pool's while it is idle.
 * Errors as in client.h.
 */
#ifndef WEIR_HTTP_POOL_H
#define WEIR_HTTP_POOL_H

#include "http/client.h"
#include "rt/io.h"

struct http_conn {
    struct io io;
    const struct http_origin *origin; /* compared, and followed only while it is current */
    uint64_t generation;
    struct h1_parser parser;
    struct buf ahead; /* read and not parsed yet: bytes of an answer that came with its head */
    size_t ahead_used;
    bool is_reused;
    bool is_idle;
    struct list node; /* among the idle ones of its bucket */
    struct list age;  /* among all idle ones, oldest first */
    struct timer timer;
    struct job check; /* something happened on it while it was idle */
};

/* An idle connection of that origin, the one used last, or NULL. */
struct http_conn *pool_take(const struct http_origin *origin);
/* A new one. NULL with the error slot set. */
YIELDS struct http_conn *pool_open(const struct http_origin *origin,
                                   const struct http_timeouts *timeouts,
                                   struct dial_timing *timing);
/* Keeps it for the next call, or closes it where that may not be. */
void pool_give(struct http_conn *conn);
void pool_close(struct http_conn *conn);

void pool_count_free_retry(void);

#endif
