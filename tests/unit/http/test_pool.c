#include "http/pool.h"

#include "base/mem.h"
#include "calling.h"

/* The number of the connection, as the body. */
static void script_number(struct served *served)
{
    while (upstream_read(served)) {
        char text[80];
        snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%c",
                 (char)('0' + served->index));
        if (!upstream_send(served, str_c(text)))
            break;
    }
}

static void expect_number(const struct http_origin *origin, const char *number)
{
    struct outcome o;
    call_get(&o, origin);
    expect_body(&o, 200, number);
    outcome_fini(&o);
}

/* A call that is under way: its head has been read. */
struct open_call {
    struct http_call call;
    struct http_call_request request;
    struct arena *arena;
};

static void open_call(struct open_call *c, const struct http_origin *origin)
{
    c->arena = arena_new(4096);
    c->request = get_request();
    assert_int_equal(http_call_start(&c->call, c->arena, origin, &c->request, &patient), 0);
    assert_int_equal(http_call_head(&c->call), 0);
}

static void end_call(struct open_call *c)
{
    struct outcome o = {.body = BUF_INIT};
    assert_int_equal(read_all(&c->call, &o), 0);
    outcome_fini(&o);
    http_call_finish(&c->call);
    arena_free(c->arena);
}

/* --- reuse --- */

static void reuse(void *arg)
{
    struct upstream up = {.script = script_number};
    struct http_origin origin = arg != NULL ? upstream_listen(&up) : upstream_in_process(&up);
    uint64_t reused = http_pool_stats()->reused;
    for (int i = 0; i < 5; i++)
        expect_number(&origin, "0");
    assert_int_equal(http_pool_stats()->reused - reused, 4);
    assert_int_equal(up.accepted, 1);
    /* Three at once need three connections; the one that was free last is taken first. */
    struct open_call c[3];
    for (size_t i = 0; i < 3; i++)
        open_call(&c[i], &origin);
    assert_int_equal(http_pool_stats()->busy, 3);
    assert_int_equal(up.accepted, 3);
    end_call(&c[2]);
    end_call(&c[0]);
    end_call(&c[1]);
    assert_int_equal(http_pool_stats()->idle, 3);
    expect_number(&origin, "1");
    expect_number(&origin, "1");
    open_call(&c[0], &origin);
    expect_number(&origin, "0");
    end_call(&c[0]);
    assert_int_equal(up.accepted, 3);
    part_from(&up);
}

static void the_connection_used_last_is_used_again(void **state)
{
    (void)state;
    bool over_tcp = true;
    run_client(reuse, NULL, NULL);
    run_client(reuse, &over_tcp, NULL);
}

static void reuse_before_the_end(void *arg)
{
    (void)arg;
    struct upstream up = {.script = script_number};
    struct http_origin origin = upstream_in_process(&up);
    struct open_call first, second;
    struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    bool hit;
    open_call(&first, &origin);
    assert_int_equal(http_call_read(&first.call, &pieces, CLOCK_NEVER, &hit), 0);
    assert_true(pieces.is_last);
    /* The first call has all it wants, though it has not finished: its piece stays valid. */
    open_call(&second, &origin);
    assert_true(second.call.was_reused);
    assert_memory_equal(v[0].iov_base, "0", 1);
    end_call(&second);
    assert_int_equal(http_call_read(&first.call, &pieces, CLOCK_NEVER, &hit), 0);
    assert_true(pieces.is_last);
    assert_int_equal(pieces.bytes, 0);
    end_call(&first);
    assert_int_equal(http_pool_stats()->idle, 1);
    part_from(&up);
}

static void a_connection_is_free_with_the_last_byte(void **state)
{
    (void)state;
    run_client(reuse_before_the_end, NULL, NULL);
}

