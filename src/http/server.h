/*
 * The server side, the same for every HTTP version: a handler gets a request and answers through
 * these calls; HTTP/1.1 stands behind them now, HTTP/2 will.
 * Only the loop thread of the connection.
 * Everything tagged YIELDS may be cancelled when the client hangs up.
 * The request and its arena belong to the server and die when the handler returns.
 * -ERR_x; after the head is sent nothing but the end or an abort can be told to the client.
 */
#ifndef WEIR_HTTP_SERVER_H
#define WEIR_HTTP_SERVER_H

#include <stdatomic.h>

#include "base/buf.h"
#include "http/channel.h"
#include "http/message.h"
#include "rt/addr.h"
#include "rt/task.h"
#include "rt/tls.h"

struct http_request;

/* What a protocol version implements; handlers use the functions below. */
struct http_stream_ops {
    YIELDS int (*read)(struct http_request *r, struct http_pieces *pieces, int64_t deadline);
    YIELDS int (*collect)(struct http_request *r, uint64_t limit, int64_t deadline,
                          struct buf *out);
    /* r->status is set. */
    void (*start)(struct http_request *r, const struct http_headers *h, int64_t content_length);
    YIELDS int (*write)(struct http_request *r, struct iovec *iov, int count, bool is_last,
                        int64_t deadline);
    YIELDS int (*end)(struct http_request *r, const struct http_headers *trailers,
                      int64_t deadline);
    YIELDS int (*upgrade)(struct http_request *r, const struct http_headers *h,
                          struct channel *channel);
    void (*abort)(struct http_request *r);
    void (*watch_hangup)(struct http_request *r, struct task *task);
};

struct http_request {
    const struct http_stream_ops *ops;
    void *stream; /* the version's own state */
    struct arena *arena;
    enum http_method method;
    struct str method_name;
    struct str target;    /* as it came */
    struct str path;      /* target before '?', not decoded */
    struct str query;     /* after '?', or empty */
    struct str authority; /* Host or :authority */
    /* What the request wants its connection to become ("websocket"): Upgrade, or the :protocol of
     * an extended CONNECT (RFC 8441), where it could. Empty = an ordinary request. */
    struct str upgrade;
    struct http_headers headers;
    int64_t content_length; /* as sent; -1 unknown (chunked), 0 no body */
    struct net_addr peer;
    bool is_tls;
    unsigned version_major, version_minor;
    int64_t start_ns; /* when the first byte of the request was read (clock_mono_ns) */
    /* Filled in as the answer goes out. */
    unsigned status;  /* 0 until started */
    bool head_sent;   /* bytes of the head have left */
    bool is_complete; /* the answer was ended in order */
    uint64_t body_bytes_in, body_bytes_out;
};

/* Answers by http_response_*. A handler that returns without an answer gives 500 + close. */
typedef void http_handler_fn(struct http_request *r, void *ctx);

/* Decoded body bytes (content-encoding undone), a read at a time. 0, or -ERR_x; pieces->is_last
 * at the end. Sends "100 Continue" first where it is expected. */
YIELDS int http_request_read(struct http_request *r, struct http_pieces *pieces,
                             int64_t deadline_ns);
/*
 * The whole decoded body appended to *out (with a known length it is read straight into place).
 * -ERR_LIMIT past `limit` bytes (decoded); -ERR_INVALID for broken gzip/br/zstd or an unknown
 * Content-Encoding (the message says which are known); -ERR_PROTOCOL for broken framing,
 * -ERR_TIMEOUT, -ERR_RESET. An answer can follow each of them; the rest of the body is read away,
 * or the connection ends with the answer.
 */
YIELDS int http_request_collect(struct http_request *r, uint64_t limit, int64_t deadline_ns,
                                struct buf *out);

/*
 * Begins the answer. The head is kept back until the first body bytes, the end or a flush, so that
 * they leave in one write. content_length -1: as long as it gets (chunked, or close on 1.0).
 * The server adds Date and framing and drops what is hop-by-hop in `headers` (not copied: must
 * live until the head has left). -ERR_INVALID for what is no final status.
 */
