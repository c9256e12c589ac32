#include "base/err.h"
#include "calling.h"
#include "http/server.h"

/* Calls over shared connections, with our own server at the other end. */

static struct http_server_settings serving_settings;
static unsigned conns; /* that were opened */
static unsigned running, running_max;
static bool goes_on;

static void handle(struct http_request *r, void *ctx)
{
    struct buf body = BUF_INIT;
    uint64_t n = 0;
    (void)ctx;
    str_to_u64(r->query, &n);
    running++;
    running_max = MAX(running, running_max);
    if (str_eq(r->path, STR("/wait"))) {
        http_request_watch_hangup(r, task_self());
        while (!goes_on && task_sleep_until(in_ms(1)) == 0)
            continue;
        if (goes_on)
            http_respond(r, 200, NULL, STR("waited"));
    } else if (str_eq(r->path, STR("/early"))) {
        http_respond(r, 413, NULL, STR("too much"));
    } else if (str_eq(r->path, STR("/bytes"))) {
        static char block[50 * 1000];
        http_response_start(r, 200, NULL, -1);
        for (uint64_t i = 0; i < n; i++) {
            struct iovec iov = {block, sizeof(block)};
            memset(block, 'a' + (int)(i % 26), sizeof(block));
            if (http_response_write(r, &iov, 1, i + 1 == n, CLOCK_NEVER) < 0)
                break;
        }
    } else if (str_eq(r->path, STR("/broken"))) {
        struct iovec iov = {(void *)(uintptr_t) "half", 4};
        http_response_start(r, 200, NULL, 10);
        http_response_write(r, &iov, 1, false, CLOCK_NEVER);
    } else if (str_eq(r->path, STR("/empty"))) {
        http_respond(r, 204, NULL, STR_EMPTY);
    } else if (http_request_collect(r, serving_settings.limits.body_bytes, CLOCK_NEVER, &body) ==
               0) {
        struct http_headers headers = {0};
        http_headers_add(&headers, r->arena, STR("X-Version"),
                         arena_u64(r->arena, r->version_major));
        http_headers_add(&headers, r->arena, STR("X-Host"), r->authority);
        http_headers_add(&headers, r->arena, STR("X-Given"),
                         http_headers_get(&r->headers, STR("x-given")));
        http_respond(r, 200, &headers, buf_str(&body));
    }
    running--;
    buf_fini(&body);
}

static void serve(int fd, void *ctx)
{
    conns++;
    http_serve(fd, NULL, NULL, &serving_settings, handle, ctx);
}

static struct http_origin origin_h2(void)
{
    struct http_origin origin = {
        .target = {.host = STR("up.test"), .port = 80},
        .host_header = STR("up.test"),
        .generation = 1,
        .speaks_h2 = true,
        .in_process = serve,
    };
    http_origin_seal(&origin);
    return origin;
}

static int setup(void **state)
{
    (void)state;
    conns = running = running_max = 0;
    goes_on = false;
    serving_settings = (struct http_server_settings){
        .limits = http_limits_default,
        .head_timeout_ns = PATIENCE_MS * NS_PER_MS,
        .body_timeout_ns = PATIENCE_MS * NS_PER_MS,
        .keep_alive_timeout_ns = PATIENCE_MS * NS_PER_MS,
        .write_timeout_ns = PATIENCE_MS * NS_PER_MS,
    };
    return 0;
}

static struct http_call_request get(const char *target)
{
    return (struct http_call_request){.method = METHOD_GET, .target = str_c(target)};
}

YIELDS static void ask(struct outcome *o, const struct http_origin *origin, const char *target)
{
    struct http_call_request request = get(target);
    call_with(o, origin, &request, &patient);
}

/* --- one call ----------------------------------------------------------------------------------
 */

