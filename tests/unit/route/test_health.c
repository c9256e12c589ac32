/* The table of providers, models and keys: which key is used, which is passed over, what is kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "route/health.h"

static const struct route_policy *const policy = &route_policy_default;
static int64_t now;
static uint64_t seed;

static struct health_ask ask_for(const char *model, unsigned keys)
{
    return (struct health_ask){.provider = STR("p"), .model = str_c(model), .key_count = keys};
}

static enum health_verdict begin(const struct health_ask *ask, struct health_lease *lease,
                                 int64_t *until)
{
    return health_begin(ask, now, seed += UINT64_C(0x9e3779b97f4a7c15), lease, until);
}

static void end(struct health_lease *lease, enum outcome_class outcome, int64_t retry_after)
{
    struct health_result result = {.outcome = outcome,
                                   .status = 499,
                                   .duration_ns = outcome == OUTCOME_OK ? NS_PER_SEC : -1,
                                   .retry_after_ns = retry_after};
    health_end(lease, policy, &result, now, seed);
}

/* An attempt with whichever key is picked; returns the key, -1 when none may go. */
static int attempt(const struct health_ask *ask, enum outcome_class outcome, int64_t retry_after)
{
    struct health_lease lease;
    if (!health_may_go(begin(ask, &lease, NULL)))
        return -1;
    int key = (int)lease.key;
    end(&lease, outcome, retry_after);
    return key;
}

/* The same with one key. */
static bool attempt_key(const char *model, unsigned key, enum outcome_class outcome,
                        int64_t retry_after)
{
    struct health_ask ask = ask_for(model, key + 1);
    ask.excluded = (UINT64_C(1) << key) - 1;
    return attempt(&ask, outcome, retry_after) >= 0;
}

static enum health_verdict verdict_of(const struct health_ask *ask, int64_t *until)
{
    struct health_view view;
    health_look(ask, now, &view);
    if (until != NULL)
        *until = view.until_ns;
    return view.verdict;
}

/* --- keys --- */

static void keys_are_picked_by_weight(void **state)
{
    static const uint32_t weights[] = {7, 3, 0};
    struct health_ask ask = ask_for("m", 3);
    unsigned picked[3] = {0};
    (void)state;
    ask.weights = weights;
    for (int i = 0; i < 10000; i++)
        picked[attempt(&ask, OUTCOME_OK, -1)]++;
    /* Three sigma of 7000 are 137. */
    assert_in_range(picked[0], 6850, 7150);
    assert_int_equal(picked[0] + picked[1], 10000);
    /* What weighs nothing takes over when there is nothing else. */
    ask.excluded = 3;
    assert_int_equal(attempt(&ask, OUTCOME_OK, -1), 2);
    ask.excluded = 7;
    assert_int_equal(verdict_of(&ask, NULL), HEALTH_ALL_EXCLUDED);
}

static void a_throttled_key_waits_as_long_as_it_was_told(void **state)
{
    struct health_ask ask = ask_for("m", 2);
    int64_t until;
    (void)state;
    int first = attempt(&ask, OUTCOME_THROTTLED, 7 * NS_PER_SEC);
    for (int i = 0; i < 100; i++)
        assert_int_equal(attempt(&ask, OUTCOME_OK, -1), 1 - first);
    assert_int_equal(attempt(&ask, OUTCOME_THROTTLED, 9 * NS_PER_SEC), 1 - first);
    assert_int_equal(verdict_of(&ask, &until), HEALTH_LIMITED);
    assert_int_equal(until, now + 7 * NS_PER_SEC);
    /* Nor by those who have nowhere else to go. */
    ask.lenience = HEALTH_LAST_RESORT;
    assert_int_equal(verdict_of(&ask, NULL), HEALTH_LIMITED);
    /* Only where there is nothing to choose from at all. */
    ask.lenience = HEALTH_ONLY_ONE;
    assert_int_equal(verdict_of(&ask, NULL), HEALTH_GO);
    struct health_ask spent = ask_for("spent", 1);
    attempt(&spent, OUTCOME_QUOTA, 3600 * NS_PER_SEC);
    spent.lenience = HEALTH_ONLY_ONE;
    assert_int_equal(verdict_of(&spent, NULL), HEALTH_LIMITED);
    ask.lenience = HEALTH_LAST_RESORT;
    now = until;
    assert_int_equal(attempt(&ask, OUTCOME_OK, -1), first);
    /* Another model has another limit. */
    struct health_ask other = ask_for("other", 2);
    assert_int_equal(verdict_of(&other, NULL), HEALTH_GO);
}

