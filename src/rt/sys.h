/*
 * The seam over system calls: every socket, poll and file call of the request path goes here.
 * Any thread; nothing yields (descriptors are non-blocking); the caller owns descriptors.
 * Results and errno are those of the call itself; EINTR is retried here.
 * Tests install a hook per thread that can answer instead of the kernel (fail the N-th call,
 * short writes, scripted peers).
 */
#ifndef WEIR_RT_SYS_H
#define WEIR_RT_SYS_H

#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/defs.h"

enum sys_call {
    SYS_SOCKET,
    SYS_BIND,
    SYS_LISTEN,
    SYS_ACCEPT,
    SYS_CONNECT,
    SYS_RECV,
    SYS_WRITEV,
    SYS_SHUTDOWN,
    SYS_SETSOCKOPT,
    SYS_GETSOCKOPT,
    SYS_SOCKETPAIR,
    SYS_CLOSE,
    SYS_EPOLL_CTL,
    SYS_EPOLL_WAIT,
    SYS_EVENTFD,
    SYS_OPEN,
    SYS_READ,
    SYS_WRITE,
    SYS_MMAP,
    SYS_CALL_COUNT
};

/*
 * Called before each system call of this thread. True: the call is not made; *result is returned
 * and errno is what the hook set. False: the kernel is asked.
 */
typedef bool sys_hook_fn(void *ctx, enum sys_call call, int fd, int64_t *result);
void sys_hook(sys_hook_fn *fn, void *ctx);

int sys_socket(int domain, int type, int protocol);
int sys_bind(int fd, const struct sockaddr *addr, socklen_t len);
int sys_listen(int fd, int backlog);
/* Non-blocking and close-on-exec. */
int sys_accept(int fd, struct sockaddr *addr, socklen_t *len);
int sys_connect(int fd, const struct sockaddr *addr, socklen_t len);
ssize_t sys_recv(int fd, void *buf, size_t len, int flags);
/* sendmsg with MSG_NOSIGNAL. */
ssize_t sys_writev(int fd, const struct iovec *iov, int count);
int sys_shutdown(int fd, int how);
int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
/* A connected pair of UNIX stream sockets, non-blocking, close-on-exec. */
int sys_socketpair(int out[2]);
int sys_close(int fd);
int sys_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int sys_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms);
int sys_eventfd(void);
int sys_open(const char *path, int flags, unsigned mode);
ssize_t sys_read(int fd, void *buf, size_t len);
ssize_t sys_write(int fd, const void *buf, size_t len);
/* Anonymous private memory without reservation; MAP_FAILED on error. */
void *sys_mmap(size_t len);

/* The name of a call, for the test that fails each in turn. */
const char *sys_call_name(enum sys_call call);

#endif
