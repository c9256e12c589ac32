#include "http/pool.h"

#include "base/clock.h"
#include "base/mem.h"
#include "http/h2_client.h"
#include "rt/sys.h"

/*
 * Connections are kept by site: one per origin that connections exist for, with its own copy of
 * what makes the origin, because an idle connection outlives the snapshot that it was opened for.
 * While a connection is idle any news of it (the peer's FIN, a reset, bytes that nobody asked for)
 * closes it in the same turn, so that hardly ever a dead one is taken.
 */

enum {
    SITE_BUCKETS = 64,
    /* Calls that wait for one connection that is being opened: what it usually has room for. */
    WAITERS_A_CONN = 100,
};

enum site_version { SITE_UNKNOWN, SITE_HTTP1, SITE_HTTP2 };

struct http_site {
    struct list node; /* in its bucket */
    struct http_origin origin;
    struct list idle; /* http_conn.site_node, last used first */
    uint32_t idle_count;
    uint32_t conns;     /* idle, shared and in use; the site goes with the last */
    struct list shared; /* http_conn.site_node: those that speak HTTP/2 and take calls */
    enum site_version version;
    uint32_t opening; /* connections that are being opened */
    struct list waiters;
    uint32_t waiting;
};

/* A call that waits for another's connection to be opened. */
struct waiter {
    struct list node;
    struct task *task;
};

struct pool {
    bool is_ready;
    struct http_pool_settings settings;
    uint64_t keep_generation; /* 0 = any */
    struct list sites[SITE_BUCKETS];
    struct list idle; /* http_conn.idle_node, longest idle first */
    uint32_t idle_count;
    struct timer timer; /* for the first of `idle` */
};

static _Thread_local struct pool pool;
static _Thread_local struct http_pool_stats stats;

struct http_pool_stats *http_pool_stats(void)
{
    return &stats;
}

/* Only this thread writes: no locked instruction is needed. */
static void count(atomic_uint_fast64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void gauge(atomic_int_fast64_t *value, int64_t change)
{
    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + change,
                          memory_order_relaxed);
}

void pool_note_free_retry(void)
{
    count(&stats.free_retries);
}

/* --- origins and sites --- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

static uint64_t mix_pointer(uint64_t h, const void *p)
{
    return mix(h, (uint64_t)(uintptr_t)p);
}

void http_origin_seal(struct http_origin *origin)
{
    const struct dial_target *t = &origin->target;
    uint64_t h = origin->generation;
    h = mix(mix(mix(h, str_hash(t->host)), t->port), str_hash(t->tls_host));
    h = mix_pointer(mix_pointer(h, t->tls), t->proxy.tls);
    h = mix(h, (uint64_t)t->policy.allow_link_local << 2 | (uint64_t)t->policy.allow_loopback << 1 |
                   (uint64_t)t->policy.allow_private);
    h = mix(mix(h, str_hash(t->proxy.host)), t->proxy.port);
    h = mix(mix(h, t->proxy.is_tls), str_hash(t->proxy.authorization));
    h = mix(h, str_hash(origin->host_header));
    h = mix(h, (uint64_t)origin->speaks_h2 << 1 | (uint64_t)t->is_http1_only);
    h = mix(h, (uint64_t)(uintptr_t)origin->in_process);
    origin->identity = mix_pointer(h, origin->in_process_ctx);
}

static bool is_same_target(const struct dial_target *a, const struct dial_target *b)
{
    return str_eq(a->host, b->host) && a->port == b->port && a->tls == b->tls &&
           a->is_http1_only == b->is_http1_only && str_eq(a->tls_host, b->tls_host) &&
           a->policy.allow_loopback == b->policy.allow_loopback &&
           a->policy.allow_private == b->policy.allow_private &&
           a->policy.allow_link_local == b->policy.allow_link_local &&
           str_eq(a->proxy.host, b->proxy.host) && a->proxy.port == b->proxy.port &&
           a->proxy.is_tls == b->proxy.is_tls && a->proxy.tls == b->proxy.tls &&
           str_eq(a->proxy.authorization, b->proxy.authorization);
}

static bool is_same_origin(const struct http_origin *a, const struct http_origin *b)
{
    return a->identity == b->identity && a->generation == b->generation &&
           is_same_target(&a->target, &b->target) && str_eq(a->host_header, b->host_header) &&
           a->speaks_h2 == b->speaks_h2 && a->in_process == b->in_process &&
           a->in_process_ctx == b->in_process_ctx;
}

static struct list *bucket_of(const struct http_origin *origin)
{
    return &pool.sites[origin->identity % SITE_BUCKETS];
}

static struct http_site *site_find(const struct http_origin *origin)
{
    LIST_FOR_EACH(node, bucket_of(origin))
    {
        struct http_site *site = CONTAINER_OF(node, struct http_site, node);
        if (is_same_origin(&site->origin, origin))
            return site;
    }
    return NULL;
}

static void copy_str(char **to, struct str *s)
{
    if (s->len > 0)
        memcpy(*to, s->ptr, s->len);
    s->ptr = *to;
    *to += s->len;
}

/* The site and its strings are one block. */
static struct http_site *site_new(const struct http_origin *origin)
{
    const struct dial_target *from = &origin->target;
    size_t text = from->host.len + from->tls_host.len + from->proxy.host.len +
                  from->proxy.authorization.len + origin->host_header.len;
    struct http_site *site = mem_calloc(1, sizeof(*site) + text);
    if (site == NULL)
        return NULL;
    site->origin = *origin;
    struct dial_target *t = &site->origin.target;
    char *to = (char *)(site + 1);
    copy_str(&to, &t->host);
    copy_str(&to, &t->tls_host);
    copy_str(&to, &t->proxy.host);
    copy_str(&to, &t->proxy.authorization);
    copy_str(&to, &site->origin.host_header);
    if (t->tls != NULL)
        tls_context_ref(t->tls);
    if (t->proxy.tls != NULL)
        tls_context_ref(t->proxy.tls);
    list_init(&site->idle);
    list_init(&site->shared);
    list_init(&site->waiters);
    list_push(bucket_of(origin), &site->node);
    return site;
}