static void echo_main(void *arg)
{
    (void)arg;
    struct http_origin origin = origin_h2();
    struct iovec parts[] = {{(void *)(uintptr_t) "hello ", 6}, {(void *)(uintptr_t) "world", 5}};
    struct http_header header = {STR("X-Given"), STR("yes")};
    struct http_headers headers = {&header, 1, 1};
    struct http_call_request request = {.method = METHOD_POST,
                                        .target = STR("/echo"),
                                        .headers = &headers,
                                        .body = parts,
                                        .body_count = 2,
                                        .body_bytes = 11};
    for (unsigned i = 0; i < 3; i++) {
        struct outcome o;
        struct http_call call;
        struct arena *arena = arena_new(4096);
        o = (struct outcome){.body = BUF_INIT};
        assert_int_equal(http_call_start(&call, arena, &origin, &request, &patient), 0);
        assert_int_equal(http_call_head(&call), 0);
        assert_int_equal(call.head.status, 200);
        assert_true(str_eq(http_headers_get(&call.head.headers, STR("x-version")), STR("2")));
        assert_true(str_eq(http_headers_get(&call.head.headers, STR("x-host")), STR("up.test")));
        assert_true(str_eq(http_headers_get(&call.head.headers, STR("x-given")), STR("yes")));
        assert_int_equal(call.head.framing, H1_LENGTH);
        assert_int_equal(call.was_reused, i > 0);
        assert_true(call.sent_ns >= call.start_ns && call.first_byte_ns >= call.sent_ns);
        assert_int_equal(read_all(&call, &o), 0);
        assert_true(str_eq(buf_str(&o.body), STR("hello world")));
        http_call_finish(&call);
        arena_free(arena);
        outcome_fini(&o);
    }
    assert_int_equal(conns, 1);
    assert_int_equal(http_pool_stats()->idle, 1);
}

static void calls_share_a_connection_one_after_the_other(void **state)
{
    (void)state;
    run_client(echo_main, NULL, NULL);
}

static void sizes_main(void *arg)
{
    (void)arg;
    struct http_origin origin = origin_h2();
    struct outcome o;
    ask(&o, &origin, "/bytes?100");
    assert_int_equal(o.result, 0);
    assert_int_equal(o.body.len, 5 * 1000 * 1000);
    for (size_t i = 0; i < o.body.len; i += 50 * 1000)
        assert_int_equal(o.body.ptr[i], 'a' + (int)(i / (50 * 1000) % 26));
    outcome_fini(&o);
    ask(&o, &origin, "/empty");
    expect_body(&o, 204, "");
    assert_true(o.went_back);
    outcome_fini(&o);
    struct http_call_request head = get("/bytes?1");
    head.method = METHOD_HEAD;
    call_with(&o, &origin, &head, &patient);
    expect_body(&o, 200, "");
    outcome_fini(&o);

    size_t len = 8 * 1000 * 1000;
    char *big = malloc(len);
    memset(big, 'z', len);
    struct iovec part = {big, len};
    struct http_call_request post = {.method = METHOD_POST,
                                     .target = STR("/echo"),
                                     .body = &part,
                                     .body_count = 1,
                                     .body_bytes = len};
    call_with(&o, &origin, &post, &patient);
    assert_int_equal(o.result, 0);
    assert_int_equal(o.body.len, len);
    assert_memory_equal(o.body.ptr, big, len);
    outcome_fini(&o);
    free(big);
    assert_int_equal(conns, 1);
}

static void bodies_of_all_sizes_arrive_whole(void **state)
{
    (void)state;
    run_client(sizes_main, NULL, NULL);
}

static void broken_main(void *arg)
{
    (void)arg;
    struct http_origin origin = origin_h2();
    struct outcome o;
    ask(&o, &origin, "/broken");
    assert_int_equal(o.result, -ERR_RESET);
    assert_int_equal(o.err.fault, FAULT_UPSTREAM);
    assert_true(str_eq(buf_str(&o.body), STR("half")));
    assert_non_null(strstr(o.err.message, "reset the stream before the end of the response"));
    outcome_fini(&o);
    ask(&o, &origin, "/empty");
    expect_body(&o, 204, "");
    outcome_fini(&o);
    assert_int_equal(conns, 1); /* the others do not suffer */
}