static void a_throttled_key_that_was_told_nothing_waits_longer_each_time(void **state)
{
    struct health_ask ask = ask_for("m", 1);
    int64_t until, wanted = outcome_rules[OUTCOME_THROTTLED].bench_ns;
    (void)state;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(attempt(&ask, OUTCOME_THROTTLED, -1), 0);
        assert_int_equal(verdict_of(&ask, &until), HEALTH_LIMITED);
        assert_int_equal(until - now, wanted);
        wanted = MIN(2 * wanted, outcome_rules[OUTCOME_THROTTLED].bench_max_ns);
        now = until;
    }
    assert_int_equal(attempt(&ask, OUTCOME_OK, -1), 0);
    assert_int_equal(attempt(&ask, OUTCOME_THROTTLED, -1), 0);
    assert_int_equal(verdict_of(&ask, &until), HEALTH_LIMITED);
    assert_int_equal(until - now, outcome_rules[OUTCOME_THROTTLED].bench_ns);
    /* It is a guess: who has nowhere else to go may try. */
    ask.lenience = HEALTH_LAST_RESORT;
    assert_int_equal(attempt(&ask, OUTCOME_OK, -1), 0);
    ask.lenience = HEALTH_STRICT;
    assert_int_equal(verdict_of(&ask, NULL), HEALTH_GO);
}

static void many_refused_at_once_are_one_refusal(void **state)
{
    struct health_ask ask = ask_for("m", 1);
    struct health_lease leases[50];
    int64_t until;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(leases); i++)
        assert_int_equal(begin(&ask, &leases[i], NULL), HEALTH_GO);
    now += NS_PER_SEC;
    for (size_t i = 0; i < ARRAY_LEN(leases); i++)
        end(&leases[i], OUTCOME_THROTTLED, -1);
    assert_int_equal(verdict_of(&ask, &until), HEALTH_LIMITED);
    assert_int_equal(until - now, outcome_rules[OUTCOME_THROTTLED].bench_ns);
}

static void a_refused_key_is_refused_for_all_models(void **state)
{
    struct health_ask m = ask_for("m", 2), other = ask_for("other", 2);
    (void)state;
    assert_true(attempt_key("m", 0, OUTCOME_CREDENTIAL, -1));
    for (int i = 0; i < 100; i++) {
        assert_int_equal(attempt(&m, OUTCOME_OK, -1), 1);
        assert_int_equal(attempt(&other, OUTCOME_OK, -1), 1);
    }
    assert_true(attempt_key("m", 1, OUTCOME_CREDENTIAL, -1));
    assert_int_equal(verdict_of(&other, NULL), HEALTH_BENCHED);
    /* Its own words are worth more to the client than ours: the last resort asks it. */
    m.lenience = HEALTH_LAST_RESORT;
    assert_int_equal(verdict_of(&m, NULL), HEALTH_GO);
    now += outcome_rules[OUTCOME_CREDENTIAL].bench_ns;
    assert_int_equal(verdict_of(&other, NULL), HEALTH_GO);
}

static void a_key_that_may_not_have_one_model_may_have_another(void **state)
{
    struct health_ask m = ask_for("m", 1), other = ask_for("other", 1);
    (void)state;
    assert_int_equal(attempt(&m, OUTCOME_DENIED, -1), 0);
    assert_int_equal(verdict_of(&m, NULL), HEALTH_BENCHED);
    assert_int_equal(attempt(&other, OUTCOME_OK, -1), 0);
}

static void an_old_success_does_not_mend_a_refused_key(void **state)
{
    struct health_ask ask = ask_for("m", 1);
    struct health_lease stream;
    (void)state;
    assert_int_equal(begin(&ask, &stream, NULL), HEALTH_GO);
    now += NS_PER_SEC;
    assert_int_equal(attempt(&ask, OUTCOME_CREDENTIAL, -1), 0);
    now += NS_PER_SEC;
    end(&stream, OUTCOME_OK, -1);
    assert_int_equal(verdict_of(&ask, NULL), HEALTH_BENCHED);
}

