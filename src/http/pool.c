#include "http/pool.h"

#include "base/clock.h"
#include "base/mem.h"
#include "rt/sys.h"

enum { BUCKETS = 64 };

struct bucket {
    struct list idle; /* the one used last is first */
    uint32_t count;
};

struct thread_pool {
    bool is_ready;
    struct http_pool_settings settings;
    uint64_t generation; /* connections of others are not kept */
    struct bucket buckets[BUCKETS];
    struct list by_age;
    uint32_t idle;
    struct http_pool_stats stats;
};

static _Thread_local struct thread_pool *pool;

static void count(atomic_uint_fast64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void add(atomic_int_fast64_t *gauge, int64_t n)
{
    atomic_store_explicit(gauge, atomic_load_explicit(gauge, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static struct bucket *bucket_of(const struct http_origin *origin)
{
    return &pool->buckets[origin->identity % BUCKETS];
}

static void leave_idle(struct http_conn *conn)
{
    list_remove(&conn->node);
    list_remove(&conn->age);
    timer_disarm_lazily(&conn->timer);
    loop_unqueue(&conn->check);
    conn->io.on_news = NULL;
    conn->is_idle = false;
    bucket_of(conn->origin)->count--;
    pool->idle--;
    add(&pool->stats.idle, -1);
    add(&pool->stats.busy, 1);
}

void pool_close(struct http_conn *conn)
{
    if (conn->is_idle)
        leave_idle(conn);
    add(&pool->stats.busy, -1);
    count(&pool->stats.closed);
    timer_disarm(&conn->timer);
    io_close(&conn->io);
    buf_fini(&conn->ahead);
    mem_free(conn);
}

static void on_idle_timeout(struct timer *timer)
{
    pool_close(CONTAINER_OF(timer, struct http_conn, timer));
}

/*
 * On an idle connection nothing may come but what TLS says for itself (session tickets). Costs no
 * system call after a short read, which has drained the socket.
 */
static bool is_quiet(struct http_conn *conn)
{
    struct str bytes;
    return io_try_recv(&conn->io, &bytes) == 0 && !io_is_hung_up(&conn->io);
}

static void on_check(struct job *job)
{
    struct http_conn *conn = CONTAINER_OF(job, struct http_conn, check);
    if (!is_quiet(conn))
        pool_close(conn);
}

static void on_news(struct io *io)
{
    loop_queue(&CONTAINER_OF(io, struct http_conn, io)->check);
}

struct http_conn *pool_take(const struct http_origin *origin)
{
    LIST_FOR_EACH(node, &bucket_of(origin)->idle) {
        struct http_conn *conn = CONTAINER_OF(node, struct http_conn, node);
        if (conn->origin != origin || conn->generation != origin->generation)
            continue;
        /* News that the poller has brought in this turn and nobody has looked at yet. */
        if (!list_is_empty(&conn->check.node) && !is_quiet(conn)) {
            pool_close(conn);
            continue;
        }
        leave_idle(conn);
        conn->is_reused = true;
        count(&pool->stats.reused);
        return conn;
    }
    return NULL;
}

static int open_in_process(struct http_conn *conn, const struct http_origin *origin)
{
    int ends[2];
    if (sys_socketpair(ends) < 0)
        return err_set_errno(ERR_CONNECT, FAULT_GATEWAY, "socketpair");
    int r = io_open(&conn->io, ends[0]);
    if (r < 0)
        sys_close(ends[1]);
    else
        origin->in_process(ends[1], origin->in_process_ctx);
    return r;
}

YIELDS static int open_io(struct http_conn *conn, const struct http_origin *origin,
                          const struct http_timeouts *timeouts, struct dial_timing *timing)
{
    if (origin->in_process != NULL)
        return open_in_process(conn, origin);
    int64_t now_ns = loop_now_ns();
    int64_t connect = MIN(clock_add_ns(now_ns, timeouts->connect_ns), timeouts->total_deadline_ns);
    int64_t tls = MIN(clock_add_ns(now_ns, timeouts->connect_ns + timeouts->tls_ns),
                      timeouts->total_deadline_ns);
    return dial(&conn->io, &origin->target, connect, tls, timing);
}

YIELDS struct http_conn *pool_open(const struct http_origin *origin,
                                   const struct http_timeouts *timeouts,
                                   struct dial_timing *timing)
{
    struct http_conn *conn = MEM_NEW(struct http_conn);
    if (conn == NULL) {
        err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a connection");
        return NULL;
    }
    if (open_io(conn, origin, timeouts, timing) < 0) {
        count(&pool->stats.connect_failures);
        mem_free(conn);
        return NULL;
    }
    conn->origin = origin;
    conn->generation = origin->generation;
    list_init(&conn->node);
    list_init(&conn->age);
    timer_init(&conn->timer, on_idle_timeout);
    job_init(&conn->check, on_check);
    h1_parser_init(&conn->parser, H1_RESPONSES, &http_limits_default);
    count(&pool->stats.opened);
    add(&pool->stats.busy, 1);
    return conn;
}

static void close_oldest(void)
{
    pool_close(CONTAINER_OF(pool->by_age.next, struct http_conn, age));
}

void pool_give(struct http_conn *conn)
{
    bool may_stay = conn->generation >= pool->generation && pool->settings.idle_total > 0 &&
                    pool->settings.idle_per_origin > 0;
    if (!may_stay || conn->ahead.len > conn->ahead_used || !is_quiet(conn)) {
        pool_close(conn);
        return;
    }
    buf_fini(&conn->ahead);
    conn->ahead_used = 0;
    struct bucket *bucket = bucket_of(conn->origin);
    if (pool->idle >= pool->settings.idle_total)
        close_oldest();
    if (bucket->count >= pool->settings.idle_per_origin)
        pool_close(CONTAINER_OF(bucket->idle.prev, struct http_conn, node));
    conn->is_idle = true;
    conn->io.on_news = on_news;
    list_push_front(&bucket->idle, &conn->node);
    list_push(&pool->by_age, &conn->age);
    bucket->count++;
    pool->idle++;
    add(&pool->stats.idle, 1);
    add(&pool->stats.busy, -1);
    loop_timer_arm(&conn->timer, clock_add_ns(loop_now_ns(), pool->settings.idle_timeout_ns));
}

void pool_count_free_retry(void)
{
    count(&pool->stats.free_retries);
}

void http_pool_init(const struct http_pool_settings *settings)
{
    if (pool == NULL) {
        pool = mem_calloc_or_die(1, sizeof(*pool));
        list_init(&pool->by_age);
        for (unsigned i = 0; i < BUCKETS; i++)
            list_init(&pool->buckets[i].idle);
    }
    pool->settings = *settings;
}

void http_pool_purge(uint64_t keep_generation)
{
    if (pool == NULL)
        return;
    if (keep_generation != 0)
        pool->generation = keep_generation;
    LIST_FOR_EACH(node, &pool->by_age) {
        struct http_conn *conn = CONTAINER_OF(node, struct http_conn, age);
        if (keep_generation == 0 || conn->generation != keep_generation)
            pool_close(conn);
    }
}

void http_pool_fini(void)
{
    http_pool_purge(0);
    mem_free(pool);
    pool = NULL;
}

struct http_pool_stats *http_pool_stats(void)
{
    return &pool->stats;
}
