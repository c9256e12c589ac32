#include "http/channel.h"

#include "base/err.h"

YIELDS ssize_t channel_read(struct channel *ch, char *out, size_t cap, int64_t deadline_ns)
{
    if (ch->unread.len > 0) {
        int r = task_check_cancel();
        if (r < 0)
            return r;
        size_t n = MIN(cap, ch->unread.len);
        memcpy(out, ch->unread.ptr, n);
        ch->unread = str_skip(ch->unread, n);
        ch->bytes_in += n;
        return (ssize_t)n;
    }
    ssize_t n = ch->ops->read(ch, out, cap, deadline_ns);
    if (n > 0)
        ch->bytes_in += (uint64_t)n;
    return n;
}

YIELDS int channel_write(struct channel *ch, const void *bytes, size_t len, int64_t stall_ns)
{
    struct iovec iov = {(void *)(uintptr_t)bytes, len};
    int r = ch->ops->write(ch, &iov, 1, stall_ns);
    if (r == 0)
        ch->bytes_out += len;
    return r;
}

YIELDS int channel_finish(struct channel *ch, int64_t deadline_ns)
{
    int r = ch->ops->finish(ch, deadline_ns);
    ch->is_finished = r == 0;
    return r;
}

/* --- HTTP/1.1 --- */

YIELDS static ssize_t read_io(struct channel *ch, char *out, size_t cap, int64_t deadline_ns)
{
    return io_read(ch->stream, out, cap, deadline_ns);
}

YIELDS static int write_io(struct channel *ch, struct iovec *iov, int count, int64_t stall_ns)
{
    return io_writev_paced(ch->stream, iov, count, stall_ns);
}

YIELDS static int finish_io(struct channel *ch, int64_t deadline_ns)
{
    return io_finish(ch->stream, deadline_ns);
}

void channel_over_io(struct channel *ch, struct io *io, struct str unread)
{
    static const struct channel_ops ops = {
        .read = read_io,
        .write = write_io,
        .finish = finish_io,
    };
    *ch = (struct channel){.ops = &ops, .stream = io, .unread = unread};
}