static void vary_origin(void *arg)
{
    (void)arg;
    struct upstream up = {.script = script_number};
    struct http_origin base = upstream_in_process(&up);
    struct http_origin others[16];
    size_t n = 0;
    struct tls_client_settings settings = {0};
    struct tls_context *tls = tls_client_context_new(&settings);
    for (; n < 14; n++)
        others[n] = base;
    others[0].target.host = STR("other.test");
    others[1].target.port = 81;
    others[2].target.tls = tls;
    others[3].target.tls_host = STR("sni.test");
    others[4].target.policy.allow_loopback = true;
    others[5].target.policy.allow_private = true;
    others[6].target.proxy.host = STR("proxy.test");
    others[7].target.proxy.port = 3128;
    others[8].target.proxy.is_tls = true;
    others[9].target.proxy.authorization = STR("Basic eA==");
    others[10].host_header = STR("alias.test");
    others[11].generation = 2;
    others[12].target.proxy.tls = tls;
    /* Two strings that are the same when written one after the other. */
    others[13].target.host = STR("up.tes");
    others[13].target.tls_host = STR("t");
    expect_number(&base, "0");
    for (size_t i = 0; i < n; i++) {
        http_origin_seal(&others[i]);
        struct outcome o;
        call_get(&o, &others[i]);
        if (o.was_reused)
            fail_msg("origin %zu got another's connection", i);
        outcome_fini(&o);
    }
    /* Also where the hashes meet by chance. */
    for (size_t i = 0; i < n; i++) {
        struct http_origin forged = others[i];
        forged.target.host = STR("forged.test");
        struct outcome o;
        call_get(&o, &forged);
        assert_false(o.was_reused);
        outcome_fini(&o);
        call_get(&o, &others[i]);
        assert_true(o.was_reused);
        outcome_fini(&o);
    }
    /* The same origin made anew elsewhere, as after a copy of the config, is the same. */
    char host[] = "up.test";
    struct http_origin twin = base;
    twin.target.host = str_n(host, 7);
    twin.host_header = str_n(host, 7);
    http_origin_seal(&twin);
    struct outcome o;
    call_get(&o, &twin);
    assert_true(o.was_reused);
    outcome_fini(&o);
    memset(host, 'x', 7);
    call_get(&o, &base);
    assert_true(o.was_reused);
    outcome_fini(&o);
    tls_context_unref(tls); /* the pool holds its own */
    part_from(&up);
}

static void only_equal_origins_share_a_connection(void **state)
{
    (void)state;
    run_client(vary_origin, NULL, NULL);
}

/* --- the free retry --- */

/* Answers the first request of the first connection; what comes after is met as ctx says. */
static void script_die_on_second(struct served *served)
{
    const char *how = served->upstream->ctx;
    if (served->index > 0 && how[1] == '\0') {
        script_ok(served);
        return;
    }
    if (served->index == 0 && upstream_read(served))
        upstream_send(served, STR(OK_HI));
    if (!upstream_read(served))
        return;
    if (how[0] == 'r')
        io_abort(&served->io);
    if (how[0] == 'p')
        upstream_send(served, STR("HTTP/1"));
    if (how[0] == 'i')
        upstream_send(served, STR("HTTP/1.1 100 Continue\r\n\r\n"));
}

static void retry(void *arg)
{
    bool over_tcp = arg != NULL;
    for (const char *how = "cr"; *how != '\0'; how++) {
        char mode[2] = {*how, '\0'};
        struct upstream up = {.script = script_die_on_second, .ctx = mode};
        struct http_origin origin = over_tcp ? upstream_listen(&up) : upstream_in_process(&up);
        uint64_t retries = http_pool_stats()->free_retries;
        struct outcome o;
        call_get(&o, &origin);
        expect_body(&o, 200, "hi");
        outcome_fini(&o);
        char body[] = "{\"a\":1}";
        struct iovec parts[] = {{body, 3}, {body + 3, 4}};
        struct http_call_request request = {.method = METHOD_POST,
                                            .target = STR("/x"),
                                            .body = parts,
                                            .body_count = 2,
                                            .body_bytes = 7};
        buf_clear(&up.log);
        call_with(&o, &origin, &request, &patient);
        expect_body(&o, 200, "hi");
        assert_true(o.was_retried);
        assert_true(o.went_back);
        outcome_fini(&o);
        assert_int_equal(http_pool_stats()->free_retries - retries, 1);
        assert_int_equal(up.accepted, 2);
        /* The request came twice, the same both times. */
        struct str log = buf_str(&up.log);
        assert_int_equal(log.len % 2, 0);
        assert_memory_equal(log.ptr, log.ptr + log.len / 2, log.len / 2);
        assert_true(str_ends(log, STR("\r\n\r\n{\"a\":1}")));
        part_from(&up);
    }
}

