#include "rt/dns_query.h"

#include <ares.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/list.h"
#include "base/mem.h"
#include "rt/loop.h"

enum {
    /* For the first round of servers; c-ares doubles it for each further one. */
    TRY_MS = 1500,
    TRIES = 3,
};
#define RESOLV_CONF "/etc/resolv.conf"
#define CONF_CHECK_NS (5 * NS_PER_SEC)

/* A socket of c-ares in our poller. */
struct dns_socket {
    struct list node;
    struct pollable pollable;
    bool wants_read, wants_write;
    bool is_ready;
};

struct channel {
    ares_channel ares;
    struct list sockets;
    struct job job;     /* c-ares runs only here and in dns_query, never in the poller's dispatch */
    struct timer timer; /* when c-ares next wants to look at its clock */
    unsigned under_way;
    int64_t conf_checked_ns;
    struct timespec conf_modified;
};

static _Thread_local struct channel *channel;
static _Thread_local const char *servers_csv;

struct query {
    dns_result_fn *fn;
    void *arg;
};

/* --- the poller ---------------------------------------------------------------------------------
 */

static struct dns_socket *socket_find(int fd)
{
    LIST_FOR_EACH(node, &channel->sockets)
    {
        struct dns_socket *s = CONTAINER_OF(node, struct dns_socket, node);
        if (s->pollable.fd == fd)
            return s;
    }
    return NULL;
}

static void on_socket_ready(struct pollable *p)
{
    struct dns_socket *s = CONTAINER_OF(p, struct dns_socket, pollable);
    p->ready = 0;
    s->is_ready = true;
    loop_queue(&channel->job);
}

static void socket_free(struct dns_socket *s)
{
    loop_unwatch(&s->pollable);
    list_remove(&s->node);
    mem_free(s);
}

/* c-ares says what it waits for on a socket; nothing at all when it is about to close it. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    (void)arg;
    struct dns_socket *s = socket_find(fd);
    if (readable == 0 && writable == 0) {
        if (s != NULL)
            socket_free(s);
        return;
    }
    if (s == NULL) {
        s = MEM_NEW(struct dns_socket);
        /* Without it nothing wakes us for this socket, and the query ends by its timeout. */
        if (s == NULL)
            return;
        if (loop_watch(&s->pollable, fd, on_socket_ready) < 0) {
            mem_free(s);
            return;
        }
        list_push(&channel->sockets, &s->node);
    }
    s->wants_read = readable != 0;
    s->wants_write = writable != 0;
}

/*
 * The poller tells of changes only, and c-ares does not always read all there is (TCP), so the
 * socket is asked what is left. Returns the poll(2) events, without waiting.
 */
static int socket_events(const struct dns_socket *s)
{
    struct pollfd fd = {.fd = s->pollable.fd,
                        .events =
                            (short)((s->wants_read ? POLLIN : 0) | (s->wants_write ? POLLOUT : 0))};
    return poll(&fd, 1, 0) == 1 ? fd.revents : 0;
}

static struct dns_socket *next_ready_socket(void)
{
    LIST_FOR_EACH(node, &channel->sockets)
    {
        struct dns_socket *s = CONTAINER_OF(node, struct dns_socket, node);
        if (s->is_ready)
            return s;
    }
    return NULL;
}

static void timer_set(void)
{
    struct timeval tv;
    if (ares_timeout(channel->ares, NULL, &tv) == NULL) {
        timer_disarm_lazily(&channel->timer);
        return;
    }
    int64_t wait_ns = tv.tv_sec * NS_PER_SEC + tv.tv_usec * NS_PER_US;
    loop_timer_arm(&channel->timer, clock_add_ns(loop_now_ns(), wait_ns));
}

static void on_job(struct job *job)
{
    (void)job;
    for (struct dns_socket *s; (s = next_ready_socket()) != NULL;) {
        int fd = s->pollable.fd;
        int events = socket_events(s);
        s->is_ready = false;
        if (events == 0)
            continue;
        bool failed = (events & (POLLERR | POLLHUP)) != 0;
        ares_process_fd(channel->ares, (events & POLLIN) != 0 || failed ? fd : ARES_SOCKET_BAD,
                        (events & POLLOUT) != 0 ? fd : ARES_SOCKET_BAD);
        /* It may have been closed, and its number given to a new one, which is asked as well. */
        s = socket_find(fd);
        if (s != NULL)
            s->is_ready = true;
    }
    ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    timer_set();
}

static void on_timer(struct timer *timer)
{
    (void)timer;
    loop_queue(&channel->job);
}