static void a_used_up_quota_waits_long(void **state)
{
    struct health_ask ask = ask_for("m", 1);
    int64_t until;
    (void)state;
    assert_int_equal(attempt(&ask, OUTCOME_QUOTA, -1), 0);
    assert_int_equal(verdict_of(&ask, &until), HEALTH_LIMITED);
    assert_true(until - now >= 600 * NS_PER_SEC);
}

static void what_is_nobody_s_fault_benches_nobody(void **state)
{
    static const enum outcome_class classes[] = {
        OUTCOME_CLIENT_FAULT,   OUTCOME_OVERSIZED, OUTCOME_NO_MODEL,  OUTCOME_CONTEXT_WINDOW,
        OUTCOME_CONTENT_POLICY, OUTCOME_LOCAL,     OUTCOME_CANCELLED,
    };
    struct health_ask ask = ask_for("m", 1);
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        assert_int_equal(attempt(&ask, classes[i], -1), 0);
        assert_int_equal(verdict_of(&ask, NULL), HEALTH_GO);
    }
}

static void a_503_may_say_when_to_come_back(void **state)
{
    struct health_ask ask = ask_for("m", 1);
    int64_t until;
    (void)state;
    assert_int_equal(attempt(&ask, OUTCOME_TRANSIENT, -1), 0);
    assert_int_equal(verdict_of(&ask, NULL), HEALTH_GO);
    assert_int_equal(attempt(&ask, OUTCOME_TRANSIENT, 3 * NS_PER_SEC), 0);
    assert_int_equal(verdict_of(&ask, &until), HEALTH_LIMITED);
    assert_int_equal(until - now, 3 * NS_PER_SEC);
}

/* --- limits learned --- */