static void a_reused_connection_that_dies_is_replaced_once(void **state)
{
    (void)state;
    bool over_tcp = true;
    run_client(retry, NULL, NULL);
    run_client(retry, &over_tcp, NULL);
}

static void retry_not(void *arg)
{
    (void)arg;
    /* The second letter: the new connection dies as well. */
    static const char *const modes[] = {"cc", "rr", "p", "i"};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        bool dies_again = modes[i][1] != '\0';
        struct upstream up = {.script = script_die_on_second, .ctx = modes[i]};
        struct http_origin origin = upstream_listen(&up);
        struct outcome o;
        call_get(&o, &origin);
        expect_body(&o, 200, "hi");
        outcome_fini(&o);
        call_get(&o, &origin);
        assert_int_equal(o.result, -ERR_RESET);
        assert_int_equal(o.was_retried, dies_again);
        assert_int_equal(up.accepted, dies_again ? 2 : 1);
        outcome_fini(&o);
        part_from(&up);
    }
}

static void there_is_no_second_retry_and_none_after_a_byte(void **state)
{
    (void)state;
    run_client(retry_not, NULL, NULL);
}

static void script_shut_listener(struct served *served)
{
    if (upstream_read(served))
        upstream_send(served, STR(OK_HI));
    if (upstream_read(served))
        upstream_stop(served->upstream);
}

static void retry_refused(void *arg)
{
    (void)arg;
    struct upstream up = {.script = script_shut_listener};
    struct http_origin origin = upstream_listen(&up);
    struct outcome o;
    call_get(&o, &origin);
    expect_body(&o, 200, "hi");
    outcome_fini(&o);
    uint64_t failures = http_pool_stats()->connect_failures;
    call_get(&o, &origin);
    assert_int_equal(o.result, -ERR_CONNECT);
    assert_int_equal(o.err.retry, RETRY_YES);
    assert_true(o.was_retried);
    assert_int_equal(http_pool_stats()->connect_failures - failures, 1);
    outcome_fini(&o);
    part_from(&up);
}

static void a_retry_that_cannot_connect_says_so(void **state)
{
    (void)state;
    run_client(retry_refused, NULL, NULL);
}

/* --- idle connections --- */

static void script_leave(struct served *served)
{
    const char *how = served->upstream->ctx;
    if (!upstream_read(served))
        return;
    upstream_send(served, STR(OK_HI));
    settle();
    if (how[0] == 'r')
        io_abort(&served->io);
    if (how[0] == 'x') {
        upstream_send(served, STR("HTTP/1.1 408 Request Timeout\r\n\r\n"));
        upstream_read(served);
    }
}

static void lose_idle(void *arg)
{
    (void)arg;
    for (const char *how = "crx"; *how != '\0'; how++) {
        struct upstream up = {.script = script_leave, .ctx = how};
        struct http_origin origin = upstream_listen(&up);
        struct outcome o;
        call_get(&o, &origin);
        expect_body(&o, 200, "hi");
        outcome_fini(&o);
        assert_int_equal(http_pool_stats()->idle, 1);
        while (http_pool_stats()->idle > 0)
            settle();
        while (up.open > 0)
            settle();
        call_get(&o, &origin);
        expect_body(&o, 200, "hi");
        assert_false(o.was_reused);
        assert_false(o.was_retried);
        outcome_fini(&o);
        part_from(&up);
    }
}

static void an_idle_connection_with_news_is_closed_at_once(void **state)
{
    (void)state;
    run_client(lose_idle, NULL, NULL);
}

/* One step of the story at a time, for the clock is moved between them. */
struct expiring {
    struct http_origin origin;
    struct open_call calls[2];
    int step;
    bool is_done;
};

