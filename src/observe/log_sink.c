#include "observe/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "rt/sys.h"

/*
 * stdout and stderr are shared with whoever started us, so O_NONBLOCK must not be set on them. A
 * pipe or a terminal is opened anew, which gives a description of our own; a socket (what systemd
 * gives) has MSG_DONTWAIT; a file never makes its writer wait, and shares its offset with the
 * other holders, so it is used as it is.
 */
static int open_inherited(struct log_sink *sink, int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -1;
    sink->fd = fd;
    sink->is_socket = S_ISSOCK(status.st_mode);
    if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
        char path[32];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        int own = sys_open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
        /* Without /proc or the right to open it, or when nobody reads: the descriptor as it is. */
        if (own >= 0) {
            sink->fd = own;
            sink->is_owned = true;
        }
    }
    return 0;
}

static int open_path(struct log_sink *sink, const char *path)
{
    int flags = O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    struct stat status;
    /* As its own reader we may open a FIFO that nobody reads yet, and survive a reader's end. */
    if (stat(path, &status) == 0 && S_ISFIFO(status.st_mode))
        flags = O_RDWR | O_NONBLOCK | O_CLOEXEC;
    sink->fd = sys_open(path, flags, 0640);
    sink->is_owned = true;
    return sink->fd < 0 ? -1 : 0;
}

int log_sink_open(struct log_sink *sink, const char *target)
{
    *sink = LOG_SINK_NONE;
    struct str name = str_c(target);
    int result = str_eq(name, STR("stdout"))   ? open_inherited(sink, STDOUT_FILENO)
                 : str_eq(name, STR("stderr")) ? open_inherited(sink, STDERR_FILENO)
                                               : open_path(sink, target);
    struct stat status;
    if (result < 0 || fstat(sink->fd, &status) < 0) {
        char what[192];
        snprintf(what, sizeof(what), "cannot open the log \"%.150s\"", target);
        result = err_set_errno(ERR_IO, FAULT_GATEWAY, what);
        log_sink_close(sink);
        return result;
    }
    sink->device = status.st_dev;
    sink->inode = status.st_ino;
    return 0;
}

void log_sink_close(struct log_sink *sink)
{
    if (sink->fd >= 0 && sink->is_owned)
        sys_close(sink->fd);
    *sink = LOG_SINK_NONE;
}

ssize_t log_sink_write(struct log_sink *sink, struct str bytes)
{
    ssize_t n = sink->is_socket ? send(sink->fd, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                : sys_write(sink->fd, bytes.ptr, bytes.len);
    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    bool is_gone = errno == EPIPE || errno == ECONNRESET;
    return err_set_errno(is_gone ? ERR_RESET : ERR_IO, FAULT_GATEWAY, "cannot write");
}

bool log_sink_is_same(const struct log_sink *a, const struct log_sink *b)
{
    return a->fd >= 0 && b->fd >= 0 && a->device == b->device && a->inode == b->inode;
}
