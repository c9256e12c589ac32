/*
 * One HTTP/2 connection's bytes, for both sides: nghttp2 between a socket and the streams' tasks.
 * Only the loop thread of the connection.
 * h2_pump_wait yields, in the pump's own task; the rest does not. nghttp2 runs on the loop's stack,
 * and its callbacks can neither yield nor move bytes: they fill queues and wake tasks.
 * The pump owns the session and the frames that wait for the socket; the io is the caller's.
 * -ERR_x of the socket, -ERR_PROTOCOL, -ERR_NOMEM; after any of them the connection is over.
 */
#ifndef WEIR_HTTP_H2_PUMP_H
#define WEIR_HTTP_H2_PUMP_H

#include <nghttp2/nghttp2.h>

#include "base/buf.h"
#include "http/message.h"
#include "rt/io.h"

enum {
    H2_STREAM_WINDOW_BYTES = 256 * 1024, /* what a stream may bring before its reader takes it */
    /* All streams together: one that nobody reads is not to hold up the others. */
    H2_CONN_WINDOW_BYTES = 128 * H2_STREAM_WINDOW_BYTES,
    H2_STREAM_OUT_BYTES = 64 * 1024, /* what a stream's writer may be ahead of the peer */
};

struct h2_pump {
    struct io *io;
    struct task *task; /* what h2_pump_wake wakes, or NULL: then it queues the job */
    struct job job;
    nghttp2_session *session;
    struct buf out;       /* frames that the socket has not taken */
    int64_t out_since_ns; /* since when it has taken none of them */
    int64_t heard_ns;     /* when bytes last came */
    /* What a peer may still ask for that costs us work and brings nothing: h2_pump_charge. */
    int64_t credit;
    int64_t credit_ns;
    bool is_flooded;
};

/* Which of nghttp2's callbacks a side uses; user_data is the h2_pump. */
typedef void h2_pump_callbacks(nghttp2_session_callbacks *callbacks);

/* Makes the session. Who calls drives the pump: the task that runs, or `job` where one is given. */
int h2_pump_open(struct h2_pump *p, struct io *io, bool is_server, h2_pump_callbacks *more,
                 job_fn *job);
void h2_pump_close(struct h2_pump *p);
/* The first words of a side: its settings, and room for what all streams may bring together. */
int h2_pump_greet(struct h2_pump *p, const nghttp2_settings_entry *settings, size_t count);
/* Someone has put something into the session: it leaves when all tasks that are ready have run. */
void h2_pump_wake(struct h2_pump *p);
/* Bytes from the peer that were read already. 0 or -ERR_x. */
int h2_pump_feed(struct h2_pump *p, struct str bytes);
/* Reads what is there and writes what there is. 1 = there is more to read, 0, or -ERR_x. */
int h2_pump_move(struct h2_pump *p);
/* Only writes. */
int h2_pump_send(struct h2_pump *p);
/* Waits for the socket or h2_pump_wake: 0, -ERR_TIMEOUT, -ERR_CANCELED. */
YIELDS int h2_pump_wait(struct h2_pump *p, int64_t deadline_ns);
/* False when neither side has anything more to say. */
bool h2_pump_is_alive(const struct h2_pump *p);
/* For on_begin_frame: a peer that asks for too much of what brings nothing is told so, and that is
 * the end of the connection. What the callback returns. */
int h2_pump_charge(struct h2_pump *p, const nghttp2_frame_hd *hd);
/* For on_frame_send: data that leaves pays for the frames that a peer answers it with. */
void h2_pump_sent(struct h2_pump *p, const nghttp2_frame *frame);

/* One header field as nghttp2 wants it: nothing is copied here. */
static inline nghttp2_nv h2_nv(struct str name, struct str value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.ptr, (uint8_t *)(uintptr_t)value.ptr, name.len,
                        value.len, NGHTTP2_NV_FLAG_NONE};
}

static inline struct str h2_str(nghttp2_rcbuf *rcbuf)
{
    nghttp2_vec v = nghttp2_rcbuf_get_buf(rcbuf);
    return str_n((const char *)v.base, v.len);
}

/* nghttp2's error as one of ours, with a message. */
int h2_error(int code, const char *what);

#endif
