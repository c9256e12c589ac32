#include "rt/dns.h"

#include "base/mem.h"
#include "name_server.h"
#include "rig.h"

/* One question by a task. */
struct ask {
    const char *host;
    int64_t patience_ms; /* 0 = 20 s */
    int result;
    struct err err;
    struct dns_answer answer;
};

static void ask_main(void *arg)
{
    struct ask *ask = arg;
    ask->result = dns_resolve(str_c(ask->host), 443, &ask->answer,
                              rig_in_ms(ask->patience_ms != 0 ? ask->patience_ms : 20000));
    ask->err = *err_slot();
}

static struct ask resolve(const char *host)
{
    struct ask ask = {.host = host};
    assert_non_null(task_spawn(RUN_NORMAL, "ask", ask_main, &ask));
    rig_turn_until_idle();
    return ask;
}

static void expect(const struct ask *ask, unsigned count, ...)
{
    assert_int_equal(ask->result, 0);
    assert_int_equal(ask->answer.count, count);
    va_list args;
    va_start(args, count);
    for (unsigned i = 0; i < count; i++) {
        const char *wanted = va_arg(args, const char *);
        bool is_there = false;
        for (unsigned j = 0; j < ask->answer.count; j++) {
            char text[NET_ADDR_TEXT_BYTES];
            net_addr_format(&ask->answer.addrs[j], true, text);
            is_there |= strcmp(text, wanted) == 0;
        }
        if (!is_there)
            fail_msg("%s is not among the answers", wanted);
    }
    va_end(args);
}

/* A loop, and a name server that its resolver asks. */
struct rig {
    struct loop *loop;
    struct name_server server;
};

static int rig_up(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    name_server_start(&rig->server);
    rig->loop = loop_new(0);
    dns_use_servers(rig->server.csv);
    *state = rig;
    return 0;
}

static int rig_down(void **state)
{
    struct rig *rig = *state;
    dns_fake(NULL, NULL);
    dns_thread_fini();
    dns_use_servers(NULL);
    loop_free(rig->loop);
    name_server_stop(&rig->server);
    free(rig);
    clock_real();
    return 0;
}

/* --- without a question -------------------------------------------------------------------------
 */

static void literals_and_localhost_need_no_server(void **state)
{
    struct rig *rig = *state;
    struct ask ask = resolve("10.1.2.3");
    expect(&ask, 1, "10.1.2.3:443");
    ask = resolve("[2001:db8::7]");
    expect(&ask, 1, "[2001:db8::7]:443");
    static const char *const names[] = {"localhost", "LOCALHOST", "localhost.", "api.localhost"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ask = resolve(names[i]);
        expect(&ask, 2, "127.0.0.1:443", "[::1]:443");
    }
    assert_int_equal(atomic_load(&rig->server.queries), 0);
}

static void what_is_no_name_is_refused(void **state)
{
    struct rig *rig = *state;
    char too_long[300];
    memset(too_long, 'a', sizeof(too_long) - 1);
    too_long[sizeof(too_long) - 1] = '\0';
    const char *const names[] = {"", too_long, "a..b", ".", ".a", "a b", "a/b", "b\xc3\xbc.test"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(resolve(names[i]).result, -ERR_DNS);
    assert_int_equal(atomic_load(&rig->server.queries), 0);
}

/* --- the real resolver --------------------------------------------------------------------------
 */

static void names_get_all_their_addresses(void **state)
{
    (void)state;
    struct ask ask = resolve("v4.example");
    expect(&ask, 1, "192.0.2.1:443");
    ask = resolve("v6.example");
    expect(&ask, 1, "[2001:db8::1]:443");
    ask = resolve("both.example");
    expect(&ask, 2, "192.0.2.2:443", "[2001:db8::2]:443");
}

static void a_truncated_answer_is_asked_for_by_tcp(void **state)
{
    struct rig *rig = *state;
    struct ask ask = resolve("many.example");
    expect(&ask, 12, "192.0.2.100:443", "192.0.2.101:443", "192.0.2.102:443", "192.0.2.103:443",
           "192.0.2.104:443", "192.0.2.105:443", "192.0.2.106:443", "192.0.2.107:443",
           "192.0.2.108:443", "192.0.2.109:443", "192.0.2.110:443", "192.0.2.111:443");
    assert_true(atomic_load(&rig->server.tcp_queries) > 0);
}

static void a_denied_name_is_an_error_without_retry(void **state)
{
    struct rig *rig = *state;
    struct ask ask = resolve("missing.example");
    assert_int_equal(ask.result, -ERR_DNS);
    assert_int_equal(ask.err.retry, RETRY_NO);
    assert_int_equal(ask.err.fault, FAULT_UPSTREAM);
    assert_non_null(strstr(ask.err.message, "missing.example"));
    unsigned asked = atomic_load(&rig->server.queries);
    /* Asked once: the denial is kept for a while, whatever the spelling. */
    assert_int_equal(resolve("Missing.Example").result, -ERR_DNS);
    assert_int_equal(atomic_load(&rig->server.queries), asked);
}

static void a_failing_server_is_an_error_with_retry(void **state)
{
    (void)state;
    struct ask ask = resolve("fails.example");
    assert_int_equal(ask.result, -ERR_DNS);
    assert_int_equal(ask.err.retry, RETRY_YES);
}

static void many_askers_are_one_question(void **state)
{
    struct rig *rig = *state;
    struct ask asks[50];
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        asks[i] = (struct ask){.host = i % 2 == 0 ? "both.example" : "BOTH.example"};
        assert_non_null(task_spawn(RUN_NORMAL, "ask", ask_main, &asks[i]));
    }
    rig_turn_until_idle();
    for (size_t i = 0; i < ARRAY_LEN(asks); i++)
        expect(&asks[i], 2, "192.0.2.2:443", "[2001:db8::2]:443");
    assert_int_equal(atomic_load(&rig->server.queries), 2); /* A and AAAA */
    resolve("both.example");
    assert_int_equal(atomic_load(&rig->server.queries), 2);
}

