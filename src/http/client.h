/*
 * The client side: one call = one request on a connection from the pool, or on a fresh one.
 * Only the loop thread; each thread has its own pool.
 * Everything tagged YIELDS is cancellable; a cancelled call closes its connection.
 * A call belongs to the caller (embedded); http_call_finish must follow every http_call_start.
 * -ERR_x with fault upstream; err_slot()->retry tells whether another try makes sense.
 */
#ifndef WEIR_HTTP_CLIENT_H
#define WEIR_HTTP_CLIENT_H

#include <stdatomic.h>

#include "base/buf.h"
#include "http/h1.h"
#include "http/message.h"
#include "rt/dial.h"

/* Serves the other end of a socket pair in this process (the simulated provider): takes over fd. */
typedef void http_in_process_fn(int fd, void *ctx);

/*
 * All that makes a connection's identity: two calls may share a connection only if their origins
 * are equal in every field. Built once per provider and snapshot; immutable then.
 */
struct http_origin {
    struct dial_target target;
    struct str host_header; /* what goes into Host */
    uint64_t identity;      /* hash over all fields, set by http_origin_seal */
    uint64_t generation;    /* tells apart contexts of different snapshots with equal names */
    http_in_process_fn *in_process; /* not NULL: no network, connections are socket pairs */
    void *in_process_ctx;
};
/* Computes `identity`. Credentials of the request are not part of it; client certificates are. */
void http_origin_seal(struct http_origin *origin);

struct http_timeouts {
    int64_t connect_ns, tls_ns; /* each from its own start */
    int64_t first_byte_ns;      /* from the request's last byte to the response's first */
    int64_t idle_ns;            /* between two reads of the response, and of a blocked write */
    int64_t total_deadline_ns;  /* absolute; CLOCK_NEVER = none */
};

struct http_call_request {
    enum http_method method;
    struct str target; /* path and query */
    const struct http_headers *headers; /* without Host, framing and hop-by-hop: added here */
    const struct iovec *body;           /* must live until the head has been read */
    int body_count;
    uint64_t body_bytes;
};

struct http_conn; /* a pooled connection */

struct http_call {
    struct http_conn *conn;
    const struct http_origin *origin;
    const struct http_call_request *request;
    const struct http_timeouts *timeouts;
    struct arena *arena;
    struct h1_head head;
    bool was_reused;      /* the connection had served a call before */
    bool was_retried;     /* the one free retry was used */
    bool is_body_done;
    bool may_reuse;
    struct dial_timing dial;
    int64_t start_ns, sent_ns, first_byte_ns; /* clock_mono_ns; 0 = not yet */
    uint64_t bytes_in, bytes_out;
};

/*
 * Sends the request: on an idle connection of the pool, else on a new one. Head and body leave in
 * one write where the socket takes them. Where the upstream answers before it has read the whole
 * body, sending stops and the answer is read. The arena holds the head's strings.
 */
YIELDS int http_call_start(struct http_call *call, struct arena *arena,
                           const struct http_origin *origin,
                           const struct http_call_request *request,
                           const struct http_timeouts *timeouts);
/*
 * Waits for the head (call->head); interim 1xx are skipped (bounded). A reused connection that
 * dies before the first byte of the answer is replaced once by a new one, free.
 */
YIELDS int http_call_head(struct http_call *call);
/* The next bytes of the body. 0 or -ERR_x; a body that ends early is -ERR_RESET. Waits at most
 * until `deadline_ns` as well as the call's own timeouts: -ERR_TIMEOUT by `deadline_ns` alone
 * leaves the call usable (for heartbeats), see *hit_deadline. */
YIELDS int http_call_read(struct http_call *call, struct http_pieces *pieces, int64_t deadline_ns,
                          bool *hit_deadline);
/* The rest of the body appended to *out; -ERR_LIMIT past `limit` bytes. */
YIELDS int http_call_collect(struct http_call *call, uint64_t limit, struct buf *out);
/* Ends the call: the connection goes back to the pool when all was read and it may, else it is
 * closed at once (which cancels the upstream's work). */
void http_call_finish(struct http_call *call);

struct http_pool_settings {
    uint32_t idle_per_origin;  /* default 128 */
    uint32_t idle_total;       /* default 1024 */
    int64_t idle_timeout_ns;   /* default 60 s */
};
/* For this thread; before the first call. */
void http_pool_init(const struct http_pool_settings *settings);
/* Closes idle connections of origins whose generation is not `generation` (0 = all). */
void http_pool_purge(uint64_t keep_generation);
void http_pool_fini(void);

/* Counters of this thread (relaxed atomics, read by the metrics). */
struct http_pool_stats {
    atomic_uint_fast64_t opened, reused, closed, connect_failures, free_retries;
    atomic_int_fast64_t idle, busy;
};
struct http_pool_stats *http_pool_stats(void);

#endif
