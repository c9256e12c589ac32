#include "http/pool.h"

#include "base/clock.h"
#include "base/mem.h"
#include "rt/sys.h"

/*
 * Connections are kept by site: one per origin that connections exist for, with its own copy of
 * what makes the origin, because an idle connection outlives the snapshot that it was opened for.
 * While a connection is idle any news of it (the peer's FIN, a reset, bytes that nobody asked for)
 * closes it in the same turn, so that hardly ever a dead one is taken.
 */

enum { SITE_BUCKETS = 64 };

struct http_site {
    struct list node; /* in its bucket */
    struct http_origin origin;
    struct list idle; /* http_conn.site_node, last used first */
    uint32_t idle_count;
    uint32_t conns; /* idle and in use; the site goes with the last */
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
    h = mix(h, (uint64_t)(uintptr_t)origin->in_process);
    origin->identity = mix_pointer(h, origin->in_process_ctx);
}

static bool is_same_target(const struct dial_target *a, const struct dial_target *b)
{
    return str_eq(a->host, b->host) && a->port == b->port && a->tls == b->tls &&
           str_eq(a->tls_host, b->tls_host) &&
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
           a->in_process == b->in_process && a->in_process_ctx == b->in_process_ctx;
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

struct http_conn *pool_take(const struct http_origin *origin)
{
    pool_make_ready();
    struct http_site *site = site_find(origin);
    if (site == NULL || list_is_empty(&site->idle))
        return NULL;
    struct http_conn *conn = CONTAINER_OF(site->idle.next, struct http_conn, site_node);
    unlink_idle(conn);
    count(&stats.reused);
    gauge(&stats.busy, 1);
    return conn;
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
    int r = origin->in_process != NULL
                ? open_in_process(origin, &conn->io)
                : dial(&conn->io, &origin->target, connect_deadline_ns, tls_deadline_ns, timing);
    if (r < 0) {
        count(&stats.connect_failures);
        site_release(site);
        mem_free(conn);
        return r;
    }
    conn->site = site;
    list_init(&conn->site_node);
    list_init(&conn->idle_node);
    h1_parser_init(&conn->parser, H1_RESPONSES, &http_limits_default);
    count(&stats.opened);
    gauge(&stats.busy, 1);
    *out = conn;
    return 0;
}

void pool_drop(struct http_conn *conn, bool is_abrupt)
{
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
