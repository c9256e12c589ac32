#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/clock.h"
#include "route/health.h"

/*
 * Retries under a scripted clock: how long they wait, and that a budget keeps them from multiplying
 * an outage. Random runs print their seed when they fail; WEIR_SEED=n runs that one alone.
 */

static uint64_t random_state;

/* splitmix64 */
static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* --- the delay --- */

static const struct route_policy *const policy = &route_policy_default; /* 200 ms, at most 5 s */

static void delays_spread_evenly_below_a_doubling_bound(void **state)
{
    enum { DRAWS = 20000 };
    (void)state;
    for (unsigned retry = 1; retry <= 8; retry++) {
        int64_t bound = MIN(policy->backoff_ns << (retry - 1), policy->backoff_max_ns);
        double sum = 0;
        int64_t least = INT64_MAX, most = 0;
        for (int i = 0; i < DRAWS; i++) {
            int64_t delay =
                retry_delay_ns(policy, retry, -1, NS_PER_SEC, CLOCK_NEVER, next_random());
            assert_in_range(delay, 0, bound);
            sum += (double)delay;
            least = MIN(least, delay);
            most = MAX(most, delay);
        }
        double mean = sum / DRAWS;
        assert_true(mean > 0.48 * (double)bound && mean < 0.52 * (double)bound);
        assert_true(least < bound / 100 && most > bound - bound / 100);
    }
}

static void a_provider_s_word_is_kept(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        int64_t delay = retry_delay_ns(policy, 1, 2 * NS_PER_SEC, 0, CLOCK_NEVER, next_random());
        assert_in_range(delay, 2 * NS_PER_SEC, 2500 * NS_PER_MS);
    }
    assert_in_range(retry_delay_ns(policy, 1, 0, 0, CLOCK_NEVER, 77), 0, 0);
    /* To keep a client for that long helps nobody. */
    assert_int_equal(retry_delay_ns(policy, 1, 3600 * NS_PER_SEC, 0, CLOCK_NEVER, 1), -1);
}

static void no_retry_begins_after_the_deadline(void **state)
{
    int64_t now = 100 * NS_PER_SEC;
    (void)state;
    assert_int_equal(retry_delay_ns(policy, 1, 2 * NS_PER_SEC, now, now + NS_PER_SEC, 0), -1);
    assert_int_equal(retry_delay_ns(policy, 1, 2 * NS_PER_SEC, now, now + 2 * NS_PER_SEC, 0), -1);
    assert_int_equal(retry_delay_ns(policy, 1, 2 * NS_PER_SEC, now, now + 3 * NS_PER_SEC, 0),
                     2 * NS_PER_SEC);
    assert_int_equal(retry_delay_ns(policy, 1, -1, now, now - 1, 0), -1);
    for (int i = 0; i < 1000; i++) {
        int64_t delay = retry_delay_ns(policy, 5, -1, now, now + NS_PER_SEC, next_random());
        assert_true(delay == -1 || delay < NS_PER_SEC);
    }
}

static void no_backoff_means_at_once(void **state)
{
    struct route_policy none = route_policy_default;
    (void)state;
    none.backoff_ns = 0;
    assert_int_equal(retry_delay_ns(&none, 1, -1, 0, CLOCK_NEVER, 12345), 0);
    assert_int_equal(retry_delay_ns(&none, 30, -1, 0, CLOCK_NEVER, 12345), 0);
}

/* --- the budget --- */

/*
 * Requests come evenly, each is an attempt of some length that fails with a chance; what failed
 * tries again, twice at most, if the budget allows. The events are kept in the order of time.
 */
enum { QUEUE = 4096 };

struct attempt {
    int64_t ends_ns;
    unsigned retry; /* 0 = the first */
};

struct load {
    struct attempt queue[QUEUE]; /* a heap: the earliest first */
    unsigned count;
    uint64_t requests, attempts, failed_retries, lost;
    struct health_route *route;
    double failure_chance;
    int64_t attempt_ns;
};

static void swap(struct attempt *a, struct attempt *b)
{
    struct attempt was = *a;
    *a = *b;
    *b = was;
}

