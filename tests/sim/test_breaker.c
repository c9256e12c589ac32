#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/clock.h"
#include "route/health.h"

/*
 * Breakers under a scripted clock: an upstream fails and comes back, and what is let through to it
 * is counted. Random runs print their seed when they fail; WEIR_SEED=n runs that one alone.
 */

static struct route_policy policy;
static int64_t now = 1000 * NS_PER_SEC;
static uint64_t random_state;

/* splitmix64 */
static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static const struct health_ask ask = {.provider = STR_INIT("p"), .model = STR_INIT("m")};

static enum health_verdict begin(struct health_lease *lease)
{
    return health_begin(&ask, now, next_random(), lease, NULL);
}

static void end(struct health_lease *lease, enum outcome_class outcome)
{
    struct health_result result = {.outcome = outcome, .duration_ns = -1, .retry_after_ns = -1};
    health_end(lease, &policy, &result, now, next_random());
}

/* One attempt from begin to end; false when it was not let through. */
static bool attempt(enum outcome_class outcome)
{
    struct health_lease lease;
    if (!health_may_go(begin(&lease)))
        return false;
    end(&lease, outcome);
    return true;
}

static struct health_view look(void)
{
    struct health_view view;
    health_look(&ask, now, &view);
    return view;
}

static void fail_until_open(void)
{
    for (unsigned i = 0; i < policy.breaker_failures; i++)
        assert_true(attempt(OUTCOME_TRANSIENT));
    assert_int_equal(look().state, BREAKER_OPEN);
}

/* --- */

static void it_opens_after_failures_in_a_row(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        assert_true(attempt(OUTCOME_TRANSIENT));
    assert_int_equal(look().state, BREAKER_DEGRADED);
    assert_true(attempt(OUTCOME_OK));
    assert_int_equal(look().verdict, HEALTH_GO);
    fail_until_open();
    assert_int_equal(look().verdict, HEALTH_OPEN);
    assert_true(look().until_ns >= now + policy.breaker_open_ns);
}

static void while_it_is_open_nothing_is_let_through(void **state)
{
    (void)state;
    fail_until_open();
    int64_t reopens = look().until_ns;
    for (; now < reopens; now += 10 * NS_PER_MS)
        assert_false(attempt(OUTCOME_OK));
    assert_true(attempt(OUTCOME_OK));
    assert_int_equal(look().state, BREAKER_CLOSED);
}

static void one_probe_at_a_time_goes_through(void **state)
{
    struct health_lease probe, other;
    (void)state;
    fail_until_open();
    now = look().until_ns;
    assert_int_equal(look().verdict, HEALTH_PROBE);
    assert_int_equal(begin(&probe), HEALTH_PROBE);
    for (int i = 0; i < 100; i++)
        assert_int_equal(begin(&other), HEALTH_PROBING);
    assert_int_equal(look().state, BREAKER_PROBING);
    /* Cancelled, it has told nothing: the next may go. */
    end(&probe, OUTCOME_CANCELLED);
    assert_int_equal(begin(&probe), HEALTH_PROBE);
    end(&probe, OUTCOME_CLIENT_FAULT);
    assert_int_equal(begin(&probe), HEALTH_PROBE);
    end(&probe, OUTCOME_TRANSIENT);
    assert_int_equal(begin(&other), HEALTH_OPEN);
}

static void a_probe_has_succeeded_with_its_first_event(void **state)
{
    struct health_lease probe, other;
    (void)state;
    fail_until_open();
    now = look().until_ns;
    assert_int_equal(begin(&probe), HEALTH_PROBE);
    health_first(&probe, &policy, NS_PER_SEC, now, 1);
    /* Its stream goes on for minutes; nobody waits for that. */
    assert_int_equal(begin(&other), HEALTH_GO);
    end(&other, OUTCOME_OK);
    end(&probe, OUTCOME_OK);
    assert_int_equal(look().state, BREAKER_CLOSED);
}