/* --- the channel --------------------------------------------------------------------------------
 */

static void library_init(void)
{
    ares_library_init(ARES_LIB_INIT_ALL);
}

static struct timespec conf_modified(void)
{
    struct stat st;
    return stat(RESOLV_CONF, &st) == 0 ? st.st_mtim : (struct timespec){0};
}

static bool channel_open(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, library_init);
    channel = MEM_NEW(struct channel);
    if (channel == NULL)
        return false;
    list_init(&channel->sockets);
    job_init(&channel->job, on_job);
    timer_init(&channel->timer, on_timer);
    channel->conf_modified = conf_modified();
    channel->conf_checked_ns = loop_now_ns();
    struct ares_options options = {
        .timeout = TRY_MS, .tries = TRIES, .sock_state_cb = on_socket_state};
    int r = ares_init_options(&channel->ares, &options,
                              ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    if (r != ARES_SUCCESS) {
        mem_free(channel);
        channel = NULL;
        return false;
    }
    if (servers_csv != NULL)
        ares_set_servers_ports_csv(channel->ares, servers_csv);
    return true;
}

void dns_query_fini(void)
{
    if (channel == NULL)
        return;
    ares_destroy(channel->ares);
    while (!list_is_empty(&channel->sockets))
        socket_free(CONTAINER_OF(channel->sockets.next, struct dns_socket, node));
    loop_unqueue(&channel->job);
    timer_disarm(&channel->timer);
    mem_free(channel);
    channel = NULL;
}

void dns_query_use_servers(const char *csv)
{
    dns_query_fini();
    servers_csv = csv;
}

/* The channel of this thread, made anew when the system's configuration has changed. */
static bool channel_ready(void)
{
    if (channel != NULL && channel->under_way == 0 &&
        loop_now_ns() - channel->conf_checked_ns >= CONF_CHECK_NS) {
        struct timespec now = conf_modified();
        channel->conf_checked_ns = loop_now_ns();
        if (now.tv_sec != channel->conf_modified.tv_sec ||
            now.tv_nsec != channel->conf_modified.tv_nsec)
            dns_query_fini();
    }
    return channel != NULL || channel_open();
}

/* --- queries ------------------------------------------------------------------------------------
 */

static enum dns_status status_of(int ares_status)
{
    switch (ares_status) {
    case ARES_SUCCESS:
        return DNS_OK;
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
        return DNS_NO_SUCH_NAME;
    case ARES_EBADNAME:
    case ARES_ENONAME:
        return DNS_BAD_NAME;
    default:
        return DNS_FAILED;
    }
}

static void take_addresses(struct dns_result *result, const struct ares_addrinfo *info)
{
    result->ttl_s = UINT32_MAX;
    for (const struct ares_addrinfo_node *n = info->nodes; n != NULL; n = n->ai_next) {
        struct dns_answer *answer = &result->answer;
        if (answer->count == DNS_ADDRS_MAX || n->ai_addrlen > sizeof(answer->addrs[0].u))
            continue;
        struct net_addr *addr = &answer->addrs[answer->count++];
        memset(addr, 0, sizeof(*addr));
        memcpy(&addr->u, n->ai_addr, n->ai_addrlen);
        addr->len = n->ai_addrlen;
        result->ttl_s = MIN(result->ttl_s, (unsigned)MAX(n->ai_ttl, 0));
    }
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    (void)timeouts;
    struct query *query = arg;
    channel->under_way--;
    struct dns_result result = {.status = status_of(status), .reason = ares_strerror(status)};
    if (info != NULL)
        take_addresses(&result, info);
    ares_freeaddrinfo(info);
    if (result.status == DNS_OK && result.answer.count == 0) {
        result.status = DNS_NO_SUCH_NAME;
        result.reason = ares_strerror(ARES_ENODATA);
    }
    query->fn(query->arg, &result);
    mem_free(query);
}

void dns_query(const char *name, dns_result_fn *fn, void *arg)
{
    static const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC,
                                                     .ai_socktype = SOCK_STREAM};
    struct query *query = mem_alloc(sizeof(*query));
    if (query == NULL || !channel_ready()) {
        mem_free(query);
        fn(arg, &(struct dns_result){.status = DNS_FAILED, .reason = "no memory for a resolver"});
        return;
    }
    *query = (struct query){.fn = fn, .arg = arg};
    channel->under_way++;
    ares_getaddrinfo(channel->ares, name, NULL, &hints, on_answer, query);
    timer_set();
}