static void site_release(struct http_site *site)
{
    CHECK(site->conns > 0);
    if (--site->conns > 0)
        return;
    list_remove(&site->node);
    if (site->origin.target.tls != NULL)
        tls_context_unref(site->origin.target.tls);
    if (site->origin.target.proxy.tls != NULL)
        tls_context_unref(site->origin.target.proxy.tls);
    mem_free(site);
}

/* --- idle connections --- */

static void unlink_idle(struct http_conn *conn)
{
    list_remove(&conn->site_node);
    list_remove(&conn->idle_node);
    conn->site->idle_count--;
    pool.idle_count--;
    conn->io.on_news = NULL;
    gauge(&stats.idle, -1);
}

static void close_idle(struct http_conn *conn)
{
    if (conn->h2 != NULL) {
        pool_retire(conn);
        pool_bury(conn);
        return;
    }
    unlink_idle(conn);
    gauge(&stats.busy, 1); /* pool_drop counts it out again */
    pool_drop(conn, false);
}

static struct http_conn *longest_idle(void)
{
    return CONTAINER_OF(pool.idle.next, struct http_conn, idle_node);
}

/* A server may send TLS tickets at any time; all else ends an idle connection. */
static void on_idle_news(struct io *io)
{
    bool is_ticket = io->layer != NULL && !io_is_hung_up(io) && !io->layer->has_pending(io);
    if (!is_ticket)
        close_idle(CONTAINER_OF(io, struct http_conn, io));
}

static int64_t idle_deadline(const struct http_conn *conn)
{
    if (pool.settings.idle_timeout_ns <= 0)
        return CLOCK_NEVER;
    return clock_add_ns(conn->idle_since_ns, pool.settings.idle_timeout_ns);
}

static void arm_timer(void)
{
    if (!list_is_empty(&pool.idle))
        loop_timer_arm(&pool.timer, idle_deadline(longest_idle()));
}

/* One timer serves all: the list is in the order of their ends, and taking a connection out does
 * not touch the timer, which finds on firing that there is less to do. */
static void on_idle_timeout(struct timer *timer)
{
    (void)timer;
    while (!list_is_empty(&pool.idle) && idle_deadline(longest_idle()) <= loop_now_ns())
        close_idle(longest_idle());
    arm_timer();
}

static void pool_make_ready(void)
{
    if (pool.is_ready)
        return;
    pool.is_ready = true;
    for (unsigned i = 0; i < SITE_BUCKETS; i++)
        list_init(&pool.sites[i]);
    list_init(&pool.idle);
    timer_init(&pool.timer, on_idle_timeout);
}

void http_pool_init(const struct http_pool_settings *settings)
{
    pool_make_ready();
    pool.settings = *settings;
    arm_timer();
}

void http_pool_purge(uint64_t keep_generation)
{
    pool_make_ready();
    pool.keep_generation = keep_generation;
    LIST_FOR_EACH(node, &pool.idle)
    {
        struct http_conn *conn = CONTAINER_OF(node, struct http_conn, idle_node);
        if (keep_generation == 0 || conn->site->origin.generation != keep_generation)
            close_idle(conn);
    }
}