static void a_waiter_may_leave(void **state)
{
    struct rig *rig = *state;
    struct ask late = {.host = "silent.example", .patience_ms = 20};
    struct ask cancelled = {.host = "silent.example"};
    task_spawn(RUN_NORMAL, "ask", ask_main, &late);
    struct task *task = task_spawn(RUN_NORMAL, "ask", ask_main, &cancelled);
    for (int i = 0; i < 3; i++)
        loop_turn(rig->loop, NS_PER_MS);
    task_cancel(task, ERR_RESET);
    rig_turn_until_idle();
    assert_int_equal(late.result, -ERR_TIMEOUT);
    assert_non_null(strstr(late.err.message, "resolving silent.example"));
    assert_int_equal(cancelled.result, -ERR_CANCELED);
    /* The query is still under way: a new waiter joins it. Tearing down with it is fine too. */
    while (atomic_load(&rig->server.queries) < 2) /* A and AAAA */
        loop_turn(rig->loop, NS_PER_MS);
    struct ask again = {.host = "silent.example", .patience_ms = 20};
    task_spawn(RUN_NORMAL, "ask", ask_main, &again);
    rig_turn_until_idle();
    assert_int_equal(again.result, -ERR_TIMEOUT);
    assert_int_equal(atomic_load(&rig->server.queries), 2);
}

/* --- the cache, by a fake resolver and clock ------------------------------------------------- */

struct fake {
    unsigned calls;
    int result; /* 1 or -ERR_x */
    unsigned ttl_s;
    uint8_t last_byte;
};

static int fake_resolver(void *ctx, struct str host, struct net_addr out[DNS_ADDRS_MAX],
                         unsigned *ttl_s)
{
    struct fake *fake = ctx;
    (void)host;
    fake->calls++;
    if (fake->ttl_s != 0)
        *ttl_s = fake->ttl_s;
    char text[20];
    snprintf(text, sizeof(text), "10.0.0.%u", fake->last_byte);
    assert_true(net_addr_parse(str_c(text), 0, &out[0]));
    return fake->result;
}

static void advance(struct rig *rig, int64_t ns)
{
    clock_fake_advance(ns);
    loop_turn(rig->loop, 0);
}

static void time_to_live_is_kept_within_bounds(void **state)
{
    struct rig *rig = *state;
    static const struct {
        unsigned ttl_s;
        int64_t lives_s;
    } cases[] = {{0, 60}, {1, 5}, {30, 30}, {100000, 300}};
    clock_fake(NS_PER_SEC, 0);
    loop_turn(rig->loop, 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fake fake = {.result = 1, .ttl_s = cases[i].ttl_s, .last_byte = 1};
        dns_fake(fake_resolver, &fake);
        struct ask ask = resolve("a.example");
        expect(&ask, 1, "10.0.0.1:443");
        advance(rig, cases[i].lives_s * NS_PER_SEC - 1);
        resolve("a.example");
        assert_int_equal(fake.calls, 1);
        fake.last_byte = 2;
        advance(rig, 1);
        ask = resolve("a.example");
        assert_int_equal(fake.calls, 2);
        expect(&ask, 1, "10.0.0.2:443");
    }
}

static void denials_and_failures_are_kept_briefly(void **state)
{
    struct rig *rig = *state;
    static const struct {
        int result;
        int64_t lives_s;
    } cases[] = {{-ERR_INVALID, 5}, {-ERR_DNS, 1}};
    clock_fake(NS_PER_SEC, 0);
    loop_turn(rig->loop, 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fake fake = {.result = cases[i].result};
        dns_fake(fake_resolver, &fake);
        assert_int_equal(resolve("a.example").result, -ERR_DNS);
        advance(rig, cases[i].lives_s * NS_PER_SEC - 1);
        assert_int_equal(resolve("a.example").result, -ERR_DNS);
        assert_int_equal(fake.calls, 1);
        advance(rig, 1);
        fake.result = 1;
        assert_int_equal(resolve("a.example").result, 0);
    }
}

