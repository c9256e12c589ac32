/*
 * A client's HTTP/2 connection, as the files of the server side share it: the pump's task reads and
 * writes frames, each stream has a task that runs the handler as over HTTP/1.
 * Only the loop thread of the connection.
 * h2_serve and what moves a stream's bytes yield; nghttp2's callbacks cannot.
 * A stream belongs to its task once that runs, before to the connection; the connection outlives
 * all of them. Errors as in server.h.
 */
#ifndef WEIR_HTTP_H2_SERVER_H
#define WEIR_HTTP_H2_SERVER_H

#include "http/h1_conn.h"
#include "http/h2_pump.h"

enum {
    H2_STREAMS_MAX = 128, /* at a time, as SETTINGS say */
    /* Tasks that still serve, streams that the client has given up included: more are refused. */
    H2_TASKS_MAX = 2 * H2_STREAMS_MAX,
};

enum h2_drain { H2_OPEN, H2_ASKED, H2_NOTICED, H2_LAST };

struct h2_server {
    struct h2_pump pump;
    struct h1_conn *conn;
    struct list streams;
    unsigned stream_count; /* in the list */
    unsigned task_count;
    int64_t idle_since_ns; /* since when there is no stream */
    enum h2_drain drain;
    int64_t noticed_ns;
    bool is_over; /* nothing more comes or goes */
    /* What nghttp2 does not tell of streams that it has forgotten. */
    int32_t newest_id;
    int32_t skipped_from, skipped_to; /* ids that were passed over last, and so are closed */
    int32_t reset_id;                 /* that the client reset last */
};

struct h2_stream {
    struct http_request request;
    struct h2_server *server;
    struct list node;
    struct task *task; /* NULL until the head is complete */
    int32_t id;
    bool is_closed; /* by the client, or with the connection */

    /* The head. */
    uint32_t head_bytes;
    struct str scheme;
    unsigned refusal; /* the status that the request is refused with, or 0 */
    const char *refusal_text;

    /* The body: `in` holds what has come and is not done with, the first `given` bytes of it are in
     * the reader's hands. Credit goes back when he asks for more. */
    struct request_body body;
    struct buf in;
    size_t given;
    bool in_ended;
    bool expects_continue;
    struct task *reader;

    /* The answer: `out` holds what is not in frames yet, from out_at on. */
    const struct http_headers *answer_headers;
    const struct http_headers *trailers;
    int64_t answer_left; /* bytes of a known length that are still to come; -1 = unknown */
    struct buf out;
    size_t out_at;
    int64_t moved_ns; /* when the client last made room */
    bool head_submitted;
    bool out_ended;   /* nothing will be added to out */
    bool is_deferred; /* nghttp2 has found nothing to send and must be told of more */
    bool end_sent;    /* END_STREAM is in a frame */
    bool is_aborted;
    struct task *writer;
    struct task *owner; /* cancelled when the client gives the stream up */
};

/* h2_server.c */
/* Serves a connection that begins with `first` (valid until the next wait) to its end, in its task.
 */
YIELDS void h2_serve(struct h1_conn *conn, struct str first);
/* Tells the client to come back elsewhere; the connection ends after the last stream. */
void h2_server_drain(struct h2_server *server);
/* Cancels the tasks of all streams (ERR_CANCELED). */
void h2_server_cancel(struct h2_server *server);

/* h2_stream.c */
extern const struct http_stream_ops h2_stream_ops;
YIELDS int h2_stream_read_raw(struct http_request *r, struct http_pieces *pieces, int64_t deadline);
/* Serves the request in the task's name and ends the stream; it is of no more use then. */
YIELDS void h2_stream_serve(struct h2_stream *s);
/* From nghttp2: bytes of the body, its end, what it asks for of the answer. */
int h2_stream_take(struct h2_stream *s, const uint8_t *bytes, size_t len);
void h2_stream_end_input(struct h2_stream *s);
ssize_t h2_stream_fill(struct h2_stream *s, uint8_t *to, size_t room, uint32_t *flags);
void h2_stream_end_sent(struct h2_stream *s);
/* The client has given it up, or has gone. */
void h2_stream_close(struct h2_stream *s);

#endif
