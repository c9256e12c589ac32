/* Percentiles over the last minute or two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "route/latency.h"

#define WINDOW LATENCY_WINDOW_NS

static void expect_near(int64_t value, int64_t wanted)
{
    if (value < wanted - wanted / 8 || value > wanted + wanted / 8)
        fail_msg("%lld is not near %lld", (long long)value, (long long)wanted);
}

static void percentiles_of_known_values(void **state)
{
    struct latency latency = {0};
    (void)state;
    for (int64_t ms = 1; ms <= 1000; ms++)
        latency_record(&latency, ms * NS_PER_MS, 0);
    assert_int_equal(latency_samples(&latency, 0), 1000);
    expect_near(latency_percentile(&latency, 50, 0), 500 * NS_PER_MS);
    expect_near(latency_percentile(&latency, 95, 0), 950 * NS_PER_MS);
    expect_near(latency_percentile(&latency, 1, 0), 10 * NS_PER_MS);
    expect_near(latency_percentile(&latency, 100, 0), 1000 * NS_PER_MS);
}

static void any_size_of_value_is_right_within_an_eighth(void **state)
{
    (void)state;
    for (int64_t ns = 300 * NS_PER_US; ns < 3600 * NS_PER_SEC; ns += ns / 3) {
        struct latency latency = {0};
        latency_record(&latency, ns, 0);
        int64_t read = latency_percentile(&latency, 50, 0);
        if (read < ns - ns / 8 || read > ns + ns / 8)
            fail_msg("%lld is read as %lld", (long long)ns, (long long)read);
    }
}

static void what_cannot_be_is_counted_at_the_ends(void **state)
{
    struct latency latency = {0};
    (void)state;
    latency_record(&latency, -5, 0);
    latency_record(&latency, 0, 0);
    assert_in_range(latency_percentile(&latency, 100, 0), 0, NS_PER_MS);
    latency_record(&latency, INT64_MAX, 0);
    assert_true(latency_percentile(&latency, 100, 0) > 3600 * NS_PER_SEC);
}

static void old_values_are_forgotten(void **state)
{
    struct latency latency = {0};
    int64_t now = 10 * WINDOW;
    (void)state;
    assert_int_equal(latency_percentile(&latency, 95, now), -1);
    latency_record(&latency, NS_PER_SEC, now);
    expect_near(latency_percentile(&latency, 95, now + WINDOW), NS_PER_SEC);
    assert_int_equal(latency_percentile(&latency, 95, now + 2 * WINDOW), -1);
    assert_int_equal(latency_samples(&latency, now + 2 * WINDOW), 0);
    /* A window without any between: nothing of before counts. */
    latency_record(&latency, 10 * NS_PER_MS, now + 3 * WINDOW);
    assert_int_equal(latency_samples(&latency, now + 3 * WINDOW), 1);
    expect_near(latency_percentile(&latency, 95, now + 3 * WINDOW), 10 * NS_PER_MS);
    /* One after the other: both count, then the newer. */
    latency_record(&latency, NS_PER_SEC, now + 4 * WINDOW);
    assert_int_equal(latency_samples(&latency, now + 4 * WINDOW), 2);
    assert_int_equal(latency_samples(&latency, now + 5 * WINDOW), 1);
}

static void a_clock_that_is_behind_erases_nothing(void **state)
{
    struct latency latency = {0};
    (void)state;
    latency_record(&latency, NS_PER_SEC, 10 * WINDOW);
    latency_record(&latency, NS_PER_SEC, 10 * WINDOW - 1);
    assert_int_equal(latency_samples(&latency, 10 * WINDOW - 1), 2);
    assert_int_equal(latency_samples(&latency, 10 * WINDOW), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_of_known_values),
        cmocka_unit_test(any_size_of_value_is_right_within_an_eighth),
        cmocka_unit_test(what_cannot_be_is_counted_at_the_ends),
        cmocka_unit_test(old_values_are_forgotten),
        cmocka_unit_test(a_clock_that_is_behind_erases_nothing),
    };
    return cmocka_run_group_tests_name("route/latency", tests, NULL, NULL);
}
