#include "rt/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static _Thread_local sys_hook_fn *hook_fn;
static _Thread_local void *hook_ctx;

void sys_hook(sys_hook_fn *fn, void *ctx)
{
    hook_fn = fn;
    hook_ctx = ctx;
}

/* Runs `expr` unless a test's hook answers; repeats it while a signal interrupts it. */
#define SYS_CALL(type, call, fd, expr)                                             \
    do {                                                                           \
        int64_t hooked;                                                            \
        if (UNLIKELY(hook_fn != NULL) && hook_fn(hook_ctx, (call), (fd), &hooked)) \
            return (type)hooked;                                                   \
        type result;                                                               \
        do {                                                                       \
            result = (expr);                                                       \
        } while (UNLIKELY(result < 0) && errno == EINTR);                          \
        return result;                                                             \
    } while (0)

int sys_socket(int domain, int type, int protocol)
{
    SYS_CALL(int, SYS_SOCKET, -1, socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
}

int sys_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    SYS_CALL(int, SYS_BIND, fd, bind(fd, addr, len));
}

int sys_listen(int fd, int backlog)
{
    SYS_CALL(int, SYS_LISTEN, fd, listen(fd, backlog));
}

int sys_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
    SYS_CALL(int, SYS_ACCEPT, fd, accept4(fd, addr, len, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

int sys_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    SYS_CALL(int, SYS_CONNECT, fd, connect(fd, addr, len));
}

ssize_t sys_recv(int fd, void *buf, size_t len, int flags)
{
    SYS_CALL(ssize_t, SYS_RECV, fd, recv(fd, buf, len, flags));
}

ssize_t sys_writev(int fd, const struct iovec *iov, int count)
{
    const struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                               .msg_iovlen = (size_t)count};
    SYS_CALL(ssize_t, SYS_WRITEV, fd,
             count == 1 ? send(fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                        : sendmsg(fd, &msg, MSG_NOSIGNAL));
}

int sys_shutdown(int fd, int how)
{
    SYS_CALL(int, SYS_SHUTDOWN, fd, shutdown(fd, how));
}

int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    SYS_CALL(int, SYS_SETSOCKOPT, fd, setsockopt(fd, level, name, value, len));
}

int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    SYS_CALL(int, SYS_GETSOCKOPT, fd, getsockopt(fd, level, name, value, len));
}

int sys_socketpair(int out[2])
{
    SYS_CALL(int, SYS_SOCKETPAIR, -1,
             socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, out));
}

int sys_close(int fd)
{
    /* Linux closes the descriptor also when close is interrupted: never repeat it. */
    int64_t hooked;
    if (UNLIKELY(hook_fn != NULL) && hook_fn(hook_ctx, SYS_CLOSE, fd, &hooked))
        return (int)hooked;
    return close(fd);
}

int sys_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    SYS_CALL(int, SYS_EPOLL_CTL, fd, epoll_ctl(epfd, op, fd, event));
}

int sys_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms)
{
    /* EINTR goes back to the loop: its timers must be looked at again. */
    int64_t hooked;
    if (UNLIKELY(hook_fn != NULL) && hook_fn(hook_ctx, SYS_EPOLL_WAIT, epfd, &hooked))
        return (int)hooked;
    return epoll_wait(epfd, events, max, timeout_ms);
}

int sys_eventfd(void)
{
    SYS_CALL(int, SYS_EVENTFD, -1, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

int sys_open(const char *path, int flags, unsigned mode)
{
    SYS_CALL(int, SYS_OPEN, -1, open(path, flags | O_CLOEXEC, (mode_t)mode));
}

ssize_t sys_read(int fd, void *buf, size_t len)
{
    SYS_CALL(ssize_t, SYS_READ, fd, read(fd, buf, len));
}

ssize_t sys_write(int fd, const void *buf, size_t len)
{
    SYS_CALL(ssize_t, SYS_WRITE, fd, write(fd, buf, len));
}

void *sys_mmap(size_t len)
{
    int64_t hooked;
    if (UNLIKELY(hook_fn != NULL) && hook_fn(hook_ctx, SYS_MMAP, -1, &hooked))
        return MAP_FAILED;
    return mmap(NULL, len, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
}

const char *sys_call_name(enum sys_call call)
{
    static const char *const names[SYS_CALL_COUNT] = {
        [SYS_SOCKET] = "socket",
        [SYS_BIND] = "bind",
        [SYS_LISTEN] = "listen",
        [SYS_ACCEPT] = "accept",
        [SYS_CONNECT] = "connect",
        [SYS_RECV] = "recv",
        [SYS_WRITEV] = "writev",
        [SYS_SHUTDOWN] = "shutdown",
        [SYS_SETSOCKOPT] = "setsockopt",
        [SYS_GETSOCKOPT] = "getsockopt",
        [SYS_SOCKETPAIR] = "socketpair",
        [SYS_CLOSE] = "close",
        [SYS_EPOLL_CTL] = "epoll_ctl",
        [SYS_EPOLL_WAIT] = "epoll_wait",
        [SYS_EVENTFD] = "eventfd",
        [SYS_OPEN] = "open",
        [SYS_READ] = "read",
        [SYS_WRITE] = "write",
        [SYS_MMAP] = "mmap",
    };
    return call < SYS_CALL_COUNT ? names[call] : "unknown";
}
