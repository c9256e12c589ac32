/* What headers tell of a key's limits, and when the key is passed over for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "route/limits.h"

#define NOW (1000 * NS_PER_SEC)
/* 2026-11-21T03:58:20Z */
#define NOW_WALL (INT64_C(1795233500) * NS_PER_SEC)

struct told {
    const char *name, *value;
};

static struct limits learned(const struct told *told, size_t count)
{
    struct http_header items[16];
    struct http_headers headers = {items, 0, 16};
    struct limits limits = {0};
    for (size_t i = 0; i < count; i++)
        items[headers.count++] = (struct http_header){str_c(told[i].name), str_c(told[i].value)};
    limits_learn(&limits, &headers, NOW, NOW_WALL);
    return limits;
}
#define LEARN(...)                              \
    learned((const struct told[]){__VA_ARGS__}, \
            sizeof((const struct told[]){__VA_ARGS__}) / sizeof(struct told))

static void expect_window(const struct limits *limits, enum limits_kind kind, int64_t limit,
                          int64_t remaining, int64_t reset_in_ns)
{
    const struct limits_window *window = &limits->windows[kind];
    assert_true(window->is_known);
    assert_int_equal(window->limit, limit);
    assert_int_equal(window->remaining, remaining);
    assert_int_equal(window->reset_ns, NOW + reset_in_ns);
}

/* --- every form --- */

static void openai_and_groq(void **state)
{
    struct limits l =
        LEARN({"x-ratelimit-limit-requests", "500"}, {"X-RateLimit-Remaining-Requests", "499"},
              {"x-ratelimit-reset-requests", "120ms"}, {"x-ratelimit-limit-tokens", "30000"},
              {"x-ratelimit-remaining-tokens", "0"}, {"x-ratelimit-reset-tokens", "6m0s"},
              {"x-ratelimit-remaining-input-images", "0"});
    (void)state;
    expect_window(&l, LIMITS_REQUESTS, 500, 499, 120 * NS_PER_MS);
    expect_window(&l, LIMITS_TOKENS, 30000, 0, 360 * NS_PER_SEC);
    assert_false(l.windows[LIMITS_INPUT_TOKENS].is_known);
}

static void cerebras(void **state)
{
    struct limits l = LEARN({"x-ratelimit-limit-requests-day", "14400"},
                            {"x-ratelimit-remaining-requests-day", "12"},
                            {"x-ratelimit-reset-requests-day", "33011.382867"},
                            {"x-ratelimit-limit-tokens-minute", "60000"},
                            {"x-ratelimit-remaining-tokens-minute", "59000"},
                            {"x-ratelimit-reset-tokens-minute", "11.382867"});
    (void)state;
    expect_window(&l, LIMITS_REQUESTS_LONG, 14400, 12, INT64_C(33011382867000));
    expect_window(&l, LIMITS_TOKENS, 60000, 59000, INT64_C(11382867000));
}

static void anthropic(void **state)
{
    struct limits l = LEARN({"anthropic-ratelimit-requests-limit", "4000"},
                            {"anthropic-ratelimit-requests-remaining", "3999"},
                            {"anthropic-ratelimit-requests-reset", "2026-11-21T03:58:21Z"},
                            {"anthropic-ratelimit-input-tokens-limit", "400000"},
                            {"anthropic-ratelimit-input-tokens-remaining", "1000"},
                            {"anthropic-ratelimit-input-tokens-reset", "2026-11-21T03:59:20Z"},
                            {"anthropic-ratelimit-output-tokens-limit", "80000"},
                            {"anthropic-ratelimit-output-tokens-remaining", "0"},
                            {"anthropic-ratelimit-output-tokens-reset", "2026-11-21T03:58:10Z"},
                            {"anthropic-ratelimit-unified-status", "allowed"});
    (void)state;
    expect_window(&l, LIMITS_REQUESTS, 4000, 3999, NS_PER_SEC);
    expect_window(&l, LIMITS_INPUT_TOKENS, 400000, 1000, 60 * NS_PER_SEC);
    /* Its reset is past: it holds nobody up. */
    assert_int_equal(limits_remaining(&l, LIMITS_OUTPUT_TOKENS, NOW), -1);
}

static void azure(void **state)
{
    struct limits l =
        LEARN({"x-ratelimit-limit-requests", "2500"}, {"x-ratelimit-remaining-requests", "2499"},
              {"x-ratelimit-reset-requests", "0"}, {"x-ratelimit-renewalperiod-requests", "60"},
              {"x-ratelimit-remaining-tokens", "119991"});
    (void)state;
    expect_window(&l, LIMITS_REQUESTS, 2500, 2499, 60 * NS_PER_SEC);
    /* Only what is left: believed for a minute. */
    expect_window(&l, LIMITS_TOKENS, -1, 119991, 60 * NS_PER_SEC);
}

