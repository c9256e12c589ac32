#include "rt/io.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "base/mem.h"
#include "rt/sys.h"

/* Runs on the loop's stack when the poller has news of the socket. */
static void on_ready(struct pollable *p)
{
    struct io *io = CONTAINER_OF(p, struct io, pollable);
    uint32_t events = p->ready;
    p->ready = 0;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        io->flags |= IO_READABLE;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0)
        io->flags |= IO_WRITABLE;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        io->flags |= IO_HANGUP;
    if ((events & (EPOLLHUP | EPOLLERR)) != 0)
        io->flags |= IO_FAILED;
    if (io->reader != NULL && (io->flags & IO_READABLE) != 0)
        task_wake(io->reader);
    if (io->writer != NULL && (io->flags & IO_WRITABLE) != 0)
        task_wake(io->writer);
    else if (io->layer != NULL && (events & EPOLLOUT) != 0)
        io->layer->flush(io); /* an error of it is met by the next write */
    if (io->owner != NULL && (io->flags & IO_HANGUP) != 0)
        task_cancel(io->owner, ERR_RESET);
    bool has_news = (io->flags & (IO_READABLE | IO_HANGUP)) != 0 ||
                    (io->tells_room && (events & EPOLLOUT) != 0);
    if (io->on_news != NULL && has_news)
        io->on_news(io); /* the last act: the io may be gone */
}

int io_open(struct io *io, int fd)
{
    *io = (struct io){.flags = IO_WRITABLE};
    int r = loop_watch(&io->pollable, fd, on_ready);
    if (r < 0) {
        sys_close(fd);
        io->pollable.fd = -1;
    }
    return r;
}

bool io_is_open(const struct io *io)
{
    return io->pollable.fd >= 0;
}

static void layer_close(void *arg)
{
    struct io *io = arg;
    io->layer->close(io);
}

static void forget(struct io *io)
{
    CHECK(io->reader == NULL && io->writer == NULL);
    io->owner = NULL;
    io->on_news = NULL;
    io->pollable.fd = -1;
}

void io_close(struct io *io)
{
    if (!io_is_open(io))
        return;
    if (io->layer != NULL)
        on_loop_stack(layer_close, io);
    io->layer = NULL;
    /* Closing alone takes a descriptor out of the poller only when no other process has a copy:
     * a child between fork and exec would leave us with events for an io that is gone. */
    loop_unwatch(&io->pollable);
    sys_close(io->pollable.fd);
    forget(io);
}

void io_abort(struct io *io)
{
    if (!io_is_open(io))
        return;
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    sys_setsockopt(io->pollable.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    io_close(io);
}

int io_detach(struct io *io)
{
    if (io->layer != NULL)
        return -1;
    int fd = io->pollable.fd;
    loop_unwatch(&io->pollable);
    forget(io);
    return fd;
}

/* A failed socket call as an error of ours; would-block is for the caller to sort out first. */
static int socket_error(const char *what)
{
    switch (errno) {
    case ECONNRESET:
    case EPIPE:
    case ENOTCONN:
        return err_set(ERR_RESET, FAULT_NONE, "connection reset by peer");
    case ETIMEDOUT:
        return err_set(ERR_TIMEOUT, FAULT_NONE, "connection timed out");
    default:
        return err_set_errno(ERR_IO, FAULT_NONE, what);
    }
}

ssize_t io_raw_recv(struct io *io, void *buf, size_t cap)
{
    if ((io->flags & IO_READABLE) == 0)
        return 0;
    ssize_t n = sys_recv(io->pollable.fd, buf, cap, 0);
    if (n > 0) {
        io->bytes_in += (uint64_t)n;
        /* A short read has drained the socket, so no second call is needed to hear EAGAIN; but
         * after a hang-up no further edge will come, so the end itself must still be read. */
        if ((size_t)n < cap && (io->flags & IO_HANGUP) == 0)
            io->flags &= ~(unsigned)IO_READABLE;
        return n;
    }
    if (n == 0)
        return err_set(ERR_CLOSED, FAULT_NONE, "connection closed by peer");
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        io->flags &= ~(unsigned)IO_READABLE;
        return 0;
    }
    return socket_error("recv");
}

ssize_t io_raw_writev(struct io *io, const struct iovec *iov, int count)
{
    if ((io->flags & IO_WRITABLE) == 0)
        return 0;
    ssize_t n = sys_writev(io->pollable.fd, iov, count);
    if (n >= 0) {
        io->bytes_out += (uint64_t)n;
        return n;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        io->flags &= ~(unsigned)IO_WRITABLE;
        return 0;
    }
    return socket_error("send");
}

