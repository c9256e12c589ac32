#include "rt/listener.h"

#include <errno.h>
#include <netinet/tcp.h>

#include "base/log.h"
#include "base/mem.h"
#include "rt/random.h"
#include "rt/sys.h"

enum {
    BACKLOG = 4096,
    /* Connections taken in one go, so that a burst does not hold up the loop's streams. */
    ACCEPTS_A_TURN = 64,
};
#define PAUSE_NS (100 * NS_PER_MS)

struct listener {
    struct pollable pollable;
    struct job again;    /* there may be more in the backlog than one go takes */
    struct timer paused; /* armed while descriptors have run out */
    listener_accept_fn *accept_fn;
    struct log_limit log_limit;
    unsigned self; /* index of this thread's loop in peers */
    unsigned peer_count;
    struct peer {
        struct loop *loop;
        void *ctx;
    } peers[];
};

/* A fresh connection on its way to another thread. */
struct hand_off {
    struct mail mail;
    listener_accept_fn *accept_fn;
    void *ctx;
    int fd;
    struct net_addr addr;
};

static atomic_uint_fast64_t pauses;

/* --- opening --------------------------------------------------------------------------------- */

static int open_failed(const struct net_addr *addr, int fd)
{
    int saved = errno;
    char text[NET_ADDR_TEXT_BYTES];
    net_addr_format(addr, true, text);
    if (fd >= 0)
        sys_close(fd);
    errno = saved;
    const char *hint = saved == EADDRINUSE      ? " (another program listens there)"
                       : saved == EACCES        ? " (ports below 1024 need a privilege)"
                       : saved == EADDRNOTAVAIL ? " (no interface has this address)"
                                                : "";
    int r =
        err_set(ERR_IO, FAULT_GATEWAY, "cannot listen on %s: %s%s", text, strerror(saved), hint);
    err_slot()->errno_value = saved;
    return r;
}

/* A socket bound to addr; with `is_shared` others of this process may bind there too. */
static int open_bound(const struct net_addr *addr, bool is_shared)
{
    int fd = sys_socket(addr->u.any.sa_family, SOCK_STREAM, 0);
    const int on = 1, off = 0;
    if (fd < 0 || sys_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (is_shared && sys_setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0) ||
        /* "[::]" means both families whatever the system's default is. */
        (addr->u.any.sa_family == AF_INET6 &&
         sys_setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0) ||
        sys_bind(fd, &addr->u.any, addr->len) < 0)
        return open_failed(addr, fd);
    return fd;
}

/*
 * With SO_REUSEPORT a second process of the same user would bind as well and take half of the
 * connections in silence; a socket without it finds out who listens already.
 */
static int probe(const struct net_addr *addr)
{
    int fd = open_bound(addr, false);
    if (fd < 0)
        return fd;
    sys_close(fd);
    return 0;
}

int listen_open(const struct net_addr *addr, unsigned count, int *fds, struct net_addr *bound)
{
    bool is_shared = count > 1;
    int r = is_shared && net_addr_port(addr) != 0 ? probe(addr) : 0;
    if (r < 0)
        return r;
    *bound = *addr;
    for (unsigned i = 0; i < count; i++) {
        fds[i] = open_bound(bound, is_shared);
        r = MIN(fds[i], 0);
        if (r == 0 && i == 0) {
            bound->len = sizeof(bound->u);
            if (getsockname(fds[0], &bound->u.any, &bound->len) < 0)
                r = open_failed(addr, -1);
        }
        if (r == 0 && sys_listen(fds[i], BACKLOG) < 0)
            r = open_failed(addr, -1);
        if (r < 0) {
            for (unsigned j = 0; j <= i; j++) {
                if (fds[j] >= 0)
                    sys_close(fds[j]);
            }
            return r;
        }
    }
    return 0;
}

/* --- handing over ---------------------------------------------------------------------------- */

static int64_t load_of(const struct peer *peer)
{
    struct loop_stats *stats = loop_stats(peer->loop);
    return atomic_load_explicit(&stats->load, memory_order_relaxed) +
           atomic_load_explicit(&stats->load_incoming, memory_order_relaxed);
}

/* This thread, or another one that was drawn by lot and has less to do (power of two choices). */
static const struct peer *choose(const struct listener *l)
{
    const struct peer *self = &l->peers[l->self];
    if (l->peer_count < 2)
        return self;
    unsigned other = (unsigned)random_below(l->peer_count - 1);
    const struct peer *peer = &l->peers[other + (other >= l->self)];
    return load_of(peer) < load_of(self) ? peer : self;
}

static void on_hand_off(struct mail *mail)
{
    struct hand_off *h = CONTAINER_OF(mail, struct hand_off, mail);
    h->accept_fn(h->ctx, h->fd, &h->addr);
    atomic_fetch_sub_explicit(&loop_stats(loop_self())->load_incoming, 1, memory_order_relaxed);
    mem_free(h);
}

