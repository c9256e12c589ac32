/*
 * A byte stream in both directions that a request has become: what stands behind a WebSocket,
 * whatever HTTP version carries it.
 * Only the loop thread of the connection; one task may read while another writes.
 * Everything tagged YIELDS is cancellable.
 * The channel is the caller's (embedded); the connection under it belongs to the request or the
 * call that became one, and ends with that.
 * As in rt/io.h: -ERR_CLOSED (the peer's orderly end), -ERR_RESET, -ERR_TIMEOUT, -ERR_CANCELED.
 */
#ifndef WEIR_HTTP_CHANNEL_H
#define WEIR_HTTP_CHANNEL_H

#include "base/str.h"
#include "rt/io.h"

struct channel;

/* What a protocol version implements. */
struct channel_ops {
    YIELDS ssize_t (*read)(struct channel *ch, char *out, size_t cap, int64_t deadline_ns);
    YIELDS int (*write)(struct channel *ch, struct iovec *iov, int count, int64_t stall_ns);
    YIELDS int (*finish)(struct channel *ch, int64_t deadline_ns);
};

struct channel {
    const struct channel_ops *ops;
    void *stream;      /* the version's own */
    struct str unread; /* bytes that came with the head; they live as long as the connection */
    uint64_t bytes_in, bytes_out;
    bool is_finished; /* channel_finish was called, and all went out */
};

/* 1..cap bytes, or -ERR_x. `out` may be the loop's scratch buffer. */
YIELDS ssize_t channel_read(struct channel *ch, char *out, size_t cap, int64_t deadline_ns);
/* All of it; `iov` is used up. -ERR_TIMEOUT when the peer takes nothing for stall_ns. Parts in the
 * loop's scratch buffer are copied before a wait. */
YIELDS int channel_write(struct channel *ch, const void *bytes, size_t len, int64_t stall_ns);
/* Ends the sending side, once everything is out. Reading goes on. */
YIELDS int channel_finish(struct channel *ch, int64_t deadline_ns);

/* Over a connection that carries nothing else any more (HTTP/1.1). */
void channel_over_io(struct channel *ch, struct io *io, struct str unread);

#endif