static void mistral_and_together(void **state)
{
    struct limits m = LEARN(
        {"x-ratelimit-limit-req-minute", "100"}, {"x-ratelimit-remaining-req-minute", "87"},
        {"x-ratelimit-limit-tokens-minute", "100000"},
        {"x-ratelimit-remaining-tokens-minute", "93544"}, {"x-ratelimit-tokens-query-cost", "107"});
    struct limits t = LEARN({"x-ratelimit-limit", "2"}, {"x-ratelimit-remaining", "1"},
                            {"x-ratelimit-reset", "2"});
    (void)state;
    expect_window(&m, LIMITS_REQUESTS, 100, 87, 60 * NS_PER_SEC);
    expect_window(&m, LIMITS_TOKENS, 100000, 93544, 60 * NS_PER_SEC);
    expect_window(&t, LIMITS_REQUESTS, 2, 1, 2 * NS_PER_SEC);
}

static void the_drafts_of_the_ietf(void **state)
{
    struct limits three = LEARN({"RateLimit-Limit", "100, 100;w=60"}, {"RateLimit-Remaining", "50"},
                                {"RateLimit-Reset", "30"});
    struct limits one = LEARN({"RateLimit-Policy", "\"default\";q=100;w=60"},
                              {"RateLimit", "\"default\";r=5;t=30"});
    struct limits middle = LEARN({"RateLimit", "limit=100, remaining=7, reset=12"});
    (void)state;
    expect_window(&three, LIMITS_REQUESTS, 100, 50, 30 * NS_PER_SEC);
    expect_window(&one, LIMITS_REQUESTS, -1, 5, 30 * NS_PER_SEC);
    expect_window(&middle, LIMITS_REQUESTS, 100, 7, 12 * NS_PER_SEC);
}

static void resets_as_unix_time(void **state)
{
    struct limits s = LEARN({"x-ratelimit-remaining", "0"}, {"x-ratelimit-reset", "1795233510"});
    struct limits ms =
        LEARN({"x-ratelimit-remaining", "0"}, {"x-ratelimit-reset", "1795233500250"});
    (void)state;
    expect_window(&s, LIMITS_REQUESTS, -1, 0, 10 * NS_PER_SEC);
    expect_window(&ms, LIMITS_REQUESTS, -1, 0, 250 * NS_PER_MS);
}

static void nonsense_teaches_nothing(void **state)
{
    struct http_header items[] = {
        {STR("x-ratelimit-remaining-requests"), STR("many")},
        {STR("x-ratelimit-remaining-tokens"), STR("-1")},
        {STR("x-ratelimit-limit-tokens"), STR("99999999999999999999")},
        {STR("x-ratelimit-"), STR("1")},
        {STR("x-ratelimit-remaining-"), STR("")},
        {STR("anthropic-ratelimit-remaining"), STR("1")},
        {STR("ratelimit"), STR(";;,=,r=,t=x")},
        {STR("x-request-id"), STR("abc")},
        {STR("retry-after"), STR("59")},
        {STR("x"), STR("")},
    };
    struct http_headers headers = {items, ARRAY_LEN(items), ARRAY_LEN(items)};
    struct limits limits = {0};
    (void)state;
    assert_false(limits_read(&headers, NOW, NOW_WALL, &limits));
    headers.count = 0;
    assert_false(limits_read(&headers, NOW, NOW_WALL, &limits));
    assert_false(limits_is_near(&limits, 1 << 20, NOW, NULL));
}

/* --- near --- */

static void a_key_without_requests_is_passed_over_until_one_comes_back(void **state)
{
    struct limits l =
        LEARN({"x-ratelimit-limit-requests", "60"}, {"x-ratelimit-remaining-requests", "2"},
              {"x-ratelimit-reset-requests", "58s"});
    int64_t until = 0;
    (void)state;
    assert_false(limits_is_near(&l, 0, NOW, NULL));
    limits_take(&l, 0);
    assert_false(limits_is_near(&l, 0, NOW, NULL));
    limits_take(&l, 0);
    assert_true(limits_is_near(&l, 0, NOW, &until));
    /* One a second flows back. */
    assert_in_range(until, NOW + NS_PER_SEC, NOW + NS_PER_SEC + NS_PER_MS);
    assert_false(limits_is_near(&l, 0, until, NULL));
    limits_take(&l, 0);
    assert_true(limits_is_near(&l, 0, until, NULL));
}

static void a_window_that_does_not_refill_is_waited_out(void **state)
{
    struct limits l =
        LEARN({"RateLimit-Limit", "60"}, {"RateLimit-Remaining", "0"}, {"RateLimit-Reset", "58"});
    int64_t until = 0;
    (void)state;
    assert_true(limits_is_near(&l, 0, NOW + 57 * NS_PER_SEC, &until));
    assert_int_equal(until, NOW + 58 * NS_PER_SEC);
    assert_false(limits_is_near(&l, 0, until, NULL));
}