static void a_key_near_its_limit_is_passed_over_before_it_fails(void **state)
{
    struct http_header items[] = {
        {STR("x-ratelimit-limit-tokens"), STR("30000")},
        {STR("x-ratelimit-remaining-tokens"), STR("500")},
        {STR("x-ratelimit-reset-tokens"), STR("60s")},
    };
    struct http_headers headers = {items, 3, 3};
    struct health_ask ask = ask_for("m", 2);
    struct health_lease lease;
    (void)state;
    ask.tokens = 1000;
    assert_int_equal(begin(&ask, &lease, NULL), HEALTH_GO);
    unsigned near = lease.key;
    health_learn(&lease, &headers, now, 0);
    end(&lease, OUTCOME_OK, -1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(attempt(&ask, OUTCOME_OK, -1), 1 - near);
    /* A small request still fits. */
    ask.tokens = 400;
    ask.excluded = UINT64_C(1) << (1 - near);
    assert_int_equal(attempt(&ask, OUTCOME_OK, -1), near);
    ask.tokens = 1000;
    assert_int_equal(verdict_of(&ask, NULL), HEALTH_LIMITED);
    ask.lenience = HEALTH_LAST_RESORT;
    assert_int_equal(verdict_of(&ask, NULL), HEALTH_GO);
}

/* --- what the planner sees --- */

static void a_view_tells_how_a_target_does(void **state)
{
    struct health_ask ask = ask_for("m", 1);
    struct health_lease lease;
    struct health_view view;
    (void)state;
    health_look(&ask, now, &view);
    assert_false(view.is_known);
    assert_int_equal(view.verdict, HEALTH_GO);
    assert_int_equal(view.ttft_p95_ns, -1);
    for (int i = 1; i <= 100; i++) {
        assert_int_equal(begin(&ask, &lease, NULL), HEALTH_GO);
        health_first(&lease, policy, i * 10 * NS_PER_MS, now, seed);
        end(&lease, OUTCOME_OK, -1);
    }
    assert_int_equal(begin(&ask, &lease, NULL), HEALTH_GO);
    now += NS_PER_SEC;
    health_look(&ask, now, &view);
    assert_true(view.is_known);
    assert_int_equal(view.in_flight, 1);
    assert_int_equal(view.ttft_samples, 100);
    assert_in_range(view.ttft_p50_ns, 430 * NS_PER_MS, 570 * NS_PER_MS);
    assert_in_range(view.ttft_p95_ns, 850 * NS_PER_MS, 1060 * NS_PER_MS);
    assert_in_range(view.duration_p50_ns, 850 * NS_PER_MS, 1150 * NS_PER_MS);
    assert_in_range(health_ttft_ns(STR("p"), STR("m"), 95, now), 850 * NS_PER_MS, 1060 * NS_PER_MS);
    assert_int_equal(health_ttft_ns(STR("p"), STR("x"), 95, now), -1);
    end(&lease, OUTCOME_CANCELLED, -1);
    health_look(&ask, now, &view);
    assert_int_equal(view.in_flight, 0);
}

static bool find_row(const char *model, unsigned key, struct arena *arena, struct health_row *row)
{
    for (unsigned i = 0; i < health_rows(); i++) {
        if (health_row(i, now, arena, row) && str_eq(row->model, str_c(model)) && row->key == key)
            return true;
    }
    return false;
}

static void a_row_tells_all(void **state)
{
    struct arena *arena = arena_new(4096);
    struct health_row row;
    (void)state;
    assert_false(find_row("m", 0, arena, &row));
    for (int i = 0; i < 4; i++)
        assert_true(attempt_key("m", 0, OUTCOME_TRANSIENT, -1));
    assert_true(attempt_key("m", 1, OUTCOME_CREDENTIAL, -1));
    now += NS_PER_SEC;
    assert_true(attempt_key("m", 0, OUTCOME_TRANSIENT, -1));
    assert_true(find_row("m", 0, arena, &row));
    assert_true(str_eq(row.provider, STR("p")));
    assert_int_equal(row.state, BREAKER_OPEN);
    assert_int_equal(row.verdict, HEALTH_OPEN);
    assert_int_equal(row.breaker.why, BREAKER_WHY_IN_A_ROW);
    assert_int_equal(row.breaker.since_ns, now);
    assert_int_equal(row.attempts, 5);
    assert_int_equal(row.outcomes[OUTCOME_TRANSIENT], 5);
    assert_int_equal(row.recent.failures, 5);
    assert_int_equal(row.last_error, OUTCOME_TRANSIENT);
    assert_int_equal(row.last_error_status, 499);
    assert_int_equal(row.key_bench_until_ns, 0);
    assert_true(find_row("m", 1, arena, &row));
    assert_int_equal(row.verdict, HEALTH_BENCHED);
    assert_true(row.key_bench_until_ns > now);
    arena_free(arena);
}

static void changed_keys_begin_anew(void **state)
{
    struct health_ask ask = ask_for("m", 2);
    (void)state;
    assert_true(attempt_key("m", 0, OUTCOME_CREDENTIAL, -1));
    assert_true(attempt_key("m", 1, OUTCOME_THROTTLED, 3600 * NS_PER_SEC));
    assert_int_not_equal(verdict_of(&ask, NULL), HEALTH_GO);
    health_forget(STR("nobody"));
    assert_int_not_equal(verdict_of(&ask, NULL), HEALTH_GO);
    health_forget(STR("p"));
    assert_int_equal(verdict_of(&ask, NULL), HEALTH_GO);
}

/* --- the bounds --- */

static unsigned rows_in_use(void)
{
    struct arena *arena = arena_new(4096);
    struct health_row row;
    unsigned count = 0;
    for (unsigned i = 0; i < health_rows(); i++)
        count += health_row(i, now, arena, &row);
    arena_free(arena);
    return count;
}

static bool is_known(const char *model)
{
    struct health_ask ask = ask_for(model, 1);
    struct health_view view;
    health_look(&ask, now, &view);
    return view.is_known;
}

static void the_longest_unused_leave_first(void **state)
{
    struct health_ask busy = ask_for("busy", 1);
    struct health_lease lease;
    char name[32];
    (void)state;
    health_fini();
    health_init(8);
    assert_int_equal(begin(&busy, &lease, NULL), HEALTH_GO);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        assert_true(attempt_key(name, 0, OUTCOME_OK, -1));
        assert_true(attempt_key("m0", 0, OUTCOME_OK, -1));
    }
    assert_int_equal(rows_in_use(), 8);
    assert_true(is_known("busy"));
    assert_true(is_known("m0"));
    assert_true(is_known("m19"));
    assert_false(is_known("m1"));
    end(&lease, OUTCOME_OK, -1);
}