static void each_failed_probe_doubles_the_pause_up_to_eight_times(void **state)
{
    int64_t pause = policy.breaker_open_ns;
    (void)state;
    fail_until_open();
    for (int i = 0; i < 6; i++) {
        int64_t until = look().until_ns;
        assert_in_range(until - now, pause, pause + pause / 4);
        now = until;
        assert_true(attempt(OUTCOME_TRANSIENT));
        pause = MIN(2 * pause, 8 * policy.breaker_open_ns);
    }
    now = look().until_ns;
    assert_true(attempt(OUTCOME_OK));
    fail_until_open();
    assert_in_range(look().until_ns - now, policy.breaker_open_ns, policy.breaker_open_ns * 5 / 4);
}

static void it_opens_on_a_ratio_only_when_there_is_enough_to_judge_by(void **state)
{
    (void)state;
    /* Never two in a row: half of them fail. */
    for (unsigned i = 0; i < policy.breaker_least - 1; i++) {
        assert_true(attempt(i % 2 == 0 ? OUTCOME_TRANSIENT : OUTCOME_OK));
        now += 100 * NS_PER_MS;
    }
    assert_int_equal(look().state, BREAKER_DEGRADED);
    assert_true(attempt(OUTCOME_OK));
    assert_int_equal(look().state, BREAKER_DEGRADED);
    assert_true(attempt(OUTCOME_TRANSIENT));
    assert_int_equal(look().state, BREAKER_OPEN);
}

static void old_failures_count_no_more(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        assert_true(attempt(i % 4 == 0 ? OUTCOME_TRANSIENT : OUTCOME_OK));
        now += 10 * NS_PER_MS;
    }
    assert_int_equal(look().state, BREAKER_DEGRADED);
    now += 3 * policy.breaker_window_ns;
    assert_int_equal(look().state, BREAKER_CLOSED);
    assert_true(attempt(OUTCOME_TRANSIENT));
    assert_int_equal(look().state, BREAKER_CLOSED);
}

static void only_the_provider_s_failures_count(void **state)
{
    static const enum outcome_class innocent[] = {
        OUTCOME_CLIENT_FAULT, OUTCOME_CONTEXT_WINDOW, OUTCOME_CONTENT_POLICY, OUTCOME_LOCAL,
        OUTCOME_CANCELLED,    OUTCOME_NO_MODEL,       OUTCOME_OVERSIZED,
    };
    (void)state;
    for (int i = 0; i < 100; i++)
        assert_true(attempt(innocent[i % ARRAY_LEN(innocent)]));
    assert_int_equal(look().state, BREAKER_CLOSED);
    assert_int_equal(look().verdict, HEALTH_GO);
}

static void slow_is_a_failure_too(void **state)
{
    struct health_lease lease;
    (void)state;
    policy.slow_ttft_ns = 2 * NS_PER_SEC;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(begin(&lease), HEALTH_GO);
        health_first(&lease, &policy, 3 * NS_PER_SEC, now, 1);
        end(&lease, OUTCOME_OK);
    }
    assert_int_equal(look().state, BREAKER_OPEN);
    /* And not an ordinary one. */
    now = look().until_ns;
    assert_int_equal(begin(&lease), HEALTH_PROBE);
    health_first(&lease, &policy, NS_PER_SEC, now, 1);
    end(&lease, OUTCOME_OK);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(begin(&lease), HEALTH_GO);
        health_first(&lease, &policy, NS_PER_SEC, now, 1);
        end(&lease, OUTCOME_OK);
    }
    assert_int_equal(look().state, BREAKER_CLOSED);
}

static void stragglers_of_an_outage_do_not_open_it_again(void **state)
{
    static struct health_lease hanging[200];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hanging); i++)
        assert_int_equal(begin(&hanging[i]), HEALTH_GO);
    now += 10 * NS_PER_SEC;
    fail_until_open();
    now = look().until_ns;
    assert_true(attempt(OUTCOME_OK));
    now += NS_PER_SEC;
    for (size_t i = 0; i < ARRAY_LEN(hanging); i++)
        end(&hanging[i], OUTCOME_TRANSIENT);
    assert_int_equal(look().state, BREAKER_CLOSED);
}