static void push(struct load *load, struct attempt attempt)
{
    unsigned i = load->count++;
    assert_true(i < QUEUE);
    load->queue[i] = attempt;
    for (; i > 0 && load->queue[(i - 1) / 2].ends_ns > load->queue[i].ends_ns; i = (i - 1) / 2)
        swap(&load->queue[i], &load->queue[(i - 1) / 2]);
}

static struct attempt pop(struct load *load)
{
    struct attempt first = load->queue[0];
    load->queue[0] = load->queue[--load->count];
    for (unsigned i = 0, child; (child = 2 * i + 1) < load->count; i = child) {
        if (child + 1 < load->count && load->queue[child + 1].ends_ns < load->queue[child].ends_ns)
            child++;
        if (load->queue[i].ends_ns <= load->queue[child].ends_ns)
            break;
        swap(&load->queue[i], &load->queue[child]);
    }
    return first;
}

static void start(struct load *load, int64_t now_ns, unsigned retry)
{
    int64_t length = (int64_t)(next_random() % (uint64_t)(2 * load->attempt_ns));
    load->attempts++;
    push(load, (struct attempt){now_ns + length, retry});
}

static void finish_until(struct load *load, int64_t until_ns)
{
    while (load->count > 0 && load->queue[0].ends_ns <= until_ns) {
        struct attempt attempt = pop(load);
        int64_t now_ns = attempt.ends_ns;
        bool is_ok = (double)(next_random() >> 11) * 0x1p-53 >= load->failure_chance;
        if (attempt.retry > 0) {
            health_retry_end(load->route, is_ok, now_ns);
            load->failed_retries += !is_ok;
        }
        if (is_ok)
            continue;
        if (attempt.retry < policy->retries &&
            health_retry_begin(load->route, policy->retry_budget_percent, now_ns))
            start(load, now_ns, attempt.retry + 1);
        else
            load->lost++;
    }
}

static void play(struct load *load, uint64_t requests, int64_t every_ns, int64_t *now_ns)
{
    for (uint64_t i = 0; i < requests; i++) {
        *now_ns += every_ns;
        finish_until(load, *now_ns);
        health_count_request(load->route, *now_ns);
        load->requests++;
        start(load, *now_ns, 0);
    }
}

static struct load *load_new(const char *route, double failure_chance, int64_t attempt_ns)
{
    struct load *load = calloc(1, sizeof(*load));
    assert_non_null(load);
    load->route = health_route(str_c(route));
    load->failure_chance = failure_chance;
    load->attempt_ns = attempt_ns;
    return load;
}

static void a_total_outage_gets_a_fifth_more_load_and_no_more(void **state)
{
    int64_t now = 1000 * NS_PER_SEC;
    struct load *load = load_new("outage", 1.0, 50 * NS_PER_MS);
    (void)state;
    play(load, 100000, NS_PER_MS, &now);
    finish_until(load, CLOCK_NEVER);
    print_message("%llu requests made %llu attempts\n", (unsigned long long)load->requests,
                  (unsigned long long)load->attempts);
    assert_true(load->attempts > 110 * load->requests / 100);
    assert_true(load->attempts <= 120 * load->requests / 100);
    assert_int_equal(load->lost, load->requests);
    free(load);
}

static void an_outage_that_hangs_gets_no_more_either(void **state)
{
    int64_t now = 1000 * NS_PER_SEC;
    struct load *load = load_new("hanging", 1.0, 1500 * NS_PER_MS);
    (void)state;
    play(load, 100000, NS_PER_MS, &now);
    finish_until(load, CLOCK_NEVER);
    /* Before the first retry has failed nobody knows: those of that moment come on top. */
    uint64_t unknowing = (uint64_t)(2 * load->attempt_ns / NS_PER_MS);
    assert_true(load->attempts <= 120 * load->requests / 100 + unknowing);
    free(load);
}

static void when_one_of_three_dies_everybody_may_move(void **state)
{
    int64_t now = 1000 * NS_PER_SEC;
    struct health_route *route = health_route(STR("moving"));
    (void)state;
    for (int i = 0; i < 500; i++)
        health_count_request(route, now);
    /* 500 streams break in one moment; all of them go on elsewhere, and well. */
    for (int i = 0; i < 500; i++)
        assert_true(health_retry_begin(route, policy->retry_budget_percent, now));
    for (int i = 0; i < 500; i++)
        health_retry_end(route, true, now);
    assert_true(health_retry_begin(route, policy->retry_budget_percent, now));
    health_retry_end(route, true, now);
}

