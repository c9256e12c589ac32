#include "rt/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void a_seed_repeats_its_sequence(void **state)
{
    (void)state;
    uint64_t first[16];
    random_fake(42);
    for (size_t i = 0; i < ARRAY_LEN(first); i++)
        first[i] = random_u64();
    random_fake(42);
    for (size_t i = 0; i < ARRAY_LEN(first); i++)
        assert_int_equal(random_u64(), first[i]);
    random_fake(43);
    assert_int_not_equal(random_u64(), first[0]);
}

static void real_numbers_differ_after_a_fake(void **state)
{
    (void)state;
    random_fake(7);
    uint64_t fake = random_u64();
    random_fake(0);
    uint64_t real = random_u64();
    assert_int_not_equal(real, fake);
    assert_int_not_equal(real, random_u64());
}

static void below_is_uniform_and_in_range(void **state)
{
    (void)state;
    random_fake(1);
    unsigned seen[10] = {0};
    for (int i = 0; i < 100000; i++)
        seen[random_below(10)]++;
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        assert_in_range(seen[i], 9600, 10400);
    assert_int_equal(random_below(1), 0);
    /* Just over half of the range is where a plain modulo is most biased: the lower half of the
     * results would come twice as often. */
    uint64_t bound = (UINT64_C(1) << 63) + (UINT64_C(1) << 62);
    unsigned low = 0;
    for (int i = 0; i < 10000; i++) {
        uint64_t r = random_below(bound);
        assert_true(r < bound);
        low += r < bound / 3;
    }
    assert_in_range(low, 3150, 3520);
}

static void unit_is_below_one(void **state)
{
    (void)state;
    random_fake(2);
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        double u = random_unit();
        assert_true(u >= 0 && u < 1);
        sum += u;
    }
    assert_true(sum > 49500 && sum < 50500);
}

static void ids_use_their_alphabet_and_their_length(void **state)
{
    (void)state;
    random_fake(3);
    for (size_t len = 0; len < 60; len++) {
        char id[64];
        memset(id, '#', sizeof(id));
        random_id(id, len);
        for (size_t i = 0; i < len; i++)
            assert_non_null(memchr("0123456789abcdefghjkmnpqrstvwxyz", id[i], 32));
        assert_int_equal(id[len], '#');
    }
    char a[26], b[26];
    random_id(a, sizeof(a));
    random_id(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a, a + 12, 12);
}

static void secrets_are_real_also_under_a_seed(void **state)
{
    (void)state;
    uint8_t a[32], b[32];
    random_fake(5);
    random_secret(a, sizeof(a));
    random_fake(5);
    random_secret(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_repeats_its_sequence),
        cmocka_unit_test(real_numbers_differ_after_a_fake),
        cmocka_unit_test(below_is_uniform_and_in_range),
        cmocka_unit_test(unit_is_below_one),
        cmocka_unit_test(ids_use_their_alphabet_and_their_length),
        cmocka_unit_test(secrets_are_real_also_under_a_seed),
    };
    return cmocka_run_group_tests_name("rt/random", tests, NULL, NULL);
}
