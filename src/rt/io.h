/*
 * One end of a byte stream: a non-blocking socket, with or without TLS on top.
 * Only the loop thread on which io_open was called.
 * What is tagged YIELDS suspends; the try_ forms and the rest do not.
 * The io owns its descriptor and its TLS session; the struct is the caller's (embedded).
 * Results: bytes or 0, or -ERR_CLOSED (EOF in order), -ERR_RESET, -ERR_TIMEOUT, -ERR_CANCELED,
 * -ERR_TLS, -ERR_IO. One task reads and one writes at a time (it may be the same one).
 */
#ifndef WEIR_RT_IO_H
#define WEIR_RT_IO_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "base/str.h"
#include "rt/loop.h"
#include "rt/task.h"

struct io;
struct tls_session; /* rt/tls.h */

/* What lies between the io and the socket. NULL = nothing. All run on the loop's stack. */
struct io_layer {
    /*
     * Reads plain bytes into out (cap > 0). Returns n > 0, 0 when more must come from the socket
     * first, or -ERR_x (-ERR_CLOSED at the orderly end).
     */
    ssize_t (*recv)(struct io *io, char *out, size_t cap);
    /* Takes plain bytes. Returns how many were taken (0 = the socket must drain first) or -ERR_x.
     */
    ssize_t (*writev)(struct io *io, const struct iovec *iov, int count);
    /* Writes what the layer still holds. 0 = all written, 1 = socket full, or -ERR_x. Also called
     * when the socket can be written again and no task waits for that. */
    int (*flush)(struct io *io);
    /* True when recv would give bytes, the end or an error now. May read from the socket, takes in
     * what is not for the reader, and then clears IO_READABLE when the socket is empty. */
    bool (*has_pending)(struct io *io);
    /* Says that nothing more will be written (close_notify); what the socket does not take at once
     * is left to flush. */
    void (*finish)(struct io *io);
    /* Says goodbye as far as it can at once, and frees the session. */
    void (*close)(struct io *io);
};

enum io_flag {
    IO_READABLE = 1, /* the socket may have bytes (or its end) */
    IO_WRITABLE = 2,
    IO_HANGUP = 4, /* the peer has closed its sending side, or all of it */
    IO_FAILED = 8, /* EPOLLERR or EPOLLHUP */
};

struct io {
    struct pollable pollable;
    unsigned flags;
    struct task *reader; /* waits for IO_READABLE */
    struct task *writer; /* waits for IO_WRITABLE */
    struct task *owner;  /* cancelled when the peer hangs up: see io_watch_hangup */
    /* Called on the loop's stack when there is something to read or the peer has gone, for an io
     * that no task waits on (an idle connection, one that many share). It may close the io and free
     * it. */
    void (*on_news)(struct io *io);
    bool tells_room; /* on_news also when the socket can be written again */
    const struct io_layer *layer;
    struct tls_session *tls;
    uint64_t bytes_in; /* on the socket */
    uint64_t bytes_out;
};

/*
 * Takes over a connected (or connecting) non-blocking socket and registers it with this thread's
 * loop. On failure the descriptor is closed.
 */
int io_open(struct io *io, int fd);
/* Closes at once; unsent bytes in the kernel still go out. Waiting tasks must be gone. */
void io_close(struct io *io);
/* Closes so that the peer gets RST: what was not sent is thrown away. */
void io_abort(struct io *io);
bool io_is_open(const struct io *io);
/* Takes the descriptor out of this loop without closing it, to hand it to another thread. -1 when
 * a layer is on it. */
int io_detach(struct io *io);

/*
 * Reads what is there into the loop's scratch buffer and waits for it if need be. *out is valid
 * until the task next yields. Returns the number of bytes (> 0) or -ERR_x.
 * No buffer is held while waiting.
 */
YIELDS ssize_t io_recv(struct io *io, struct str *out, int64_t deadline_ns);
/* The same without waiting: 0 when there is nothing now. */
ssize_t io_try_recv(struct io *io, struct str *out);
/* Reads into the caller's buffer: 1..cap bytes or -ERR_x. For large bodies. */
YIELDS ssize_t io_read(struct io *io, void *buf, size_t cap, int64_t deadline_ns);
/* As io_read without waiting: 0 when there is nothing now. */
ssize_t io_try_read(struct io *io, void *buf, size_t cap);
/* 0 when a read would give bytes, EOF or an error. Reads nothing. */
YIELDS int io_wait_readable(struct io *io, int64_t deadline_ns);

/* 0 when the socket may be read, or written: for who sends and must hear an early answer. */
YIELDS int io_wait_any(struct io *io, int64_t deadline_ns);

/*
 * Parks once: 0 when the socket may be read (or written, when that is asked for), or when someone
 * woke the task for a reason of his own, so the caller looks at everything anew. For a task that
 * serves many others besides its socket.
 */
YIELDS int io_wait_news(struct io *io, bool wants_write, int64_t deadline_ns);

/* Writes all of it, in one call where the socket takes it. `iov` is used up (changed). Parts that
 * lie in the loop's scratch buffer are copied before the task waits. */
YIELDS int io_writev(struct io *io, struct iovec *iov, int count, int64_t deadline_ns);
/* The same with a bound on standing still: -ERR_TIMEOUT when the peer takes nothing for stall_ns.
 */
YIELDS int io_writev_paced(struct io *io, struct iovec *iov, int count, int64_t stall_ns);
YIELDS int io_write(struct io *io, const void *bytes, size_t len, int64_t deadline_ns);
/* What the socket takes at once: 0..total bytes or -ERR_x. `iov` is not changed. */
ssize_t io_try_writev(struct io *io, const struct iovec *iov, int count);

/*
 * While set, the peer's hang-up (FIN, RST) cancels `task` with ERR_RESET, whatever it waits for.
 * At once if it has hung up already. NULL ends it.
 */
void io_watch_hangup(struct io *io, struct task *task);
/* True when the peer's FIN or RST has been seen by the poller. */
bool io_is_hung_up(const struct io *io);

/* Ends the sending side: the layer's goodbye as far as the socket takes it at once, then FIN. */
void io_shutdown_write(struct io *io);
/* The same, and waits until the socket has taken all of it: what tells the peer that nothing is
 * missing. For answers that end with the connection. */
YIELDS int io_finish(struct io *io, int64_t deadline_ns);

/* How many bytes the kernel may hold for the peer before the io counts as full (TCP only): bounds
 * what waits there for one that reads slowly. */
void io_limit_unsent(struct io *io, int bytes);

/* For layers: raw socket calls with the flags kept right. n > 0, 0 = would block, or -ERR_x. */
ssize_t io_raw_recv(struct io *io, void *buf, size_t cap);
ssize_t io_raw_writev(struct io *io, const struct iovec *iov, int count);
/* For layers' handshakes: waits until the socket can be read or written again. */
YIELDS int io_wait_flag(struct io *io, enum io_flag flag, int64_t deadline_ns);

#endif
