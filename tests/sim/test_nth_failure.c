#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/gateway.h"
#include "gateway/resume_producer.h"
#include "observe/access_log.h"
#include "observe/metrics.h"
#include "route/health.h"
#include "route/plan.h"
#include "rt/io.h"
#include "rt/sys.h"
#include "stream/journal_memory.h"

/*
 * The N-th allocation, then the N-th system call, fails on the way of a request, for every N until
 * nothing is left to fail: the client gets a whole answer, an error in its dialect, or a closed
 * connection; nothing leaks and nothing stops.
 */

static const char whole_request[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                                    "Authorization: Bearer nth-failure-key\r\n"
                                    "Content-Length: 83\r\n\r\n"
                                    "{\"model\":\"sim/echo?delay=0ms&pace=0ms\",\"messages\":"
                                    "[{\"role\":\"user\",\"content\":\"hi\"}]}";
static const char stream_request[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                                     "Authorization: Bearer nth-failure-key\r\n"
                                     "Content-Length: 97\r\n\r\n"
                                     "{\"stream\":true,\"model\":\"sim/echo?delay=0ms&pace=0ms\","
                                     "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";

/* The first target fails: before its answer, or in the middle of its stream. */
#define ROUTED(name, more)                                                                       \
    "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nth-failure-key\r\n" \
    "Content-Length: " more "\r\n\r\n{\"model\":\"" name "\","
static const char failover_request[] =
    ROUTED("over", "60") "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
/* What a call says is the same when it is asked for again. */
static const char continued_request[] = ROUTED(
    "cont",
    "238") "\"stream\":true,\"tool_choice\":\"required\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}}}],\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";

/* Answers that go to a journal first: by a wish, by a key that is new each time, read again by the
 * key and by the stream's id. */
#define RESUMED(header)                                                                                 \
    "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nth-failure-key\r\n" header \
    "\r\nContent-Length: 97\r\n\r\n{\"stream\":true,\"model\":\"sim/echo?delay=0ms&"                    \
    "pace=0ms\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
static const char resumed_request[] = RESUMED("x-weir-resume: true");
static const char repeated_request[] = RESUMED("Idempotency-Key: always the same");
static char once_request[] = RESUMED("Idempotency-Key: number 000000");
static char again_request[256];

/* A socket, and two requests on it: frames with a key of zeros, which changes nothing. */
#define FRAME(length) "\x81\xfe" length "\0\0\0\0"
static const char socket_requests[] =
    "GET /v1/ws HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nth-failure-key\r\n"
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" FRAME(
        "\0\x88") "{\"id\":1,\"path\":\"/v1/chat/completions\",\"body\":{\"model\":\"sim/echo?delay=0ms&pace=0ms\","
                  "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}}       " FRAME(
                      "\0\x9f") "{\"id\":\"two\",\"path\":\"/v1/chat/completions\",\"credit\":99,\"body\":{\"stream\":true,"
                                "\"model\":\"sim/echo?delay=0ms&pace=0ms\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}}";

static struct gateway_thread *gateway;

static void make_route(struct settings *s, unsigned index, struct str name, struct str first)
{
    struct route_target *targets = arena_calloc(s->arena, 2 * sizeof(*targets));
    struct route *route = &s->routes[index];
    assert_non_null(targets);
    targets[0] = (struct route_target){.target = first, .weight = 1};
    targets[1] = (struct route_target){.target = STR("sim/echo?delay=0ms&pace=0ms"), .weight = 1};
    *route =
        (struct route){.name = name, .targets = targets, .target_count = 2, .policy = s->routing};
    assert_int_equal(route_prepare(route, s->arena), 0);
}

static void make_routes(struct settings *s)
{
    s->routing = route_policy_default;
    s->routing.backoff_ns = s->routing.backoff_max_ns = 1;
    s->routing.breaker_failures = s->routing.breaker_percent = 0;
    s->routing.retry_budget_percent = 100;
    s->journal.stream_bytes = 1 << 16;
    s->journal.total_bytes = 1 << 20;
    s->journal.ttl_ns = 3600 * NS_PER_SEC;
    s->routes = arena_calloc(s->arena, 2 * sizeof(*s->routes));
    s->route_count = 2;
    assert_non_null(s->routes);
    make_route(s, 0, STR("over"), STR("sim/echo?delay=0ms&error=500"));
    make_route(s, 1, STR("cont"), STR("sim/echo?delay=0ms&pace=0ms&break=1"));
}

static struct settings *make_settings(void)
{
    struct arena *arena = arena_new(4096);
    struct settings *s = ARENA_NEW(arena, struct settings);
    s->arena = arena;
    s->limits = http_limits_default;
    s->json_depth = 128;
    s->response_bytes = s->event_bytes = 1 << 20;
    int64_t second = NS_PER_SEC;
    s->timeouts = (struct timeout_settings){.connect = second,
                                            .tls = second,
                                            .first_byte = second,
                                            .stall = second,
                                            .client_header = second,
                                            .client_body = second,
                                            .client_idle = second,
                                            .client_stall = second};
    s->bridge = (struct bridge_settings){.message_bytes = 1 << 20, .requests = 8};
    s->pool = (struct http_pool_settings){8, 8, second};
    s->keys = ARENA_NEW(arena, struct virtual_key);
    s->key_count = 1;
    s->keys[0].name = STR("test");
    key_hash(STR("nth-failure-key"), s->keys[0].sha256);
    s->providers = ARENA_NEW(arena, struct provider);
    s->provider_count = 1;
    struct provider *p = &s->providers[0];
    p->name = STR("sim");
    p->base_url = STR("http://sim.invalid/v1");
    p->is_simulated = true;
    p->auth = AUTH_NO_CREDENTIAL;
    p->paths[OPERATION_CHAT] = STR("/chat/completions");
    assert_int_equal(provider_resolve(p), 0);
    make_routes(s);
    return s;
}

/* --- the client: raw bytes out, whatever comes back in --- */

struct client {
    struct io io;
    const char *request;
    size_t request_len;
    struct buf answer;
    bool is_done;
};

/* Of a socket: both requests have ended, or were told that they do not begin. */
static bool has_two_ends(struct str answer)
{
    static const struct str ends[] = {STR_INIT("\"end\":\""), STR_INIT(",\"error\":{\"code\":")};
    unsigned count = 0;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct str rest = answer;
        for (ptrdiff_t at; (at = str_find(rest, ends[i])) >= 0; count++)
            rest = str_skip(rest, (size_t)at + ends[i].len);
    }
    return count >= 2;
}