static void few_failures_are_all_retried(void **state)
{
    int64_t now = 1000 * NS_PER_SEC;
    struct load *load = load_new("few", 0.05, 50 * NS_PER_MS);
    (void)state;
    play(load, 100000, NS_PER_MS, &now);
    finish_until(load, CLOCK_NEVER);
    /* Three failures one after the other: one in eight thousand. */
    assert_true(load->lost < 30);
    free(load);
}

static void a_single_request_may_retry(void **state)
{
    struct health_route *route = health_route(STR("single"));
    int64_t now = 1000 * NS_PER_SEC;
    unsigned retries = 0;
    (void)state;
    health_count_request(route, now);
    while (retries < 100 && health_retry_begin(route, 20, now)) {
        health_retry_end(route, false, now);
        retries++;
    }
    assert_int_equal(retries, RETRY_FLOOR);
    /* A minute later all is forgotten. */
    assert_true(health_retry_begin(route, 20, now + 70 * NS_PER_SEC));
    health_retry_end(route, true, now + 70 * NS_PER_SEC);
}

static void one_route_s_outage_is_not_another_s(void **state)
{
    struct health_route *bad = health_route(STR("bad")), *good = health_route(STR("good"));
    int64_t now = 1000 * NS_PER_SEC;
    (void)state;
    while (health_retry_begin(bad, 20, now))
        health_retry_end(bad, false, now);
    assert_true(health_retry_begin(good, 20, now));
    health_retry_end(good, true, now);
    assert_ptr_equal(bad, health_route(STR("bad")));
}

static void a_hundred_percent_is_no_budget(void **state)
{
    struct health_route *route = health_route(STR("unbounded"));
    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_true(health_retry_begin(route, 100, NS_PER_SEC));
        health_retry_end(route, false, NS_PER_SEC);
    }
    assert_false(health_retry_begin(health_route(STR("none")), 0, NS_PER_SEC));
}

static void random_outages_never_get_more_than_their_share(void **state)
{
    const char *one = getenv("WEIR_SEED");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1, last = one != NULL ? first : 20;
    (void)state;
    for (uint64_t seed = first; seed <= last; seed++) {
        random_state = seed;
        char name[32];
        snprintf(name, sizeof(name), "random-%llu", (unsigned long long)seed);
        int64_t now = 1000 * NS_PER_SEC;
        struct load *load = load_new(name, 0, (1 + (int64_t)(next_random() % 100)) * NS_PER_MS);
        while (load->requests < 20000) {
            /* Up, half down, or down. */
            load->failure_chance = (double)(next_random() % 3) / 2;
            play(load, next_random() % 5000, NS_PER_MS, &now);
        }
        finish_until(load, CLOCK_NEVER);
        /* When it goes down, the retries of that moment are under way already. */
        uint64_t unknowing = 10 * (uint64_t)(2 * load->attempt_ns / NS_PER_MS);
        if (load->failed_retries > load->requests / 5 + unknowing)
            fail_msg("seed %llu: %llu retries of %llu requests failed", (unsigned long long)seed,
                     (unsigned long long)load->failed_retries, (unsigned long long)load->requests);
        free(load);
    }
}

static int set_up(void **state)
{
    (void)state;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_spread_evenly_below_a_doubling_bound),
        cmocka_unit_test(a_provider_s_word_is_kept),
        cmocka_unit_test(no_retry_begins_after_the_deadline),
        cmocka_unit_test(no_backoff_means_at_once),
        cmocka_unit_test(a_total_outage_gets_a_fifth_more_load_and_no_more),
        cmocka_unit_test(an_outage_that_hangs_gets_no_more_either),
        cmocka_unit_test(when_one_of_three_dies_everybody_may_move),
        cmocka_unit_test(few_failures_are_all_retried),
        cmocka_unit_test(a_single_request_may_retry),
        cmocka_unit_test(one_route_s_outage_is_not_another_s),
        cmocka_unit_test(a_hundred_percent_is_no_budget),
        cmocka_unit_test(random_outages_never_get_more_than_their_share),
    };
    return cmocka_run_group_tests_name("sim/retry", tests, set_up, tear_down);
}