static void an_answer_that_breaks_off_is_one_calls_matter(void **state)
{
    (void)state;
    run_client(broken_main, NULL, NULL);
}

static void early_main(void *arg)
{
    (void)arg;
    struct http_origin origin = origin_h2();
    size_t len = 4 * 1000 * 1000;
    char *big = calloc(1, len);
    struct iovec part = {big, len};
    struct http_call_request post = {.method = METHOD_POST,
                                     .target = STR("/early"),
                                     .body = &part,
                                     .body_count = 1,
                                     .body_bytes = len};
    struct outcome o;
    call_with(&o, &origin, &post, &patient);
    expect_body(&o, 413, "too much");
    outcome_fini(&o);
    ask(&o, &origin, "/empty");
    expect_body(&o, 204, "");
    outcome_fini(&o);
    assert_int_equal(conns, 1);
    free(big);
}

static void an_early_answer_ends_the_sending(void **state)
{
    (void)state;
    run_client(early_main, NULL, NULL);
}

/* --- many ------------------------------------------------------------------------------------- */

struct many {
    struct http_origin origin;
    const char *target;
    unsigned left;
    unsigned answered, failed;
    struct http_timeouts timeouts;
};

static void one_of_many(void *arg)
{
    struct many *many = arg;
    struct outcome o;
    struct http_call_request request = get(many->target);
    call_with(&o, &many->origin, &request, &many->timeouts);
    if (o.result == 0 && o.status == 200)
        many->answered++;
    else
        many->failed++;
    outcome_fini(&o);
    many->left--;
}

YIELDS static void start_many(struct many *many, unsigned count)
{
    many->origin = origin_h2();
    if (many->timeouts.connect_ns == 0)
        many->timeouts = patient;
    many->left = count;
    for (unsigned i = 0; i < count; i++)
        assert_non_null(task_spawn(RUN_NORMAL, "call", one_of_many, many));
}

static void many_main(void *arg)
{
    (void)arg;
    struct many many = {.target = "/wait"};
    start_many(&many, 1000);
    while (running < 1000)
        assert_int_equal(task_sleep_until(in_ms(1)), 0);
    goes_on = true;
    while (many.left > 0)
        assert_int_equal(task_sleep_until(in_ms(1)), 0);
    assert_int_equal(many.answered, 1000);
    assert_true(conns >= 10 && conns <= 12);
    assert_int_equal(http_pool_stats()->busy, 0);
}

static void a_thousand_calls_at_once_need_ten_connections(void **state)
{
    (void)state;
    run_client(many_main, NULL, NULL);
}

static void given_up_main(void *arg)
{
    (void)arg;
    struct many many = {.target = "/wait", .timeouts = patient};
    many.timeouts.first_byte_ns = 50 * NS_PER_MS;
    start_many(&many, 20);
    while (many.left > 0)
        assert_int_equal(task_sleep_until(in_ms(1)), 0);
    assert_int_equal(many.failed, 20);
    /* The upstream is told: it stops what it does for us. */
    while (running > 0)
        assert_int_equal(task_sleep_until(in_ms(1)), 0);
    struct outcome o;
    ask(&o, &many.origin, "/empty");
    expect_body(&o, 204, "");
    outcome_fini(&o);
    assert_int_equal(conns, 1);
}

static void calls_that_are_given_up_end_upstream(void **state)
{
    (void)state;
    run_client(given_up_main, NULL, NULL);
}

static void slow_main(void *arg)
{
    (void)arg;
    struct http_origin origin = origin_h2();
    struct http_call_request request = get("/bytes?100");
    struct http_call call;
    struct arena *arena = arena_new(4096);
    assert_int_equal(http_call_start(&call, arena, &origin, &request, &patient), 0);
    assert_int_equal(http_call_head(&call), 0);
    /* Nobody reads it; others are not held up, and no more than a window of it comes. */
    for (unsigned i = 0; i < 50; i++) {
        struct outcome o;
        ask(&o, &origin, "/bytes?2");
        assert_int_equal(o.body.len, 100 * 1000);
        outcome_fini(&o);
    }
    assert_true(call.bytes_in <= 300 * 1000);
    struct outcome o = {.body = BUF_INIT};
    assert_int_equal(read_all(&call, &o), 0);
    assert_int_equal(o.body.len, 5 * 1000 * 1000);
    outcome_fini(&o);
    http_call_finish(&call);
    arena_free(arena);
    assert_int_equal(conns, 1);
}

