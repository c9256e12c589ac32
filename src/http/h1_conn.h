/*
 * A client's HTTP/1 connection, as the files of the server side share it.
 * Only its task, but for the list it is in.
 * What reads and writes yields.
 * The connection owns its io and its read-ahead; a request's memory is in the request's arena.
 * Errors as in server.h.
 */
#ifndef WEIR_HTTP_H1_CONN_H
#define WEIR_HTTP_H1_CONN_H

#include "base/list.h"
#include "http/h1.h"
#include "http/request_body.h"
#include "http/server.h"
#include "rt/io.h"

/* How the body of the answer is framed. */
enum answer_framing { ANSWER_LENGTH, ANSWER_CHUNKED, ANSWER_UNTIL_CLOSE };

struct h1_conn {
    struct io io;
    struct list node; /* in its thread's list */
    struct task *task;
    struct tls_context *tls;
    const struct http_server_settings *settings;
    http_handler_fn *handler;
    void *ctx;
    struct net_addr peer;
    bool is_opening;     /* in the TLS handshake */
    bool is_active;      /* serves a request */
    bool has_waited_out; /* its last chance before a drain ends was used */
    bool lingers;        /* reads on for a moment after its last answer */
    bool resets;         /* ends with RST: the client cannot or must not get what is on its way */

    /* Bytes read ahead: what lies behind `ahead_used` is not parsed yet. */
    struct buf ahead;
    size_t ahead_used;
    struct h2_server *h2; /* not NULL while it speaks HTTP/2 */
    bool has_spoken;      /* it is known which version it speaks */
    struct str fresh; /* the first bytes of a request, in the loop's buffer: to be taken at once */

    /* The request being served. */
    struct http_request request;
    struct h1_parser parser;
    struct h1_head head;
    struct request_body body;
    bool continue_sent;
    bool body_failed; /* its framing broke, or it could not be read: the connection must close */

    /* Its answer. */
    const struct http_headers *answer_headers;
    enum answer_framing framing;
    uint64_t answer_left;    /* ANSWER_LENGTH: bytes still to come */
    bool head_waits;         /* the head is kept back for the first body bytes */
    bool closes;             /* the connection ends with this answer */
    bool is_aborted;         /* no more of the answer may be sent */
    struct channel *channel; /* what the request has become; the handler's. NULL = an answer */
};

/* h1_request.c */
YIELDS int h1_request_read_raw(struct http_request *r, struct http_pieces *pieces,
                               int64_t deadline);
YIELDS int h1_request_read(struct http_request *r, struct http_pieces *pieces, int64_t deadline);
YIELDS int h1_request_collect(struct http_request *r, uint64_t limit, int64_t deadline,
                              struct buf *out);
/* Reads away what the handler left of the body, within bounds. True when the next request can
 * follow. */
YIELDS bool h1_request_drain(struct h1_conn *conn);
/* True when what is left of the body is little enough to be read away. */
bool h1_request_is_drainable(const struct h1_conn *conn);
/* True when bytes were read that are not parsed yet. */
bool h1_conn_has_ahead(const struct h1_conn *conn);
/* The next bytes of the connection: what was read ahead, else at most `most` (no more than
 * LOOP_SCRATCH_BYTES) from the socket. h1_conn_used says how many of them were taken, before the
 * next wait. */
YIELDS ssize_t h1_conn_bytes(struct h1_conn *conn, struct str *bytes, size_t most,
                             int64_t deadline_ns);
int h1_conn_used(struct h1_conn *conn, struct str bytes, size_t used);

/* h1_response.c */
void h1_response_start(struct http_request *r, const struct http_headers *headers,
                       int64_t content_length);
YIELDS int h1_response_write(struct http_request *r, struct iovec *iov, int count, bool is_last,
                             int64_t deadline);
YIELDS int h1_response_end(struct http_request *r, const struct http_headers *trailers,
                           int64_t deadline);
/* 101, and the connection is the handler's. */
YIELDS int h1_response_upgrade(struct http_request *r, const struct http_headers *headers,
                               struct channel *channel);

/* h1_server.c */
bool h1_server_is_draining(void);
/* One request more or less is being served. */
void h1_server_count_active(int change);
/* What came was no valid HTTP. */
void h1_server_note_bad(void);

#endif
