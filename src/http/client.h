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
#include "http/channel.h"
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
    bool speaks_h2;         /* without TLS: HTTP/2 from the first byte; with TLS ALPN decides */
    http_in_process_fn *in_process; /* not NULL: no network, connections are socket pairs */
    void *in_process_ctx;
};
/* Computes `identity`. Credentials of the request are not part of it; client certificates are. */
void http_origin_seal(struct http_origin *origin);

/* 0 = none, except where told. */
struct http_timeouts {
    int64_t connect_ns;        /* names and addresses */
    int64_t tls_ns;            /* the handshake, counted from the end of connect_ns */
    int64_t first_byte_ns;     /* from the request's last byte to the response's first */
    int64_t idle_ns;           /* between two reads of the response, and of a blocked write */
    int64_t total_deadline_ns; /* absolute; CLOCK_NEVER = none */
};

struct http_call_request {
    enum http_method method;
    struct str target; /* path and query */
    /* Host, framing and hop-by-hop headers among them are left out; Host and Content-Length are
     * added, and Accept-Encoding: identity unless it is there. */
    const struct http_headers *headers;
    const struct iovec
        *body; /* must live until the head has been read, not in the loop's scratch */
    int body_count;
    uint64_t body_bytes;
    bool wants_trailers; /* kept in call->trailers, and the upstream is told so (TE); HTTP/2 only */
    bool is_open;        /* the body is sent by http_call_send, as it comes; HTTP/2 only */
    struct str upgrade;  /* "websocket": asks for that protocol, a 101 is an answer. Empty = no */
};

struct http_conn; /* a pooled connection: http/pool.h */
struct h2_call;   /* a stream of one that speaks HTTP/2 */

struct http_call {
    struct http_conn *conn; /* NULL once the connection went back to the pool, or was closed */
    struct h2_call *h2;     /* not NULL on HTTP/2: then many calls share the connection */
    const struct http_origin *origin;
    const struct http_call_request *request; /* until the head is there */
    const struct http_timeouts *timeouts;
    struct arena *arena;
    struct h1_head head;
    struct http_headers trailers; /* whole once the last piece was read; HTTP/2 only */
    bool was_reused;              /* the connection had served a call before */
    bool was_retried;             /* the one free retry was used */
    bool wants_upgrade;
    bool has_head;
    bool is_body_done;
    bool may_reuse;
    bool has_heard;          /* a byte of an answer, be it an interim one, has come */
    bool is_send_cut;        /* not all of the request was sent */
    struct channel *channel; /* what the call has become; the caller's. NULL = an answer */
    unsigned refusals;       /* how often an upstream said that it had not looked at the request */
    unsigned interims;       /* 1xx answers that were skipped */
    struct dial_timing dial;
    /* clock_mono_ns; 0 = not yet. start: of the call; sent: the request's last byte; first_byte: of
     * the final answer. */
    int64_t start_ns, sent_ns, first_byte_ns;
    int64_t quiet_since_ns;       /* since when http_call_read waits; 0 = it does not */
    uint64_t bytes_in, bytes_out; /* of the answer and the request, heads and framing included */
    struct buf unread;            /* read with what came before it, and not yet given out */
    size_t unread_at;
};

/*
 * Sends the request: on an idle connection of the pool, else on a new one. Head and body leave in
 * one write where the socket takes them. Where the upstream answers before it has read the whole
 * body, sending stops and the answer is read. The arena holds the head's strings. -ERR_INVALID when
 * the request cannot be written safely (a line break in a header, a target that is no path).
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
/*
 * The head has served: call->head.headers are empty from now on and the arena that was given to
 * http_call_start may go. `arena` takes its place (for trailers). What frames the body stays.
 */
void http_call_forget_head(struct http_call *call, struct arena *arena);
/*
 * The next bytes of the body (pieces->v is the caller's, for HTTP_PIECES_MAX entries): at least one
 * byte, or is_last. 0 or -ERR_x; a body that ends early is -ERR_RESET. Waits at most until
 * `deadline_ns` as well as the call's own timeouts: -ERR_TIMEOUT with *hit_deadline is due to
 * `deadline_ns` alone and leaves the call usable (for heartbeats). With the last piece the
 * connection may already serve another call.
 */
YIELDS int http_call_read(struct http_call *call, struct http_pieces *pieces, int64_t deadline_ns,
                          bool *hit_deadline);
/*
 * Sends bytes of an open request's body; another task may read the answer meanwhile. Waits while
 * the upstream is far behind. -ERR_CLOSED when it takes nothing more, which is no failure of the
 * call: who reads is told what it came to.
 */
YIELDS int http_call_send(struct http_call *call, const struct iovec *iov, int count, bool is_last);
/* The rest of the body appended to *out; -ERR_LIMIT when it is more than `limit` bytes, at once
 * where its length is known. */
YIELDS int http_call_collect(struct http_call *call, uint64_t limit, struct buf *out);
/*
 * After a head with 101: the connection becomes a byte stream in both directions, which lasts until
 * http_call_finish, as must *channel. That closes it in order if channel_finish was called, else
 * abruptly.
 */
void http_call_upgrade(struct http_call *call, struct channel *channel);
/* Ends the call: the connection goes back to the pool when all was read and it may, else it is
 * closed at once (which cancels the upstream's work). */
void http_call_finish(struct http_call *call);

struct http_pool_settings {
    uint32_t idle_per_origin; /* default 128; 0 = none is kept */
    uint32_t idle_total;      /* default 1024; 0 = none is kept */
    int64_t idle_timeout_ns;  /* default 60 s; 0 = none */
};
/* For this thread; before the first call, and again when the settings have changed. */
void http_pool_init(const struct http_pool_settings *settings);
/* Closes idle connections of origins whose generation is not `keep_generation` (0 = all). Those in
 * use stay as they are and are closed after their call instead of kept. */
void http_pool_purge(uint64_t keep_generation);
/* Closes all idle connections; before loop_free, when no call is left. */
void http_pool_fini(void);

/* Counters of this thread (relaxed atomics, read by the metrics). */
struct http_pool_stats {
    atomic_uint_fast64_t opened, reused, closed, connect_failures, free_retries;
    atomic_int_fast64_t idle, busy;
};
struct http_pool_stats *http_pool_stats(void);

#endif