static void tokens_are_weighed_against_the_request(void **state)
{
    struct limits l =
        LEARN({"x-ratelimit-limit-tokens", "30000"}, {"x-ratelimit-remaining-tokens", "1000"},
              {"x-ratelimit-reset-tokens", "58s"});
    int64_t until = 0;
    (void)state;
    assert_false(limits_is_near(&l, 1000, NOW, NULL));
    assert_true(limits_is_near(&l, 2000, NOW, &until));
    assert_in_range(until, NOW + 2 * NS_PER_SEC - NS_PER_MS, NOW + 2 * NS_PER_SEC + NS_PER_MS);
    /* What never fits is the provider's to refuse, once the bucket is full. */
    assert_true(limits_is_near(&l, 90000, NOW, &until));
    assert_int_equal(until, NOW + 58 * NS_PER_SEC);
    limits_take(&l, 900);
    assert_true(limits_is_near(&l, 200, NOW, NULL));
    assert_false(limits_is_near(&l, 100, NOW, NULL));
}

static void output_tokens_count_only_when_there_are_none(void **state)
{
    struct limits some = LEARN({"anthropic-ratelimit-output-tokens-limit", "8000"},
                               {"anthropic-ratelimit-output-tokens-remaining", "100"},
                               {"anthropic-ratelimit-output-tokens-reset", "2026-11-21T03:59:20Z"});
    struct limits none = LEARN({"anthropic-ratelimit-output-tokens-limit", "8000"},
                               {"anthropic-ratelimit-output-tokens-remaining", "0"},
                               {"anthropic-ratelimit-output-tokens-reset", "2026-11-21T03:59:20Z"});
    (void)state;
    limits_take(&some, 50000);
    assert_false(limits_is_near(&some, 50000, NOW, NULL));
    assert_true(limits_is_near(&none, 1, NOW, NULL));
}

static void the_next_answer_corrects_what_was_taken(void **state)
{
    struct limits l =
        LEARN({"x-ratelimit-limit-requests", "60"}, {"x-ratelimit-remaining-requests", "1"},
              {"x-ratelimit-reset-requests", "60s"});
    struct limits newer =
        LEARN({"x-ratelimit-limit-requests", "60"}, {"x-ratelimit-remaining-requests", "30"},
              {"x-ratelimit-reset-requests", "30s"});
    (void)state;
    limits_take(&l, 0);
    limits_bench(&l, NOW + NS_PER_SEC, BENCH_TOLD);
    assert_true(limits_is_near(&l, 0, NOW, NULL));
    limits_merge(&l, &newer);
    assert_false(limits_is_near(&l, 0, NOW, NULL));
    assert_int_equal(limits_remaining(&l, LIMITS_REQUESTS, NOW), 30);
    assert_int_equal(limits_remaining(&l, LIMITS_REQUESTS, NOW + 15 * NS_PER_SEC), 45);
    /* The bench is another matter. */
    assert_true(limits_is_benched(&l, NOW, NULL));
}

/* --- the bench --- */

static void what_is_told_outweighs_what_was_guessed(void **state)
{
    struct limits l = {0};
    int64_t until = 0;
    (void)state;
    assert_false(limits_is_benched(&l, NOW, NULL));
    limits_bench(&l, NOW + 60 * NS_PER_SEC, BENCH_GUESSED);
    limits_bench(&l, NOW + 30 * NS_PER_SEC, BENCH_GUESSED);
    assert_true(limits_is_benched(&l, NOW, &until));
    assert_int_equal(until, NOW + 60 * NS_PER_SEC);
    limits_bench(&l, NOW + 2 * NS_PER_SEC, BENCH_TOLD);
    assert_true(limits_is_benched(&l, NOW, &until));
    assert_int_equal(until, NOW + 2 * NS_PER_SEC);
    assert_false(limits_is_benched(&l, until, NULL));
}

static void a_good_answer_ends_a_guess_but_not_what_was_told(void **state)
{
    struct limits l = {0};
    (void)state;
    limits_bench(&l, NOW + 60 * NS_PER_SEC, BENCH_GUESSED);
    limits_unbench(&l);
    assert_false(limits_is_benched(&l, NOW, NULL));
    limits_bench(&l, NOW + 60 * NS_PER_SEC, BENCH_TOLD);
    limits_unbench(&l);
    assert_true(limits_is_benched(&l, NOW, NULL));
    assert_int_equal(l.benched_in_row, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openai_and_groq),
        cmocka_unit_test(cerebras),
        cmocka_unit_test(anthropic),
        cmocka_unit_test(azure),
        cmocka_unit_test(mistral_and_together),
        cmocka_unit_test(the_drafts_of_the_ietf),
        cmocka_unit_test(resets_as_unix_time),
        cmocka_unit_test(nonsense_teaches_nothing),
        cmocka_unit_test(a_key_without_requests_is_passed_over_until_one_comes_back),
        cmocka_unit_test(a_window_that_does_not_refill_is_waited_out),
        cmocka_unit_test(tokens_are_weighed_against_the_request),
        cmocka_unit_test(output_tokens_count_only_when_there_are_none),
        cmocka_unit_test(the_next_answer_corrects_what_was_taken),
        cmocka_unit_test(what_is_told_outweighs_what_was_guessed),
        cmocka_unit_test(a_good_answer_ends_a_guess_but_not_what_was_told),
    };
    return cmocka_run_group_tests_name("route/limits", tests, NULL, NULL);
}
