#include <errno.h>
#include <unistd.h>

#include "calling.h"
#include "http/pool.h"
#include "rt/sys.h"
#include "support/certs.h"

static struct certs certs;

static int make_certs(void **state)
{
    (void)state;
    certs_init(&certs);
    return 0;
}

static int remove_certs(void **state)
{
    (void)state;
    certs_fini(&certs);
    return 0;
}

/* --- scripts --- */

static void wait_for_the_end(struct served *served)
{
    while (!io_is_hung_up(&served->io))
        settle();
}

/* Reads the request, sends upstream.ctx and then nothing more. */
static void script_stall(struct served *served)
{
    if (!upstream_read(served))
        return;
    upstream_send(served, str_c(served->upstream->ctx));
    upstream_read(served);
}

static void script_read_nothing(struct served *served)
{
    wait_for_the_end(served);
}

/* A port where connecting takes for ever: the queue of those to be accepted is full. */
struct full_port {
    int listener;
    int queued[8];
    struct net_addr addr;
};

static void full_port_open(struct full_port *port)
{
    assert_true(net_addr_parse(STR("127.0.0.1"), 0, &port->addr));
    port->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(port->listener, &port->addr.u.any, port->addr.len), 0);
    assert_int_equal(listen(port->listener, 0), 0);
    port->addr.len = sizeof(port->addr.u);
    assert_int_equal(getsockname(port->listener, &port->addr.u.any, &port->addr.len), 0);
    for (size_t i = 0; i < ARRAY_LEN(port->queued); i++) {
        port->queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(port->queued[i], &port->addr.u.any, port->addr.len);
    }
}

static void full_port_close(struct full_port *port)
{
    for (size_t i = 0; i < ARRAY_LEN(port->queued); i++)
        close(port->queued[i]);
    close(port->listener);
}

/* --- what a call can hang in --- */

enum phase { CONNECTING, TLS_HANDSHAKE, SENDING, AWAITING_HEAD, INSIDE_HEAD, INSIDE_BODY, PHASES };

struct stage {
    struct upstream up;
    struct http_origin origin;
    struct http_call_request request;
    struct iovec part;
    struct full_port full;
    struct tls_context *tls;
};

static void stage_set(struct stage *stage, enum phase phase)
{
    static char large[8 * 1024 * 1024];
    *stage = (struct stage){.request = get_request()};
    struct upstream *up = &stage->up;
    up->script = script_stall;
    up->ctx = phase == INSIDE_HEAD   ? "HTTP/1.1 200"
              : phase == INSIDE_BODY ? "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"
                                     : "";
    if (phase == SENDING || phase == TLS_HANDSHAKE)
        up->script = script_read_nothing;
    stage->origin = upstream_listen(up);
    if (phase == CONNECTING) {
        full_port_open(&stage->full);
        stage->origin.target.port = net_addr_port(&stage->full.addr);
    } else if (phase == TLS_HANDSHAKE) {
        struct tls_client_settings settings = {.ca_file = certs.ca_file};
        stage->tls = tls_client_context_new(&settings);
        stage->origin.target.tls = stage->tls;
    } else if (phase == SENDING) {
        stage->part = (struct iovec){large, sizeof(large)};
        stage->request.method = METHOD_POST;
        stage->request.body = &stage->part;
        stage->request.body_count = 1;
        stage->request.body_bytes = sizeof(large);
    }
    http_origin_seal(&stage->origin);
}

static void stage_clear(struct stage *stage, enum phase phase)
{
    part_from(&stage->up);
    if (phase == CONNECTING)
        full_port_close(&stage->full);
    tls_context_unref(stage->tls);
}

static const char *const own_timeouts[PHASES] = {
    [CONNECTING] = "took no connection within 40 ms (connect timeout)",
    [TLS_HANDSHAKE] = "finished no TLS handshake within 40 ms (TLS timeout)",
    [SENDING] = "took nothing of the request within 40 ms (idle timeout)",
    [AWAITING_HEAD] = "did not begin to answer within 40 ms (first byte timeout)",
    [INSIDE_HEAD] = "sent no more of its answer within 40 ms (idle timeout)",
    [INSIDE_BODY] = "sent nothing within 40 ms (idle timeout)",
};

static struct http_timeouts timeouts_for(enum phase phase, bool is_total)
{
    struct http_timeouts t = patient;
    int64_t short_ns = 40 * NS_PER_MS;
    if (is_total) {
        t.total_deadline_ns = in_ms(40);
        return t;
    }
    int64_t *own[PHASES] = {
        [CONNECTING] = &t.connect_ns,       [TLS_HANDSHAKE] = &t.tls_ns, [SENDING] = &t.idle_ns,
        [AWAITING_HEAD] = &t.first_byte_ns, [INSIDE_HEAD] = &t.idle_ns,  [INSIDE_BODY] = &t.idle_ns,
    };
    *own[phase] = short_ns;
    /* The handshake's time is counted from the end of that for connecting. */
    if (phase == TLS_HANDSHAKE)
        t.connect_ns = short_ns;
    return t;
}

