#include "upstream.h"

#include <time.h>
#include <unistd.h>

#include "rt/dns.h"
#include "rt/sys.h"

static int64_t real_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

int64_t in_ms(int64_t ms)
{
    return clock_mono_ns() + ms * NS_PER_MS;
}

/* --- connections --- */

struct arrival {
    struct upstream *upstream;
    int fd;
};

static void served_main(void *arg)
{
    struct arrival arrival = *(struct arrival *)arg;
    free(arg);
    struct upstream *upstream = arrival.upstream;
    upstream->coming--;
    struct served served = {.upstream = upstream, .index = upstream->accepted++};
    if (io_open(&served.io, arrival.fd) < 0)
        return;
    upstream->open++;
    if (upstream->tls == NULL || tls_accept(&served.io, upstream->tls, CLOCK_NEVER) == 0)
        upstream->script(&served);
    io_close(&served.io);
    buf_fini(&served.request);
    upstream->open--;
}

static void serve(int fd, void *ctx)
{
    struct arrival *arrival = malloc(sizeof(*arrival));
    *arrival = (struct arrival){ctx, fd};
    arrival->upstream->coming++;
    if (task_spawn(RUN_NORMAL, "upstream", served_main, arrival) == NULL) {
        arrival->upstream->coming--;
        free(arrival);
        close(fd);
    }
}

static void on_accept(void *ctx, int fd, const struct net_addr *peer)
{
    (void)peer;
    serve(fd, ctx);
}

struct http_origin upstream_in_process(struct upstream *upstream)
{
    struct http_origin origin = {
        .target = {.host = STR("up.test"), .port = 80},
        .host_header = STR("up.test"),
        .generation = 1,
        .in_process = serve,
        .in_process_ctx = upstream,
    };
    http_origin_seal(&origin);
    return origin;
}

struct http_origin upstream_listen(struct upstream *upstream)
{
    struct net_addr any;
    int fd;
    assert_true(net_addr_parse(STR("127.0.0.1"), 0, &any));
    assert_int_equal(listen_open(&any, 1, &fd, &upstream->addr), 0);
    struct loop *loop = loop_self();
    void *ctx = upstream;
    upstream->listener = listener_start(fd, on_accept, &loop, &ctx, 1);
    assert_non_null(upstream->listener);
    struct http_origin origin = {
        .target = {.host = STR("127.0.0.1"),
                   .port = net_addr_port(&upstream->addr),
                   .policy = {.allow_loopback = true}},
        .host_header = STR("up.test"),
        .generation = 1,
    };
    http_origin_seal(&origin);
    return origin;
}

void upstream_stop(struct upstream *upstream)
{
    if (upstream->listener != NULL)
        listener_stop(upstream->listener, true);
    upstream->listener = NULL;
}

void upstream_fini(struct upstream *upstream)
{
    assert_int_equal(upstream->open, 0);
    buf_fini(&upstream->log);
}

/* Bytes of the body that the head announces. */
static size_t length_told(struct str head)
{
    ptrdiff_t at = str_ifind(head, STR("\r\ncontent-length: "));
    struct str rest = at < 0 ? STR("0") : str_skip(head, (size_t)at + 18), digits;
    uint64_t n = 0;
    str_cut(&rest, '\r', &digits);
    assert_true(str_to_u64(digits, &n));
    return (size_t)n;
}

bool upstream_read(struct served *served)
{
    struct buf *b = &served->request;
    size_t whole = SIZE_MAX;
    buf_fini(b);
    while (b->len < whole) {
        struct str bytes;
        ssize_t n = io_recv(&served->io, &bytes, CLOCK_NEVER);
        if (n < 0) {
            served->upstream->ended_by = (unsigned)-n;
            return false;
        }
        buf_add_str(b, bytes);
        ptrdiff_t end = str_find(buf_str(b), STR("\r\n\r\n"));
        if (whole == SIZE_MAX && end >= 0)
            whole = (size_t)end + 4 + length_told(str_head(buf_str(b), (size_t)end + 4));
    }
    assert_int_equal(b->len, whole);
    served->requests++;
    buf_add_str(&served->upstream->log, buf_str(b));
    return true;
}

bool upstream_send(struct served *served, struct str bytes)
{
    return io_write(&served->io, bytes.ptr, bytes.len, CLOCK_NEVER) == 0;
}

void settle(void)
{
    const atomic_uint_fast64_t *turns = &loop_stats(loop_self())->turns;
    uint64_t begin = *turns;
    while (*turns < begin + 3)
        task_sleep_until(loop_now_ns() + 1);
}

/* --- the loop --- */

static void turn_while(bool (*goes_on)(const void *), const void *arg)
{
    int64_t give_up_ns = real_now_ns() + PATIENCE_MS * NS_PER_MS;
    while (goes_on(arg)) {
        loop_turn(loop_self(), 5 * NS_PER_MS);
        if (real_now_ns() > give_up_ns)
            fail_msg("what the test waits for did not come");
    }
}

static bool is_unset(const void *flag)
{
    return !*(const bool *)flag;
}

static bool has_tasks(const void *arg)
{
    (void)arg;
    return task_count() > 0;
}

void turn_until(const bool *flag)
{
    turn_while(is_unset, flag);
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 512; fd++) {
        int copy = dup(fd);
        n += copy >= 0;
        if (copy >= 0)
            close(copy);
    }
    return n;
}

struct client_run {
    task_fn *fn;
    void *arg;
    bool is_done;
};

static void client_main(void *arg)
{
    struct client_run *run = arg;
    run->fn(run->arg);
    run->is_done = true;
}

void run_client(task_fn *fn, void *arg, const struct http_pool_settings *settings)
{
    static const struct http_pool_settings defaults = {128, 1024, 60 * NS_PER_SEC};
    unsigned descriptors = open_descriptors();
    const struct http_pool_stats *stats = http_pool_stats();
    uint64_t opened = stats->opened, closed = stats->closed;
    struct loop *loop = loop_new(0);
    assert_non_null(loop);
    http_pool_init(settings != NULL ? settings : &defaults);
    struct client_run run = {fn, arg, false};
    assert_non_null(task_spawn(RUN_NORMAL, "client", client_main, &run));
    turn_until(&run.is_done);
    assert_int_equal(stats->busy, 0);
    http_pool_fini();
    turn_while(has_tasks, NULL);
    dns_thread_fini();
    loop_free(loop);
    assert_int_equal(stats->idle, 0);
    assert_int_equal(stats->opened - opened, stats->closed - closed);
    assert_int_equal(open_descriptors(), descriptors);
}