static bool is_complete(struct str answer)
{
    if (str_starts(answer, STR("HTTP/1.1 101")))
        return has_two_ends(answer);
    ptrdiff_t body = str_find(answer, STR("\r\n\r\n"));
    if (body < 0)
        return false;
    if (str_ifind(str_head(answer, (size_t)body), STR("transfer-encoding: chunked")) >= 0)
        return str_ends(answer, STR("\r\n0\r\n\r\n"));
    ptrdiff_t at = str_ifind(answer, STR("content-length: "));
    uint64_t length;
    struct str digits = str_skip(answer, (size_t)at + 16);
    assert_true(at > 0);
    assert_true(str_to_u64(str_head(digits, (size_t)str_index(digits, '\r')), &length));
    return answer.len == (size_t)body + 4 + length;
}

static void client_main(void *arg)
{
    struct client *c = arg;
    int64_t deadline = clock_mono_ns() + 5 * NS_PER_SEC;
    if (io_write(&c->io, c->request, c->request_len, deadline) == 0) {
        struct str bytes;
        while (!is_complete(buf_str(&c->answer)) && io_recv(&c->io, &bytes, deadline) > 0)
            buf_add_str(&c->answer, bytes);
    }
    io_close(&c->io);
    c->is_done = true;
}

/* --- faults --- */

static uint64_t calls_left;
static bool is_armed;

/* Only calls by which the gateway does its work: the test's own client uses the same seam, so the
 * first write (its request) goes through. */
static bool fail_nth(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    (void)ctx;
    (void)fd;
    if (!is_armed || call == SYS_CLOSE || call == SYS_EPOLL_WAIT || call == SYS_READ)
        return false;
    if (--calls_left > 0)
        return false;
    is_armed = false;
    errno = call == SYS_RECV || call == SYS_WRITEV ? ECONNRESET : ENOMEM;
    *result = -1;
    return true;
}

struct outcome {
    bool failed; /* the fault was met */
    bool answered;
    bool was_tried_twice, is_whole; /* by its header; without an error in it */
    bool was_repeated;
    unsigned status;
    char stream_id[JOURNAL_ID_LEN + 1]; /* "" = none */
};