static void names_that_nobody_has_push_out_nothing(void **state)
{
    char name[32];
    (void)state;
    health_fini();
    health_init(8);
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        assert_true(attempt_key(name, 0, OUTCOME_OK, -1));
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "made-up-%d", i);
        assert_true(attempt_key(name, 0, OUTCOME_NO_MODEL, -1));
    }
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        assert_true(is_known(name));
    }
}

static void a_full_table_stops_nobody(void **state)
{
    struct health_lease leases[20];
    char name[32];
    (void)state;
    health_fini();
    health_init(4);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        struct health_ask ask = ask_for(name, 1);
        assert_int_equal(begin(&ask, &leases[i], NULL), HEALTH_GO);
    }
    assert_null(leases[19].entry);
    for (int i = 0; i < 20; i++)
        end(&leases[i], OUTCOME_OK, -1);
    assert_int_equal(rows_in_use(), 4);
}

static void without_memory_an_attempt_goes_unobserved(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 5; n++) {
        health_fini();
        health_init(4);
        struct health_ask ask = ask_for("m", 3);
        struct health_lease lease;
        mem_fail_at(n);
        assert_int_equal(begin(&ask, &lease, NULL), HEALTH_GO);
        bool has_failed = mem_count() >= n;
        mem_fail_at(0);
        assert_int_equal(lease.entry == NULL, has_failed);
        end(&lease, OUTCOME_OK, -1);
        assert_int_equal(rows_in_use(), has_failed ? 0 : 1);
    }
    mem_fail_at(1);
    struct health_route *route = health_route(STR("no memory for it"));
    mem_fail_at(0);
    assert_ptr_equal(route, health_route(STR_EMPTY));
}

static void before_the_table_there_is_nothing_to_observe(void **state)
{
    struct health_ask ask = ask_for("m", 3);
    struct health_lease lease;
    struct health_view view;
    (void)state;
    health_fini();
    assert_int_equal(begin(&ask, &lease, NULL), HEALTH_GO);
    end(&lease, OUTCOME_TRANSIENT, -1);
    health_look(&ask, now, &view);
    assert_int_equal(view.verdict, HEALTH_GO);
    assert_int_equal(health_rows(), 0);
    health_forget(STR("p"));
}

static void turns_follow_each_other(void **state)
{
    struct health_route *a = health_route(STR("a")), *b = health_route(STR("b"));
    (void)state;
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(health_next_turn(a), i);
        assert_int_equal(health_next_turn(a), i);
        assert_int_equal(health_turn(a), i);
    }
    assert_int_equal(health_turn(b), 0);
    assert_ptr_equal(health_route(STR("a")), a);
}

static int set_up(void **state)
{
    (void)state;
    now = 1000 * NS_PER_SEC;
    seed = 1;
    health_init(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    health_fini();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keys_are_picked_by_weight),
        TEST(a_throttled_key_waits_as_long_as_it_was_told),
        TEST(a_throttled_key_that_was_told_nothing_waits_longer_each_time),
        TEST(many_refused_at_once_are_one_refusal),
        TEST(a_refused_key_is_refused_for_all_models),
        TEST(a_key_that_may_not_have_one_model_may_have_another),
        TEST(an_old_success_does_not_mend_a_refused_key),
        TEST(a_used_up_quota_waits_long),
        TEST(what_is_nobody_s_fault_benches_nobody),
        TEST(a_503_may_say_when_to_come_back),
        TEST(a_key_near_its_limit_is_passed_over_before_it_fails),
        TEST(a_view_tells_how_a_target_does),
        TEST(a_row_tells_all),
        TEST(changed_keys_begin_anew),
        TEST(the_longest_unused_leave_first),
        TEST(names_that_nobody_has_push_out_nothing),
        TEST(a_full_table_stops_nobody),
        TEST(without_memory_an_attempt_goes_unobserved),
        TEST(before_the_table_there_is_nothing_to_observe),
        TEST(turns_follow_each_other),
    };
    return cmocka_run_group_tests_name("route/health", tests, NULL, NULL);
}