static void expire_step(void *arg)
{
    struct expiring *e = arg;
    if (e->step == 0) {
        open_call(&e->calls[0], &e->origin);
        open_call(&e->calls[1], &e->origin);
        end_call(&e->calls[0]);
    } else if (e->step == 1) {
        end_call(&e->calls[1]);
    } else {
        expect_number(&e->origin, "2");
    }
    e->step++;
    e->is_done = true;
}

static void run_step(struct expiring *e)
{
    e->is_done = false;
    assert_non_null(task_spawn(RUN_NORMAL, "step", expire_step, e));
    turn_until(&e->is_done);
}

static void advance_s(int64_t seconds)
{
    clock_fake_advance(seconds * NS_PER_SEC);
    for (int i = 0; i < 5; i++)
        loop_turn(loop_self(), 0);
}

static void idle_connections_expire_one_by_one(void **state)
{
    (void)state;
    static const struct http_pool_settings settings = {128, 1024, 60 * NS_PER_SEC};
    clock_fake(1000 * NS_PER_SEC, 0);
    struct loop *loop = loop_new(0);
    http_pool_init(&settings);
    struct upstream up = {.script = script_number};
    struct expiring e = {.origin = upstream_in_process(&up)};
    run_step(&e);
    advance_s(40);
    run_step(&e); /* the second is idle 40 s later than the first */
    static const struct {
        int64_t seconds, idle;
    } steps[] = {{19, 2}, {2, 1}, {37, 1}, {3, 0}, {100, 0}};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        advance_s(steps[i].seconds);
        assert_int_equal(http_pool_stats()->idle, steps[i].idle);
        assert_int_equal(up.open, steps[i].idle);
    }
    /* And the timer runs again for the next one. */
    run_step(&e);
    advance_s(59);
    assert_int_equal(http_pool_stats()->idle, 1);
    advance_s(2);
    assert_int_equal(http_pool_stats()->idle, 0);
    http_pool_fini();
    loop_free(loop);
    upstream_fini(&up);
    clock_real();
}

static void fill(void *arg)
{
    (void)arg;
    struct upstream up = {.script = script_number}, other = {.script = script_number};
    struct http_origin a = upstream_in_process(&up), b = upstream_in_process(&other);
    struct open_call c[4], d[4];
    for (size_t i = 0; i < 4; i++) {
        open_call(&c[i], &a);
        open_call(&d[i], &b);
    }
    /* Two for an origin: what was idle longest makes room. */
    for (size_t i = 0; i < 4; i++)
        end_call(&c[i]);
    assert_int_equal(http_pool_stats()->idle, 2);
    /* Three for all. */
    for (size_t i = 0; i < 4; i++)
        end_call(&d[i]);
    assert_int_equal(http_pool_stats()->idle, 3);
    expect_number(&a, "3");
    expect_number(&b, "3");
    while (up.open + other.open > 3)
        settle();
    assert_int_equal(up.open, 1);
    assert_int_equal(other.open, 2);
    part_from(&up);
    part_from(&other);
}

static void keep_none(void *arg)
{
    (void)arg;
    struct upstream up = {.script = script_number};
    struct http_origin origin = upstream_in_process(&up);
    expect_number(&origin, "0");
    expect_number(&origin, "1");
    assert_int_equal(http_pool_stats()->idle, 0);
    part_from(&up);
}

static void idle_connections_are_bounded(void **state)
{
    (void)state;
    static const struct http_pool_settings few = {2, 3, 60 * NS_PER_SEC};
    static const struct http_pool_settings none = {0, 3, 60 * NS_PER_SEC};
    static const struct http_pool_settings none_at_all = {2, 0, 60 * NS_PER_SEC};
    run_client(fill, NULL, &few);
    run_client(keep_none, NULL, &none);
    run_client(keep_none, NULL, &none_at_all);
}

/* Sends the head and waits for a byte from the test before it sends the rest. */
static void script_two_parts(struct served *served)
{
    const bool *may_go_on = served->upstream->ctx;
    while (upstream_read(served)) {
        upstream_send(served, STR("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"));
        while (!*may_go_on)
            settle();
        upstream_send(served, STR("hi"));
    }
}