static void without_a_breaker_nothing_is_held_back(void **state)
{
    (void)state;
    policy.breaker_failures = 0;
    for (int i = 0; i < 1000; i++)
        assert_true(attempt(OUTCOME_TRANSIENT));
    assert_int_equal(look().state, BREAKER_CLOSED);
}

/* --- random runs --- */

enum { RUNS = 200, RUN_STEPS = 2000, MOST_LEASES = 32 };

/*
 * An upstream that is up and down at random, and requests that begin and end at random. Whatever
 * happens: at most one probe is out at a time; while the breaker is open nothing goes; and once the
 * upstream stays up, so does the breaker, within the longest pause.
 */
static void run(uint64_t seed)
{
    struct health_lease leases[MOST_LEASES] = {0};
    bool is_used[MOST_LEASES] = {false};
    unsigned probes = 0;
    bool is_up = true;
    random_state = seed;
    for (int step = 0; step < RUN_STEPS; step++) {
        unsigned i = (unsigned)(next_random() % MOST_LEASES);
        now += (int64_t)(next_random() % (uint64_t)(500 * NS_PER_MS));
        if (next_random() % 50 == 0)
            is_up = !is_up;
        if (is_used[i]) {
            bool was_probe = leases[i].is_probe;
            bool is_cancelled = next_random() % 10 == 0;
            end(&leases[i], is_cancelled ? OUTCOME_CANCELLED
                            : is_up      ? OUTCOME_OK
                                         : OUTCOME_TRANSIENT);
            is_used[i] = false;
            probes -= was_probe;
            continue;
        }
        struct health_view view = look();
        enum health_verdict verdict = begin(&leases[i]);
        if (verdict != view.verdict)
            fail_msg("seed %llu step %d: said %s, did %s", (unsigned long long)seed, step,
                     health_verdict_names[view.verdict], health_verdict_names[verdict]);
        is_used[i] = health_may_go(verdict);
        probes += verdict == HEALTH_PROBE;
        if (probes > 1 || (view.state >= BREAKER_OPEN && verdict == HEALTH_GO))
            fail_msg("seed %llu step %d: %u probes, %s", (unsigned long long)seed, step, probes,
                     health_verdict_names[verdict]);
    }
    for (unsigned i = 0; i < MOST_LEASES; i++) {
        if (is_used[i])
            end(&leases[i], OUTCOME_OK);
    }
    now += 8 * policy.breaker_open_ns * 5 / 4;
    if (!attempt(OUTCOME_OK) || look().state != BREAKER_CLOSED || look().in_flight != 0)
        fail_msg("seed %llu: it did not recover", (unsigned long long)seed);
}

static void whatever_happens_it_recovers(void **state)
{
    const char *one = getenv("WEIR_SEED");
    (void)state;
    if (one != NULL) {
        run(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= RUNS; seed++)
        run(seed);
}

static int set_up(void **state)
{
    (void)state;
    policy = route_policy_default;
    now = 1000 * NS_PER_SEC;
    random_state = 1;
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
        TEST(it_opens_after_failures_in_a_row),
        TEST(while_it_is_open_nothing_is_let_through),
        TEST(one_probe_at_a_time_goes_through),
        TEST(a_probe_has_succeeded_with_its_first_event),
        TEST(each_failed_probe_doubles_the_pause_up_to_eight_times),
        TEST(it_opens_on_a_ratio_only_when_there_is_enough_to_judge_by),
        TEST(old_failures_count_no_more),
        TEST(only_the_provider_s_failures_count),
        TEST(slow_is_a_failure_too),
        TEST(stragglers_of_an_outage_do_not_open_it_again),
        TEST(without_a_breaker_nothing_is_held_back),
        TEST(whatever_happens_it_recovers),
    };
    return cmocka_run_group_tests_name("sim/breaker", tests, NULL, NULL);
}
