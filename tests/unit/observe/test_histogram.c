#include "observe/histogram.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct histogram_bounds *const all[] = {
    &histogram_call_bounds, &histogram_first_bounds,    &histogram_token_bounds,
    &histogram_gap_bounds,  &histogram_overhead_bounds, &histogram_usage_bounds,
};

static void a_value_lands_below_its_boundary(void **state)
{
    (void)state;
    static const struct {
        int64_t value;
        unsigned bucket;
    } cases[] = {{-5, 0}, {0, 0}, {1, 0}, {2, 1}, {4, 1}, {5, 2}, {67108864, 13}, {67108865, 14}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        metric_word words[HISTOGRAM_WORDS] = {0};
        histogram_observe(words, &histogram_usage_bounds, cases[i].value);
        for (unsigned b = 0; b < HISTOGRAM_SUM; b++)
            assert_int_equal(words[b], b == cases[i].bucket);
        assert_int_equal(words[HISTOGRAM_SUM], MAX(cases[i].value, 0));
    }
}

static void every_boundary_is_above_the_one_before(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_in_range(all[i]->count, 2, HISTOGRAM_BOUNDS_MAX);
        for (unsigned b = 1; b < all[i]->count; b++)
            assert_true(all[i]->upper[b] > all[i]->upper[b - 1]);
    }
}

static void every_boundary_belongs_to_its_own_bucket(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        metric_word words[HISTOGRAM_WORDS] = {0};
        for (unsigned b = 0; b < all[i]->count; b++)
            histogram_observe(words, all[i], all[i]->upper[b]);
        histogram_observe(words, all[i], INT64_MAX / 4);
        for (unsigned b = 0; b <= all[i]->count; b++)
            assert_int_equal(words[b], 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_lands_below_its_boundary),
        cmocka_unit_test(every_boundary_is_above_the_one_before),
        cmocka_unit_test(every_boundary_belongs_to_its_own_bucket),
    };
    return cmocka_run_group_tests_name("observe/histogram", tests, NULL, NULL);
}