static void deliver(struct listener *l, int fd, const struct net_addr *addr)
{
    const struct peer *peer = choose(l);
    struct hand_off *h = peer == &l->peers[l->self] ? NULL : mem_alloc(sizeof(*h));
    if (h == NULL) {
        l->accept_fn(l->peers[l->self].ctx, fd, addr);
        return;
    }
    *h = (struct hand_off){.mail.fn = on_hand_off,
                           .accept_fn = l->accept_fn,
                           .ctx = peer->ctx,
                           .fd = fd,
                           .addr = *addr};
    /* Counted before it arrives: a burst must not all go to the thread that was idle just now. */
    atomic_fetch_add_explicit(&loop_stats(peer->loop)->load_incoming, 1, memory_order_relaxed);
    loop_post(peer->loop, &h->mail);
}

/* --- accepting ------------------------------------------------------------------------------- */

enum accepted { ACCEPTED_ONE, ACCEPTED_NONE_LEFT, ACCEPT_PAUSE };

static enum accepted accept_one(struct listener *l)
{
    struct net_addr addr = {.len = sizeof(addr.u)};
    int fd = sys_accept(l->pollable.fd, &addr.u.any, &addr.len);
    if (fd < 0) {
        switch (errno) {
        case EAGAIN:
            return ACCEPTED_NONE_LEFT;
        /* accept(2): what went wrong on the new connection's network is not the listener's. */
        case ECONNABORTED:
        case EPERM:
        case EPROTO:
        case ENETDOWN:
        case ENETUNREACH:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ENONET:
        case ENOPROTOOPT:
            return ACCEPTED_ONE;
        default:
            return ACCEPT_PAUSE;
        }
    }
    net_addr_unmap(&addr);
    const int on = 1;
    sys_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    deliver(l, fd, &addr);
    return ACCEPTED_ONE;
}

static void pause_accepting(struct listener *l)
{
    int saved = errno;
    atomic_fetch_add_explicit(&pauses, 1, memory_order_relaxed);
    unsigned suppressed;
    if (log_allow(&l->log_limit, 2, &suppressed))
        log_event(LOG_ERROR, "listener",
                  "cannot accept connections: %s; trying again every 100 ms%s", strerror(saved),
                  saved == EMFILE ? " (raise the limit of open files: ulimit -n)" : "");
    loop_timer_arm(&l->paused, clock_add_ns(loop_now_ns(), PAUSE_NS));
}

static void accept_some(struct listener *l)
{
    for (unsigned i = 0; i < ACCEPTS_A_TURN; i++) {
        switch (accept_one(l)) {
        case ACCEPTED_ONE:
            break;
        case ACCEPTED_NONE_LEFT:
            return;
        case ACCEPT_PAUSE:
            pause_accepting(l);
            return;
        }
    }
    loop_queue(&l->again);
}

static void on_readable(struct pollable *p)
{
    p->ready = 0;
    struct listener *l = CONTAINER_OF(p, struct listener, pollable);
    if (l->paused.deadline_ns == CLOCK_NEVER)
        accept_some(l);
}

static void on_again(struct job *job)
{
    accept_some(CONTAINER_OF(job, struct listener, again));
}

static void on_pause_over(struct timer *timer)
{
    accept_some(CONTAINER_OF(timer, struct listener, paused));
}

struct listener *listener_start(int fd, listener_accept_fn *accept_fn, struct loop *const *peers,
                                void *const *ctxs, unsigned peer_count)
{
    struct listener *l = mem_calloc(1, sizeof(*l) + peer_count * sizeof(l->peers[0]));
    if (l == NULL) {
        err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a listener");
        return NULL;
    }
    l->accept_fn = accept_fn;
    l->peer_count = peer_count;
    l->self = peer_count;
    for (unsigned i = 0; i < peer_count; i++) {
        l->peers[i] = (struct peer){.loop = peers[i], .ctx = ctxs[i]};
        if (peers[i] == loop_self())
            l->self = i;
    }
    CHECK(l->self < peer_count);
    job_init(&l->again, on_again);
    timer_init(&l->paused, on_pause_over);
    if (loop_watch(&l->pollable, fd, on_readable) < 0) {
        mem_free(l);
        return NULL;
    }
    return l;
}

void listener_stop(struct listener *listener, bool close_fd)
{
    loop_unqueue(&listener->again);
    timer_disarm(&listener->paused);
    loop_unwatch(&listener->pollable);
    if (close_fd) {
        /* Whoever is in the backlog has been told that the connection stands. */
        while (accept_one(listener) == ACCEPTED_ONE)
            ;
        sys_close(listener->pollable.fd);
    }
    mem_free(listener);
}

uint64_t listener_pauses(void)
{
    return atomic_load_explicit(&pauses, memory_order_relaxed);
}