static void time_out(void *arg)
{
    bool is_total = arg != NULL;
    for (enum phase phase = 0; phase < PHASES; phase++) {
        struct stage stage;
        stage_set(&stage, phase);
        struct http_timeouts timeouts = timeouts_for(phase, is_total);
        int64_t begin_ns = clock_mono_ns();
        struct outcome o;
        call_with(&o, &stage.origin, &stage.request, &timeouts);
        assert_int_equal(o.result, -ERR_TIMEOUT);
        assert_int_equal(o.err.fault, FAULT_UPSTREAM);
        assert_true(clock_mono_ns() - begin_ns >= 39 * NS_PER_MS);
        const char *says = is_total ? "total timeout" : own_timeouts[phase];
        if (strstr(o.err.message, says) == NULL)
            fail_msg("phase %d: '%s' does not say '%s'", (int)phase, o.err.message, says);
        outcome_fini(&o);
        assert_int_equal(http_pool_stats()->busy, 0);
        stage_clear(&stage, phase);
    }
}

static void every_wait_ends_and_says_which_it_was(void **state)
{
    (void)state;
    bool is_total = true;
    run_client(time_out, NULL, NULL);
    run_client(time_out, &is_total, NULL);
}

/* --- cancelling --- */

struct cancelled {
    struct stage *stage;
    struct outcome outcome;
    struct task *task;
    bool is_done;
};

static void cancelled_main(void *arg)
{
    struct cancelled *c = arg;
    c->task = task_self();
    call_with(&c->outcome, &c->stage->origin, &c->stage->request, &patient);
    c->is_done = true;
}

static void cancel(void *arg)
{
    (void)arg;
    for (enum phase phase = 0; phase < PHASES; phase++) {
        struct stage stage;
        stage_set(&stage, phase);
        struct cancelled c = {.stage = &stage};
        assert_non_null(task_spawn(RUN_NORMAL, "cancelled", cancelled_main, &c));
        /* Until it hangs where it should. */
        while (phase != CONNECTING && stage.up.open == 0)
            settle();
        for (int i = 0; i < 5; i++)
            settle();
        assert_false(c.is_done);
        task_cancel(c.task, ERR_RESET);
        while (!c.is_done)
            settle();
        assert_int_equal(c.outcome.result, -ERR_CANCELED);
        outcome_fini(&c.outcome);
        assert_int_equal(http_pool_stats()->busy, 0);
        assert_int_equal(http_pool_stats()->idle, 0);
        /* The upstream hears of it, though nobody stopped it. */
        while (stage.up.open > 0)
            settle();
        stage_clear(&stage, phase);
    }
}

static void a_cancelled_call_ends_the_upstreams_work(void **state)
{
    (void)state;
    run_client(cancel, NULL, NULL);
}

static void leave_early(void *arg)
{
    (void)arg;
    struct stage stage;
    stage_set(&stage, INSIDE_BODY);
    struct http_call call;
    struct arena *arena = arena_new(4096);
    assert_int_equal(http_call_start(&call, arena, &stage.origin, &stage.request, &patient), 0);
    assert_int_equal(http_call_head(&call), 0);
    http_call_finish(&call);
    arena_free(arena);
    assert_int_equal(http_pool_stats()->idle, 0);
    while (stage.up.open > 0)
        settle();
    assert_int_equal(stage.up.ended_by, ERR_RESET); /* told at once, not by a half-open end */
    stage_clear(&stage, INSIDE_BODY);
}

static void a_call_that_is_left_early_resets_its_connection(void **state)
{
    (void)state;
    run_client(leave_early, NULL, NULL);
}

/* --- heartbeats --- */

