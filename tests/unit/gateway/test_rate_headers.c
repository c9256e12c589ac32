/* What is left of a rate limit, told in another vendor's headers; members of queries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "gateway/query.h"
#include "gateway/rate_headers.h"

static struct str translated(struct arena *arena, enum dialect_id client, const char *name,
                             const char *value, const char *wanted)
{
    struct http_headers upstream = {0};
    struct http_headers out = {0};
    struct headers_way way = {client, DIALECT_OPENAI_CHAT, true};
    http_headers_add(&upstream, arena, str_c(name), str_c(value));
    assert_true(rate_headers_translate(&out, arena, &upstream, &way));
    return http_headers_get(&out, str_c(wanted));
}

static void test_counts_are_told_as_they_are(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1024);
    assert_true(str_eq(translated(arena, DIALECT_ANTHROPIC, "x-ratelimit-remaining-tokens", "149",
                                  "anthropic-ratelimit-tokens-remaining"),
                       STR("149")));
    assert_true(str_eq(translated(arena, DIALECT_OPENAI_CHAT, "anthropic-ratelimit-requests-limit",
                                  "50", "x-ratelimit-limit-requests"),
                       STR("50")));
    assert_null(translated(arena, DIALECT_GEMINI, "x-ratelimit-remaining-tokens", "149",
                           "x-ratelimit-remaining-tokens")
                    .ptr);
    arena_free(arena);
}

static void test_durations_become_times_and_back(void **state)
{
    (void)state;
    static const struct {
        const char *duration;
        const char *time;
        const char *back;
    } rows[] = {
        {"6m0s", "2023-11-14T22:19:20Z", "360s"},  {"1.5s", "2023-11-14T22:13:22Z", "2s"},
        {"20ms", "2023-11-14T22:13:21Z", "1s"},    {"2", "2023-11-14T22:13:22Z", "2s"},
        {"1h2m", "2023-11-14T23:15:20Z", "3720s"},
    };
    struct arena *arena = arena_new(1024);
    clock_fake(0, INT64_C(1700000000) * NS_PER_SEC);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str time = translated(arena, DIALECT_ANTHROPIC, "x-ratelimit-reset-tokens",
                                     rows[i].duration, "anthropic-ratelimit-tokens-reset");
        assert_true(str_eq(time, str_c(rows[i].time)));
        assert_true(
            str_eq(translated(arena, DIALECT_OPENAI_CHAT, "anthropic-ratelimit-tokens-reset",
                              rows[i].time, "x-ratelimit-reset-tokens"),
                   str_c(rows[i].back)));
    }
    assert_null(translated(arena, DIALECT_ANTHROPIC, "x-ratelimit-reset-tokens", "soon",
                           "anthropic-ratelimit-tokens-reset")
                    .ptr);
    clock_real();
    arena_free(arena);
}

static void test_members_of_a_query(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1024);
    struct str query = STR("alt=sse&key=a%2Fb&x");
    assert_true(str_eq(query_value(query, STR("key"), arena), STR("a/b")));
    assert_int_equal(query_value(query, STR("nothing"), arena).len, 0);
    assert_true(str_eq(query_without(query, STR("key"), arena), STR("alt=sse&x")));
    assert_int_equal(query_without(STR("key=1"), STR("key"), arena).len, 0);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_are_told_as_they_are),
        cmocka_unit_test(test_durations_become_times_and_back),
        cmocka_unit_test(test_members_of_a_query),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