YIELDS int io_wait_flag(struct io *io, enum io_flag flag, int64_t deadline_ns)
{
    struct task **waiter = flag == IO_READABLE ? &io->reader : &io->writer;
    while ((io->flags & (unsigned)flag) == 0) {
        CHECK(*waiter == NULL);
        *waiter = task_self();
        int r = task_park(deadline_ns);
        *waiter = NULL;
        if (r < 0)
            return r;
    }
    return 0;
}

YIELDS int io_wait_any(struct io *io, int64_t deadline_ns)
{
    while ((io->flags & (IO_READABLE | IO_WRITABLE)) == 0) {
        CHECK(io->reader == NULL && io->writer == NULL);
        io->reader = io->writer = task_self();
        int r = task_park(deadline_ns);
        io->reader = io->writer = NULL;
        if (r < 0)
            return r;
    }
    return 0;
}

YIELDS int io_wait_news(struct io *io, bool wants_write, int64_t deadline_ns)
{
    unsigned wanted = IO_READABLE | (wants_write ? (unsigned)IO_WRITABLE : 0);
    if ((io->flags & wanted) != 0)
        return 0;
    CHECK(io->reader == NULL && io->writer == NULL);
    io->reader = task_self();
    io->writer = wants_write ? io->reader : NULL;
    int r = task_park(deadline_ns);
    io->reader = io->writer = NULL;
    return r;
}

/* The layer's calls as one argument for on_loop_stack. */
struct layer_call {
    struct io *io;
    char *out;
    size_t cap;
    const struct iovec *iov;
    int count;
    ssize_t result;
};

static void layer_recv(void *arg)
{
    struct layer_call *call = arg;
    call->result = call->io->layer->recv(call->io, call->out, call->cap);
}

static void layer_writev(void *arg)
{
    struct layer_call *call = arg;
    call->result = call->io->layer->writev(call->io, call->iov, call->count);
}

static void layer_flush(void *arg)
{
    struct layer_call *call = arg;
    call->result = call->io->layer->flush(call->io);
}

static void layer_has_pending(void *arg)
{
    struct layer_call *call = arg;
    call->result = call->io->layer->has_pending(call->io);
}

ssize_t io_try_read(struct io *io, void *buf, size_t cap)
{
    if (io->layer == NULL)
        return io_raw_recv(io, buf, cap);
    struct layer_call call = {.io = io, .out = buf, .cap = cap};
    on_loop_stack(layer_recv, &call);
    return call.result;
}

ssize_t io_try_recv(struct io *io, struct str *out)
{
    char *scratch = loop_scratch();
    ssize_t n = io_try_read(io, scratch, LOOP_SCRATCH_BYTES);
    *out = str_n(scratch, n > 0 ? (size_t)n : 0);
    return n;
}

YIELDS ssize_t io_read(struct io *io, void *buf, size_t cap, int64_t deadline_ns)
{
    for (;;) {
        ssize_t n = io_try_read(io, buf, cap);
        if (n != 0)
            return n;
        int r = io_wait_flag(io, IO_READABLE, deadline_ns);
        if (r < 0)
            return r;
    }
}

YIELDS ssize_t io_recv(struct io *io, struct str *out, int64_t deadline_ns)
{
    ssize_t n = io_read(io, loop_scratch(), LOOP_SCRATCH_BYTES, deadline_ns);
    *out = str_n(loop_scratch(), n > 0 ? (size_t)n : 0);
    return n;
}

YIELDS int io_wait_readable(struct io *io, int64_t deadline_ns)
{
    if (io->layer == NULL)
        return io_wait_flag(io, IO_READABLE, deadline_ns);
    for (;;) {
        struct layer_call call = {.io = io};
        on_loop_stack(layer_has_pending, &call);
        if (call.result != 0)
            return 0;
        int r = io_wait_flag(io, IO_READABLE, deadline_ns);
        if (r < 0)
            return r;
    }
}

ssize_t io_try_writev(struct io *io, const struct iovec *iov, int count)
{
    if (io->layer == NULL)
        return io_raw_writev(io, iov, count);
    struct layer_call call = {.io = io, .iov = iov, .count = count};
    on_loop_stack(layer_writev, &call);
    return call.result;
}