/* A byte whenever the test says so. */
static void script_on_demand(struct served *served)
{
    const unsigned *wanted = served->upstream->ctx;
    unsigned sent = 0;
    if (!upstream_read(served))
        return;
    upstream_send(served, STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
    while (!io_is_hung_up(&served->io)) {
        if (sent < *wanted) {
            upstream_send(served, STR("1\r\nx\r\n"));
            sent++;
        }
        settle();
    }
}

static void beat(void *arg)
{
    (void)arg;
    unsigned wanted = 0;
    struct upstream up = {.script = script_on_demand, .ctx = &wanted};
    struct http_origin origin = upstream_in_process(&up);
    struct http_call_request request = get_request();
    struct http_timeouts timeouts = patient;
    timeouts.idle_ns = 200 * NS_PER_MS;
    struct http_call call;
    struct arena *arena = arena_new(4096);
    struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    bool hit;
    assert_int_equal(http_call_start(&call, arena, &origin, &request, &timeouts), 0);
    assert_int_equal(http_call_head(&call), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(http_call_read(&call, &pieces, in_ms(10), &hit), -ERR_TIMEOUT);
        assert_true(hit);
        /* One that has passed already does not wait, and does no harm. */
        assert_int_equal(http_call_read(&call, &pieces, in_ms(-10), &hit), -ERR_TIMEOUT);
        assert_true(hit);
        wanted++;
        assert_int_equal(http_call_read(&call, &pieces, CLOCK_NEVER, &hit), 0);
        assert_false(hit);
        assert_int_equal(pieces.bytes, 1);
        assert_false(pieces.is_last);
    }
    /* Heartbeats do not stretch the time that the upstream has. */
    unsigned hits = 0;
    int r;
    while ((r = http_call_read(&call, &pieces, in_ms(15), &hit)) == -ERR_TIMEOUT && hit)
        hits++;
    assert_int_equal(r, -ERR_TIMEOUT);
    assert_false(hit);
    assert_in_range(hits, 1, 20);
    assert_non_null(strstr(err_slot()->message, "sent nothing within 200 ms (idle timeout)"));
    http_call_finish(&call);
    arena_free(arena);
    part_from(&up);
}

static void a_heartbeat_leaves_the_call_usable(void **state)
{
    (void)state;
    run_client(beat, NULL, NULL);
}

/* --- TLS --- */

struct tls_pair {
    struct tls_context *server, *client;
};

static void tls_pair_init(struct tls_pair *pair)
{
    struct tls_server_settings server = {.cert_file = certs.cert_file, .key_file = certs.key_file};
    struct tls_client_settings client = {.ca_file = certs.ca_file};
    pair->server = tls_server_context_new(&server);
    pair->client = tls_client_context_new(&client);
    assert_non_null(pair->server);
    assert_non_null(pair->client);
}

static void tls_pair_fini(struct tls_pair *pair)
{
    tls_context_unref(pair->server);
    tls_context_unref(pair->client);
}

static struct http_origin listen_tls(struct upstream *up, const struct tls_pair *pair)
{
    up->tls = pair->server;
    struct http_origin origin = upstream_listen(up);
    origin.target.tls = pair->client;
    http_origin_seal(&origin);
    return origin;
}

/* The first connection ends in order after its answer; in the second the end comes without a
 * goodbye, as an attacker on the way could make it. */
static void script_tls_end(struct served *served)
{
    if (!upstream_read(served))
        return;
    upstream_send(served, STR("HTTP/1.1 200 OK\r\n\r\nall"));
    if (served->index == 0)
        return;
    sys_shutdown(served->io.pollable.fd, SHUT_WR);
    wait_for_the_end(served);
}

static void call_tls(void *arg)
{
    (void)arg;
    struct tls_pair pair;
    tls_pair_init(&pair);
    struct upstream up = {.script = script_ok};
    struct http_origin origin = listen_tls(&up, &pair);
    struct outcome o;
    static char large[3 * 1024 * 1024];
    struct iovec part = {large, sizeof(large)};
    struct http_call_request request = {.method = METHOD_POST,
                                        .target = STR("/"),
                                        .body = &part,
                                        .body_count = 1,
                                        .body_bytes = sizeof(large)};
    memset(large, 'x', sizeof(large));
    for (int i = 0; i < 3; i++) {
        call_with(&o, &origin, &request, &patient);
        expect_body(&o, 200, "hi");
        assert_int_equal(o.was_reused, i > 0);
        outcome_fini(&o);
        /* Session tickets are no news. */
        for (int n = 0; n < 5; n++)
            settle();
        assert_int_equal(http_pool_stats()->idle, 1);
    }
    part_from(&up);

    struct upstream ending = {.script = script_tls_end};
    origin = listen_tls(&ending, &pair);
    call_get(&o, &origin);
    expect_body(&o, 200, "all");
    outcome_fini(&o);
    call_get(&o, &origin);
    assert_int_equal(o.result, -ERR_RESET);
    outcome_fini(&o);
    part_from(&ending);
    tls_pair_fini(&pair);
}

static void script_tls_leave(struct served *served)
{
    if (upstream_read(served))
        upstream_send(served, STR(OK_HI));
}

static void call_tls_again(void *arg)
{
    (void)arg;
    struct tls_pair pair;
    tls_pair_init(&pair);
    struct upstream up = {.script = script_tls_leave};
    struct http_origin origin = listen_tls(&up, &pair);
    for (int i = 0; i < 2; i++) {
        struct outcome o;
        call_get(&o, &origin);
        expect_body(&o, 200, "hi");
        assert_false(o.was_reused);
        outcome_fini(&o);
        while (http_pool_stats()->idle > 0)
            settle();
    }
    part_from(&up);
    tls_pair_fini(&pair);
}

static void calls_over_tls_share_connections(void **state)
{
    (void)state;
    run_client(call_tls, NULL, NULL);
    run_client(call_tls_again, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_wait_ends_and_says_which_it_was),
        cmocka_unit_test(a_cancelled_call_ends_the_upstreams_work),
        cmocka_unit_test(a_call_that_is_left_early_resets_its_connection),
        cmocka_unit_test(a_heartbeat_leaves_the_call_usable),
        cmocka_unit_test(calls_over_tls_share_connections),
    };
    return cmocka_run_group_tests_name("http/client-time", tests, make_certs, remove_certs);
}