int http_response_start(struct http_request *r, unsigned status, const struct http_headers *headers,
                        int64_t content_length);
/* Body bytes, in one write with the head if that waits still. is_last ends the answer in the same
 * write. iov is used up. With count 0 and !is_last: sends the head now. -ERR_INVALID for more than
 * the Content-Length, -ERR_TIMEOUT when the client takes nothing for write_timeout_ns (the deadline
 * is for versions with a flow control of their own), -ERR_RESET, -ERR_CANCELED. */
YIELDS int http_response_write(struct http_request *r, struct iovec *iov, int count, bool is_last,
                               int64_t deadline_ns);
/* Ends the answer, with trailers or NULL. */
YIELDS int http_response_end(struct http_request *r, const struct http_headers *trailers,
                             int64_t deadline_ns);
/*
 * Instead of an answer: the stream under the request becomes a byte stream in both directions, as
 * r->upgrade asks. Sends the head at once: 101 with Upgrade and Connection added (HTTP/1.1), 200 to
 * an extended CONNECT. The channel lives in the request's arena, for the server looks at it when
 * the handler has returned; the connection (or stream) ends then, in order if channel_finish was
 * called, else so that the client sees it cut. The client's hang-up cancels nobody any more: who
 * reads the channel hears of it. -ERR_INVALID where the request asks for no upgrade.
 */
YIELDS int http_response_upgrade(struct http_request *r, const struct http_headers *headers,
                                 struct channel *channel);
/* The answer cannot be completed: the client must see it cut (no last chunk, connection closed). */
void http_response_abort(struct http_request *r);
/* Whole answer at once. */
YIELDS int http_respond(struct http_request *r, unsigned status, const struct http_headers *headers,
                        struct str body);

/* While set, the client's hang-up cancels `task` (ERR_RESET); NULL ends it and forgets. */
void http_request_watch_hangup(struct http_request *r, struct task *task);

struct http_server_settings {
    struct http_limits limits;
    int64_t head_timeout_ns;       /* from the first byte of a request to the end of its head */
    int64_t body_timeout_ns;       /* between two reads of the body */
    int64_t keep_alive_timeout_ns; /* idle between requests, and before the first */
    int64_t write_timeout_ns;      /* a client that takes nothing for so long is cut off */
    /* The body of the answer to what is no valid HTTP request; NULL = plain text. */
    struct str (*describe_error)(struct arena *arena, unsigned status, const char *message,
                                 struct str *content_type);
};

/*
 * Serves a connected descriptor on this thread in a task of its own: TLS first when tls is given,
 * then requests one after the other (HTTP/1.1) or side by side, each in a task of its own (HTTP/2:
 * by ALPN, or without TLS where the client begins with its preface). `settings` and `ctx` must
 * outlive the connection. Counts itself in loop_stats.load. On failure the descriptor is closed.
 */
void http_serve(int fd, const struct net_addr *peer, struct tls_context *tls,
                const struct http_server_settings *settings, http_handler_fn *handler, void *ctx);

/* From now on this thread's answers say Connection: close; to be called before listening ends, so
 * that nobody is told to come back in between. */
void http_server_announce_drain(void);
/* This thread's connections, from now on: busy ones close after their answer (which says
 * Connection: close), idle ones within half a second unless a request was on its way. */
void http_server_drain(void);
/* Cancels the tasks that still serve a request (ERR_CANCELED); handlers say their last words. */
void http_server_cancel_all(void);
/* Connections of this thread, idle ones included / requests being served. */
size_t http_server_connections(void);
size_t http_server_active(void);

/* Counters of this thread (relaxed atomics, read by the metrics). */
struct http_server_stats {
    atomic_uint_fast64_t accepted, closed, requests, tls_failures, bad_requests, timeouts,
        client_aborts;
};
struct http_server_stats *http_server_stats(void);

#endif