void http_pool_fini(void)
{
    if (!pool.is_ready)
        return;
    http_pool_purge(0);
    timer_disarm(&pool.timer);
    pool.is_ready = false;
}

/* --- taking and giving --- */

static struct http_conn *take_idle(struct http_site *site)
{
    if (list_is_empty(&site->idle))
        return NULL;
    struct http_conn *conn = CONTAINER_OF(site->idle.next, struct http_conn, site_node);
    unlink_idle(conn);
    count(&stats.reused);
    gauge(&stats.busy, 1);
    return conn;
}

/* The idle list holds those that nobody uses; they stay in their site's list. */
static void unlink_shared_idle(struct http_conn *conn)
{
    if (list_is_empty(&conn->idle_node))
        return;
    list_remove(&conn->idle_node);
    pool.idle_count--;
    gauge(&stats.idle, -1);
}

/* The oldest one with room: so the others fall idle and end when there is less to do. */
static struct http_conn *take_shared(struct http_site *site)
{
    LIST_FOR_EACH(node, &site->shared)
    {
        struct http_conn *conn = CONTAINER_OF(node, struct http_conn, site_node);
        if (!h2_client_has_room(conn->h2))
            continue;
        unlink_shared_idle(conn);
        if (conn->users++ == 0)
            gauge(&stats.busy, 1);
        count(&stats.reused);
        return conn;
    }
    return NULL;
}

static bool may_be_shared(const struct http_site *site)
{
    const struct http_origin *origin = &site->origin;
    if (site->version != SITE_UNKNOWN || origin->in_process != NULL || origin->target.is_http1_only)
        return site->version == SITE_HTTP2;
    return origin->target.tls != NULL ? tls_context_offers_h2(origin->target.tls)
                                      : origin->speaks_h2;
}

YIELDS static int wait_for_opening(struct http_site *site, int64_t deadline_ns)
{
    struct waiter waiter = {.task = task_self()};
    list_push(&site->waiters, &waiter.node);
    site->waiting++;
    site->conns++; /* so that it stays */
    int r = 0;
    while (r == 0 && !list_is_empty(&waiter.node))
        r = task_park(deadline_ns);
    list_remove(&waiter.node);
    site->waiting--;
    return r;
}

static void end_opening(struct http_site *site)
{
    site->opening--;
    for (struct list *node; (node = list_pop(&site->waiters)) != NULL;)
        task_wake(CONTAINER_OF(node, struct waiter, node)->task);
}

YIELDS int pool_take(const struct http_origin *origin, int64_t deadline_ns, struct http_conn **out)
{
    pool_make_ready();
    *out = NULL;
    struct http_site *site = site_find(origin);
    if (site == NULL)
        return 0;
    *out = take_shared(site);
    if (*out == NULL)
        *out = take_idle(site);
    bool waits = *out == NULL && may_be_shared(site) &&
                 site->waiting < site->opening * (uint32_t)WAITERS_A_CONN;
    if (!waits)
        return 0;
    int r = wait_for_opening(site, deadline_ns);
    if (r == 0)
        *out = take_shared(site);
    site_release(site);
    return r;
}

/* The other end goes to who serves it in this process. */
static int open_in_process(const struct http_origin *origin, struct io *io)
{
    int fds[2];
    if (sys_socketpair(fds) < 0)
        return err_set_errno(ERR_IO, FAULT_GATEWAY, "socketpair");
    int r = io_open(io, fds[0]);
    if (r < 0)
        sys_close(fds[1]);
    else
        origin->in_process(fds[1], origin->in_process_ctx);
    return r;
}

static bool speaks_h2(const struct http_origin *origin, const struct io *io)
{
    return origin->target.tls != NULL ? str_eq(tls_alpn(io), STR("h2")) : origin->speaks_h2;
}

YIELDS static int open_conn(const struct http_origin *origin, int64_t connect_deadline_ns,
                            int64_t tls_deadline_ns, struct dial_timing *timing,
                            struct http_site *site, struct http_conn *conn)
{
    int r = origin->in_process != NULL
                ? open_in_process(origin, &conn->io)
                : dial(&conn->io, &origin->target, connect_deadline_ns, tls_deadline_ns, timing);
    if (r < 0)
        return r;
    conn->site = site;
    list_init(&conn->site_node);
    list_init(&conn->idle_node);
    site->version = speaks_h2(origin, &conn->io) ? SITE_HTTP2 : SITE_HTTP1;
    if (site->version == SITE_HTTP1) {
        h1_parser_init(&conn->parser, H1_RESPONSES, &http_limits_default);
        return 0;
    }
    r = h2_client_open(conn);
    if (r < 0) {
        io_close(&conn->io);
        return r;
    }
    conn->users = 1;
    list_push(&site->shared, &conn->site_node);
    return 0;
}