static void purge(void *arg)
{
    (void)arg;
    bool may_go_on = false;
    struct upstream up = {.script = script_two_parts, .ctx = &may_go_on};
    struct http_origin old = upstream_in_process(&up), new = old;
    new.generation = 2;
    http_origin_seal(&new);
    struct open_call streaming, fresh;
    open_call(&streaming, &old);
    open_call(&fresh, &new);
    may_go_on = true;
    struct open_call other;
    open_call(&other, &old);
    end_call(&other);
    assert_int_equal(http_pool_stats()->idle, 1);
    /* A reload: idle connections of the old config go, those in use stay whole to their end. */
    may_go_on = false;
    http_pool_purge(2);
    assert_int_equal(http_pool_stats()->idle, 0);
    for (int i = 0; i < 200; i++)
        http_pool_purge(2);
    settle();
    may_go_on = true;
    end_call(&streaming);
    assert_int_equal(http_pool_stats()->idle, 0);
    end_call(&fresh);
    assert_int_equal(http_pool_stats()->idle, 1);
    open_call(&fresh, &new);
    assert_true(fresh.call.was_reused);
    end_call(&fresh);
    http_pool_purge(2);
    assert_int_equal(http_pool_stats()->idle, 1);
    part_from(&up);
}

static void a_reload_closes_no_connection_in_use(void **state)
{
    (void)state;
    run_client(purge, NULL, NULL);
}

enum { MANY = 250 };

/* Streams to many origins while the few idle connections that may be kept are turned over and
 * expire: none of those in use is touched. */
static void crowd(void *arg)
{
    (void)arg;
    bool may_go_on = false;
    static struct http_origin origins[MANY];
    static struct open_call streams[MANY];
    static char names[MANY][16];
    struct upstream up = {.script = script_two_parts, .ctx = &may_go_on};
    struct upstream other = {.script = script_ok};
    struct http_origin passing = upstream_in_process(&other);
    for (int i = 0; i < MANY; i++) {
        origins[i] = upstream_in_process(&up);
        snprintf(names[i], sizeof(names[i]), "host%d.test", i);
        origins[i].target.host = str_c(names[i]);
        http_origin_seal(&origins[i]);
        open_call(&streams[i], &origins[i]);
        passing.target.port = (uint16_t)i;
        http_origin_seal(&passing);
        struct outcome o;
        call_get(&o, &passing);
        expect_body(&o, 200, "hi");
        outcome_fini(&o);
        assert_in_range(http_pool_stats()->idle, 1, 3);
        assert_int_equal(http_pool_stats()->busy, i + 1);
    }
    http_pool_purge(0);
    assert_int_equal(http_pool_stats()->busy, MANY);
    may_go_on = true;
    for (int i = 0; i < MANY; i++)
        end_call(&streams[i]);
    part_from(&up);
    part_from(&other);
}

static void streams_outlive_the_turnover_of_the_pool(void **state)
{
    (void)state;
    static const struct http_pool_settings few = {2, 3, NS_PER_MS};
    run_client(crowd, NULL, &few);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_connection_used_last_is_used_again),
        cmocka_unit_test(a_connection_is_free_with_the_last_byte),
        cmocka_unit_test(only_equal_origins_share_a_connection),
        cmocka_unit_test(a_reused_connection_that_dies_is_replaced_once),
        cmocka_unit_test(there_is_no_second_retry_and_none_after_a_byte),
        cmocka_unit_test(a_retry_that_cannot_connect_says_so),
        cmocka_unit_test(an_idle_connection_with_news_is_closed_at_once),
        cmocka_unit_test(idle_connections_expire_one_by_one),
        cmocka_unit_test(idle_connections_are_bounded),
        cmocka_unit_test(a_reload_closes_no_connection_in_use),
        cmocka_unit_test(streams_outlive_the_turnover_of_the_pool),
    };
    return cmocka_run_group_tests_name("http/pool", tests, NULL, NULL);
}