static void a_stale_answer_serves_while_the_resolver_fails(void **state)
{
    struct rig *rig = *state;
    clock_fake(NS_PER_SEC, 0);
    loop_turn(rig->loop, 0);
    struct fake fake = {.result = 1, .last_byte = 9};
    dns_fake(fake_resolver, &fake);
    struct ask ask = resolve("a.example");
    fake.result = -ERR_DNS;
    advance(rig, 3600 * NS_PER_SEC);
    ask = resolve("a.example");
    expect(&ask, 1, "10.0.0.9:443");
    assert_int_equal(fake.calls, 2);
    /* Not for ever. */
    advance(rig, 25 * 3600 * NS_PER_SEC);
    assert_int_equal(resolve("a.example").result, -ERR_DNS);
    /* And a denial takes it back at once. */
    fake.result = 1;
    advance(rig, 10 * NS_PER_SEC);
    assert_int_equal(resolve("a.example").result, 0);
    fake.result = -ERR_INVALID;
    advance(rig, 61 * NS_PER_SEC);
    assert_int_equal(resolve("a.example").result, -ERR_DNS);
    fake.result = -ERR_DNS;
    advance(rig, 61 * NS_PER_SEC);
    assert_int_equal(resolve("a.example").result, -ERR_DNS);
}

static int answer_always(void *ctx, struct str host, struct net_addr out[DNS_ADDRS_MAX],
                         unsigned *ttl_s)
{
    (void)ctx;
    (void)host;
    (void)ttl_s;
    assert_true(net_addr_parse(STR("10.0.0.5"), 0, &out[0]));
    return 1;
}

static void the_names_used_longest_ago_are_forgotten(void **state)
{
    (void)state;
    struct fake fake = {.result = 1};
    dns_fake(fake_resolver, &fake);
    char name[32];
    for (int i = 0; i < 1100; i++) {
        snprintf(name, sizeof(name), "n%d.example", i);
        assert_int_equal(resolve(name).result, 0);
        if (i % 100 == 0)
            resolve("n0.example"); /* stays in use */
    }
    assert_int_equal(fake.calls, 1100);
    resolve("n0.example");
    resolve("n1099.example");
    resolve("n200.example");
    assert_int_equal(fake.calls, 1100);
    resolve("n1.example");
    assert_int_equal(fake.calls, 1101);
}

static void a_change_of_resolver_forgets(void **state)
{
    (void)state;
    dns_fake(answer_always, NULL);
    struct ask ask = resolve("v4.example");
    expect(&ask, 1, "10.0.0.5:443");
    dns_fake(NULL, NULL);
    ask = resolve("v4.example");
    expect(&ask, 1, "192.0.2.1:443");
}

static void failed_allocations_are_errors(void **state)
{
    struct rig *rig = *state;
    unsigned failures = 0;
    for (uint64_t n = 1; n < 50; n++) {
        dns_thread_fini();
        dns_use_servers(rig->server.csv);
        struct ask ask = {.host = "v4.example", .patience_ms = 300};
        assert_non_null(task_spawn(RUN_NORMAL, "ask", ask_main, &ask));
        mem_fail_at(n);
        rig_turn_until_idle();
        bool has_failed = mem_count() >= n;
        mem_fail_at(0);
        if (!has_failed) {
            assert_int_equal(ask.result, 0);
            break;
        }
        failures++;
        assert_true(ask.result == 0 || ask.result == -ERR_NOMEM || ask.result == -ERR_DNS ||
                    ask.result == -ERR_TIMEOUT);
    }
    assert_true(failures >= 4);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_up, rig_down)
    const struct CMUnitTest tests[] = {
        TEST(literals_and_localhost_need_no_server),
        TEST(what_is_no_name_is_refused),
        TEST(names_get_all_their_addresses),
        TEST(a_truncated_answer_is_asked_for_by_tcp),
        TEST(a_denied_name_is_an_error_without_retry),
        TEST(a_failing_server_is_an_error_with_retry),
        TEST(many_askers_are_one_question),
        TEST(a_waiter_may_leave),
        TEST(time_to_live_is_kept_within_bounds),
        TEST(denials_and_failures_are_kept_briefly),
        TEST(a_stale_answer_serves_while_the_resolver_fails),
        TEST(the_names_used_longest_ago_are_forgotten),
        TEST(a_change_of_resolver_forgets),
        TEST(failed_allocations_are_errors),
    };
#undef TEST
    return cmocka_run_group_tests_name("rt/dns", tests, NULL, NULL);
}