/* A key that nobody has used: its number goes up. */
static void renew_key(void)
{
    char *digit = strstr(once_request, "number ") + sizeof("number 000000") - 2;
    while (*digit == '9')
        *digit-- = '0';
    ++*digit;
}

static void note_stream_id(struct outcome *o, struct str answer)
{
    ptrdiff_t at = str_find(answer, STR("x-weir-stream-id: "));
    if (at < 0 || answer.len < (size_t)at + 18 + JOURNAL_ID_LEN)
        return;
    memcpy(o->stream_id, answer.ptr + at + 18, JOURNAL_ID_LEN);
}

static unsigned status_of(struct str answer)
{
    uint64_t status;
    assert_true(str_starts(answer, STR("HTTP/1.1 ")));
    assert_true(str_to_u64(str_head(str_skip(answer, 9), 3), &status));
    return (unsigned)status;
}

/* One request from a fresh connection to the end of all tasks. */
static struct outcome run(const char *request, size_t len, uint64_t nth_alloc, uint64_t nth_call)
{
    struct client client = {.request = request, .request_len = len};
    struct outcome outcome = {0};
    int ends[2];
    if (request == once_request)
        renew_key();
    assert_int_equal(sys_socketpair(ends), 0);
    assert_int_equal(io_open(&client.io, ends[0]), 0);
    struct net_addr nobody = {.len = 0};
    assert_non_null(task_spawn(RUN_NORMAL, "test client", client_main, &client));
    if (nth_alloc > 0)
        mem_fail_at(nth_alloc);
    calls_left = nth_call;
    is_armed = nth_call > 0;
    sys_hook(fail_nth, NULL);
    http_serve(ends[1], &nobody, NULL, gateway_http_settings(gateway), gateway_handle, gateway);
    int64_t deadline = clock_mono_ns() + 10 * NS_PER_SEC;
    while (!client.is_done && clock_mono_ns() < deadline)
        loop_turn(loop_self(), 50 * NS_PER_MS);
    outcome.failed = nth_alloc > 0 ? mem_count() >= nth_alloc : nth_call > 0 && !is_armed;
    mem_fail_at(0);
    is_armed = false;
    sys_hook(NULL, NULL);
    assert_true(client.is_done);
    /* What is left ends by itself: the client's connection, then idle ones of the pool. */
    http_pool_purge(0);
    while (task_count() > 0 && clock_mono_ns() < deadline)
        loop_turn(loop_self(), 50 * NS_PER_MS);
    assert_int_equal(task_count(), 0);
    outcome.answered = is_complete(buf_str(&client.answer));
    if (outcome.answered)
        outcome.status = status_of(buf_str(&client.answer));
    outcome.was_tried_twice = str_find(buf_str(&client.answer), STR("x-weir-attempts: 2")) >= 0 ||
                              str_find(buf_str(&client.answer), STR(": weir failover")) >= 0;
    outcome.was_repeated = str_find(buf_str(&client.answer), STR("x-weir-idempotent-replay")) >= 0;
    note_stream_id(&outcome, buf_str(&client.answer));
    outcome.is_whole = str_find(buf_str(&client.answer), STR("\"error\"")) < 0;
    buf_fini(&client.answer);
    return outcome;
}

static void expect_sane(const char *what, uint64_t n, struct outcome o)
{
    if (!o.answered) /* closed without an answer, or in the middle of one */
        return;
    bool is_sane = o.status == 101 || o.status == 200 || o.status == 400 || o.status == 500 ||
                   o.status == 502 || o.status == 503 || o.status == 404;
    if (!is_sane)
        fail_msg("%s %llu failed: status %u", what, (unsigned long long)n, o.status);
}

static void fail_every_one(const char *request, size_t len)
{
    enum { TOO_MANY = 4000 };
    struct outcome o = run(request, len, 0, 0);
    assert_true(o.answered);
    unsigned status = o.status;
    assert_true(status == 200 || status == 101);
    uint64_t n = 1;
    for (; n < TOO_MANY; n++) {
        o = run(request, len, n, 0);
        expect_sane("allocation", n, o);
        if (!o.failed)
            break;
    }
    assert_true(n > 5 && n < TOO_MANY);
    for (n = 1; n < TOO_MANY; n++) {
        o = run(request, len, 0, n);
        expect_sane("system call", n, o);
        if (!o.failed)
            break;
    }
    assert_true(n > 5 && n < TOO_MANY);
    o = run(request, len, 0, 0);
    assert_int_equal(o.status, status);
}