static void a_call_that_is_not_read_holds_up_itself_only(void **state)
{
    (void)state;
    run_client(slow_main, NULL, NULL);
}

/* --- the pool -----------------------------------------------------------------------------------
 */

static void purge_main(void *arg)
{
    (void)arg;
    struct http_origin origin = origin_h2();
    struct outcome o;
    ask(&o, &origin, "/empty");
    outcome_fini(&o);
    assert_int_equal(http_pool_stats()->idle, 1);
    http_pool_purge(2);
    assert_int_equal(http_pool_stats()->idle, 0);
    while (http_server_connections() > 0)
        assert_int_equal(task_sleep_until(in_ms(1)), 0);
    ask(&o, &origin, "/empty");
    expect_body(&o, 204, "");
    outcome_fini(&o);
    assert_int_equal(http_pool_stats()->idle, 0); /* of another generation than is kept */
    http_pool_purge(1);
    assert_int_equal(conns, 2);
}

static void connections_of_old_configs_end(void **state)
{
    (void)state;
    run_client(purge_main, NULL, NULL);
    http_pool_purge(0);
}

static void idle_main(void *arg)
{
    (void)arg;
    struct http_origin origin = origin_h2();
    struct outcome o;
    ask(&o, &origin, "/empty");
    outcome_fini(&o);
    while (http_server_connections() > 0)
        assert_int_equal(task_sleep_until(in_ms(1)), 0);
    assert_int_equal(http_pool_stats()->idle, 0);
    ask(&o, &origin, "/empty");
    expect_body(&o, 204, "");
    outcome_fini(&o);
}

static void an_idle_connection_ends_in_time(void **state)
{
    (void)state;
    const struct http_pool_settings settings = {8, 8, 20 * NS_PER_MS};
    run_client(idle_main, NULL, &settings);
    assert_int_equal(conns, 2);
}

static void drain_main(void *arg)
{
    (void)arg;
    struct many many = {.target = "/wait"};
    start_many(&many, 10);
    while (running < 10)
        assert_int_equal(task_sleep_until(in_ms(1)), 0);
    http_server_drain();
    assert_int_equal(task_sleep_until(in_ms(20)), 0);
    /* The connection takes no more; what runs on it goes on, what comes goes elsewhere. */
    struct outcome o;
    ask(&o, &many.origin, "/empty");
    expect_body(&o, 204, "");
    outcome_fini(&o);
    assert_int_equal(conns, 2);
    goes_on = true;
    while (many.left > 0)
        assert_int_equal(task_sleep_until(in_ms(1)), 0);
    assert_int_equal(many.answered, 10);
}

static void a_goaway_loses_no_call(void **state)
{
    (void)state;
    run_client(drain_main, NULL, NULL); /* the last one: a drain is not taken back */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(calls_share_a_connection_one_after_the_other, setup),
        cmocka_unit_test_setup(bodies_of_all_sizes_arrive_whole, setup),
        cmocka_unit_test_setup(an_answer_that_breaks_off_is_one_calls_matter, setup),
        cmocka_unit_test_setup(an_early_answer_ends_the_sending, setup),
        cmocka_unit_test_setup(a_thousand_calls_at_once_need_ten_connections, setup),
        cmocka_unit_test_setup(calls_that_are_given_up_end_upstream, setup),
        cmocka_unit_test_setup(a_call_that_is_not_read_holds_up_itself_only, setup),
        cmocka_unit_test_setup(connections_of_old_configs_end, setup),
        cmocka_unit_test_setup(an_idle_connection_ends_in_time, setup),
        cmocka_unit_test_setup(a_goaway_loses_no_call, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