YIELDS int pool_open(const struct http_origin *origin, int64_t connect_deadline_ns,
                     int64_t tls_deadline_ns, struct dial_timing *timing, struct http_conn **out)
{
    pool_make_ready();
    struct http_conn *conn = MEM_NEW(struct http_conn);
    struct http_site *site = conn == NULL ? NULL : site_find(origin);
    if (conn != NULL && site == NULL)
        site = site_new(origin);
    if (site == NULL) {
        mem_free(conn);
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a connection");
    }
    site->conns++; /* before the wait, so that it stays */
    site->opening++;
    int r = open_conn(origin, connect_deadline_ns, tls_deadline_ns, timing, site, conn);
    end_opening(site);
    if (r < 0) {
        count(&stats.connect_failures);
        site_release(site);
        mem_free(conn);
        return r;
    }
    count(&stats.opened);
    gauge(&stats.busy, 1);
    *out = conn;
    return 0;
}

static void release_shared(struct http_conn *conn);

void pool_drop(struct http_conn *conn, bool is_abrupt)
{
    if (conn->h2 != NULL) {
        release_shared(conn);
        return;
    }
    if (is_abrupt)
        io_abort(&conn->io);
    else
        io_close(&conn->io);
    count(&stats.closed);
    gauge(&stats.busy, -1);
    site_release(conn->site);
    mem_free(conn);
}

/* False when the peer has said something more, or goodbye, since the end of its answer. */
static bool is_quiet(struct http_conn *conn)
{
    char unasked; /* not into the scratch buffer: the last piece of the answer lies there */
    if (io_is_hung_up(&conn->io))
        return false;
    if ((conn->io.flags & IO_READABLE) == 0 && conn->io.layer == NULL)
        return true;
    return io_try_read(&conn->io, &unasked, 1) == 0;
}

static bool is_kept(const struct http_conn *conn)
{
    bool is_of_now =
        pool.keep_generation == 0 || conn->site->origin.generation == pool.keep_generation;
    return is_of_now && pool.settings.idle_per_origin > 0 && pool.settings.idle_total > 0;
}

void pool_put(struct http_conn *conn)
{
    struct http_site *site = conn->site;
    if (conn->h2 != NULL) {
        release_shared(conn);
        return;
    }
    if (!is_kept(conn) || !is_quiet(conn)) {
        pool_drop(conn, false);
        return;
    }
    /* The one that was used longest ago makes room. */
    if (site->idle_count >= pool.settings.idle_per_origin)
        close_idle(CONTAINER_OF(site->idle.prev, struct http_conn, site_node));
    else if (pool.idle_count >= pool.settings.idle_total)
        close_idle(longest_idle());
    conn->has_served = true;
    conn->idle_since_ns = loop_now_ns();
    conn->io.on_news = on_idle_news;
    list_push_front(&site->idle, &conn->site_node);
    list_push(&pool.idle, &conn->idle_node);
    site->idle_count++;
    pool.idle_count++;
    gauge(&stats.idle, 1);
    gauge(&stats.busy, -1);
    if (pool.timer.deadline_ns == CLOCK_NEVER)
        arm_timer();
}

/* --- shared connections ---------------------------------------------------------------------- */

void pool_retire(struct http_conn *conn)
{
    list_remove(&conn->site_node);
    unlink_shared_idle(conn);
}

void pool_bury(struct http_conn *conn)
{
    CHECK(conn->users == 0);
    h2_client_close(conn->h2);
    io_close(&conn->io);
    count(&stats.closed);
    site_release(conn->site);
    mem_free(conn);
}

/* A call has ended. The last one leaves the connection idle, or lets it end. */
static void release_shared(struct http_conn *conn)
{
    conn->has_served = true;
    if (--conn->users > 0)
        return;
    gauge(&stats.busy, -1);
    if (!h2_client_is_open(conn->h2) || !is_kept(conn)) {
        pool_retire(conn);
        pool_bury(conn);
        return;
    }
    if (pool.idle_count >= pool.settings.idle_total)
        close_idle(longest_idle());
    conn->idle_since_ns = loop_now_ns();
    list_push(&pool.idle, &conn->idle_node);
    pool.idle_count++;
    gauge(&stats.idle, 1);
    if (pool.timer.deadline_ns == CLOCK_NEVER)
        arm_timer();
}