/* Moves past the n bytes that were taken; the number of parts that are left. */
static int iov_advance(struct iovec **iov, int count, size_t n)
{
    while (count > 0 && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        (*iov)++;
        count--;
    }
    if (count > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
    return count;
}

/* Until when a write may wait: a fixed time, or so long after the socket last took something. */
struct write_patience {
    int64_t deadline_ns;
    int64_t stall_ns; /* 0 = the deadline counts */
};

YIELDS static int wait_writable(struct io *io, const struct write_patience *patience)
{
    int64_t deadline_ns = patience->deadline_ns;
    if (patience->stall_ns > 0)
        deadline_ns = clock_add_ns(loop_now_ns(), patience->stall_ns);
    return io_wait_flag(io, IO_WRITABLE, deadline_ns);
}

/* Waits until a layer has given all it holds to the socket. */
YIELDS static int flush_layer(struct io *io, const struct write_patience *patience)
{
    for (;;) {
        struct layer_call call = {.io = io};
        on_loop_stack(layer_flush, &call);
        if (call.result <= 0)
            return (int)call.result;
        int r = wait_writable(io, patience);
        if (r < 0)
            return r;
    }
}

static bool lies_in_scratch(const struct iovec *part)
{
    uintptr_t at = (uintptr_t)part->iov_base, scratch = (uintptr_t)loop_scratch();
    return at >= scratch && at < scratch + LOOP_SCRATCH_BYTES;
}

/* Before a wait: what a reader left in the scratch buffer would be overwritten by other tasks. The
 * parts are moved to a block of *size bytes; NULL with 0 when there are none. */
static int rescue(struct iovec *iov, int count, void **block, size_t *size)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += lies_in_scratch(&iov[i]) ? iov[i].iov_len : 0;
    if (bytes == 0)
        return 0;
    *size = bytes;
    char *to = *block = mem_block_take(size);
    if (to == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for what waits to be sent");
    for (int i = 0; i < count; i++) {
        if (!lies_in_scratch(&iov[i]))
            continue;
        memcpy(to, iov[i].iov_base, iov[i].iov_len);
        iov[i].iov_base = to;
        to += iov[i].iov_len;
    }
    return 0;
}

YIELDS static int write_all(struct io *io, struct iovec *iov, int count,
                            const struct write_patience *patience)
{
    enum { IOV_AT_ONCE = 1024 }; /* Linux's UIO_MAXIOV */
    void *block = NULL;
    size_t block_size = 0;
    int r = 0;
    count = iov_advance(&iov, count, 0);
    while (count > 0 && r == 0) {
        ssize_t n = io_try_writev(io, iov, MIN(count, IOV_AT_ONCE));
        if (n < 0)
            r = (int)n;
        else
            count = iov_advance(&iov, count, (size_t)n);
        if (n != 0 || count == 0)
            continue;
        if (block == NULL)
            r = rescue(iov, count, &block, &block_size);
        if (r == 0)
            r = wait_writable(io, patience);
    }
    mem_block_give(block, block_size);
    return io->layer == NULL || r < 0 ? r : flush_layer(io, patience);
}

YIELDS int io_writev(struct io *io, struct iovec *iov, int count, int64_t deadline_ns)
{
    const struct write_patience patience = {.deadline_ns = deadline_ns};
    return write_all(io, iov, count, &patience);
}

YIELDS int io_writev_paced(struct io *io, struct iovec *iov, int count, int64_t stall_ns)
{
    const struct write_patience patience = {.stall_ns = stall_ns};
    return write_all(io, iov, count, &patience);
}

YIELDS int io_write(struct io *io, const void *bytes, size_t len, int64_t deadline_ns)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    return io_writev(io, &iov, 1, deadline_ns);
}

void io_watch_hangup(struct io *io, struct task *task)
{
    io->owner = task;
    if (task != NULL && (io->flags & IO_HANGUP) != 0)
        task_cancel(task, ERR_RESET);
}

bool io_is_hung_up(const struct io *io)
{
    return (io->flags & IO_HANGUP) != 0;
}

static void layer_finish(void *arg)
{
    struct io *io = arg;
    io->layer->finish(io);
}

void io_shutdown_write(struct io *io)
{
    if (!io_is_open(io))
        return;
    if (io->layer != NULL)
        on_loop_stack(layer_finish, io);
    sys_shutdown(io->pollable.fd, SHUT_WR);
}

YIELDS int io_finish(struct io *io, int64_t deadline_ns)
{
    if (io->layer != NULL) {
        const struct write_patience patience = {.deadline_ns = deadline_ns};
        on_loop_stack(layer_finish, io);
        int r = flush_layer(io, &patience);
        if (r < 0)
            return r;
    }
    sys_shutdown(io->pollable.fd, SHUT_WR);
    return 0;
}

void io_limit_unsent(struct io *io, int bytes)
{
    sys_setsockopt(io->pollable.fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}