static void a_whole_answer_survives_every_failure(void **state)
{
    (void)state;
    fail_every_one(whole_request, sizeof(whole_request) - 1);
}

static void a_stream_survives_every_failure(void **state)
{
    (void)state;
    fail_every_one(stream_request, sizeof(stream_request) - 1);
}

/* The way that is to be tested is the one that is gone. */
static void expect_two_tries(const char *request, size_t len)
{
    struct outcome o = run(request, len, 0, 0);
    assert_true(o.answered && o.is_whole && o.was_tried_twice);
}

static void a_failover_survives_every_failure(void **state)
{
    (void)state;
    expect_two_tries(failover_request, sizeof(failover_request) - 1);
    fail_every_one(failover_request, sizeof(failover_request) - 1);
    expect_two_tries(failover_request, sizeof(failover_request) - 1);
}

static void a_continued_stream_survives_every_failure(void **state)
{
    (void)state;
    expect_two_tries(continued_request, sizeof(continued_request) - 1);
    fail_every_one(continued_request, sizeof(continued_request) - 1);
    expect_two_tries(continued_request, sizeof(continued_request) - 1);
}

/* Nothing goes on for nobody. */
static void expect_no_running_journal(void)
{
    struct journal_memory_stats stats;
    journal_memory_stats(producer_store(), &stats);
    assert_int_equal(stats.running, 0);
}

static void a_resumable_stream_survives_every_failure(void **state)
{
    (void)state;
    fail_every_one(resumed_request, sizeof(resumed_request) - 1);
    expect_no_running_journal();
    fail_every_one(once_request, sizeof(once_request) - 1);
    expect_no_running_journal();
}

static void a_repeated_answer_survives_every_failure(void **state)
{
    (void)state;
    struct outcome o = run(repeated_request, sizeof(repeated_request) - 1, 0, 0);
    assert_true(o.answered && o.is_whole && !o.was_repeated);
    fail_every_one(repeated_request, sizeof(repeated_request) - 1);
    o = run(repeated_request, sizeof(repeated_request) - 1, 0, 0);
    assert_true(o.answered && o.is_whole && o.was_repeated);
}

static void a_stream_that_is_come_back_for_survives_every_failure(void **state)
{
    (void)state;
    struct outcome o = run(resumed_request, sizeof(resumed_request) - 1, 0, 0);
    assert_true(o.answered && o.stream_id[0] != '\0');
    int len = snprintf(again_request, sizeof(again_request),
                       "GET /v1/streams/%s HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 1\r\n"
                       "Authorization: Bearer nth-failure-key\r\n\r\n",
                       o.stream_id);
    fail_every_one(again_request, (size_t)len);
    o = run(again_request, (size_t)len, 0, 0);
    assert_true(o.answered && o.is_whole && o.status == 200);
    expect_no_running_journal();
}

/* Nobody waits in vain either: what cannot be said ends the socket. */
static void a_socket_of_requests_survives_every_failure(void **state)
{
    (void)state;
    struct outcome o = run(socket_requests, sizeof(socket_requests) - 1, 0, 0);
    assert_true(o.answered && o.is_whole);
    fail_every_one(socket_requests, sizeof(socket_requests) - 1);
}

static int set_up(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct settings *settings = make_settings();
    metrics_init(1, 100, clock_wall_ns());
    metrics_thread_init(loop);
    health_init(0);
    http_pool_init(&settings->pool);
    struct snapshot *snapshot = snapshot_new(settings, 1);
    assert_non_null(snapshot);
    gateway = gateway_thread_new(snapshot);
    assert_non_null(gateway);
    snapshot_unref(snapshot);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gateway_thread_free(gateway);
    http_pool_fini();
    metrics_thread_fini();
    loop_free(loop_self());
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_answer_survives_every_failure),
        cmocka_unit_test(a_stream_survives_every_failure),
        cmocka_unit_test(a_failover_survives_every_failure),
        cmocka_unit_test(a_continued_stream_survives_every_failure),
        cmocka_unit_test(a_resumable_stream_survives_every_failure),
        cmocka_unit_test(a_repeated_answer_survives_every_failure),
        cmocka_unit_test(a_stream_that_is_come_back_for_survives_every_failure),
        cmocka_unit_test(a_socket_of_requests_survives_every_failure),
    };
    return cmocka_run_group_tests_name("sim/nth-failure", tests, set_up, tear_down);
}
