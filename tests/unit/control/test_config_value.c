#include "control/config_value.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/clock.h"

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(4096);
    return arena == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns; /* -1 = refused */
    } cases[] = {
        {"250ms", 250 * NS_PER_MS},
        {"30s", 30 * NS_PER_SEC},
        {"5m", 300 * NS_PER_SEC},
        {"1h", 3600 * NS_PER_SEC},
        {"7d", 7 * 86400 * NS_PER_SEC},
        {"1h30m", 5400 * NS_PER_SEC},
        {"1m1s1ms", 61 * NS_PER_SEC + NS_PER_MS},
        {"0s", 0},
        {"106751d", INT64_C(106751) * 86400 * NS_PER_SEC},
        {"", -1},
        {"s", -1},
        {"-1s", -1},
        {"1.5s", -1},
        {"30 s", -1},
        {"30S", -1},
        {"30sec", -1},
        {"30m1h", -1},
        {"1s1s", -1},
        {"106752d", -1},
        {"99999999999999999999s", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ns = -2;
        const char *expected = config_parse_duration(arena, str_c(cases[i].text), &ns);
        if ((expected == NULL) != (cases[i].ns >= 0) || (expected == NULL && ns != cases[i].ns))
            fail_msg("%s gave %lld (%s)", cases[i].text, (long long)ns,
                     expected != NULL ? expected : "accepted");
    }
    int64_t ns;
    assert_string_equal(config_parse_duration(arena, STR("30"), &ns),
                        "a duration with its unit (ms, s, m, h or d); did you mean \"30s\"?");
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes; /* -1 = refused */
    } cases[] = {
        {"0B", 0},
        {"512B", 512},
        {"64KiB", 65536},
        {"64 KiB", 65536},
        {"1KB", 1000},
        {"32MiB", 32 << 20},
        {"1MB", 1000000},
        {"2GiB", INT64_C(2) << 30},
        {"3GB", INT64_C(3000000000)},
        {"", -1},
        {"MiB", -1},
        {"-1B", -1},
        {"1.5MiB", -1},
        {"1mib", -1},
        {"1M", -1},
        {"1MiB2", -1},
        {"9999999999GiB", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t bytes = -2;
        const char *expected = config_parse_size(arena, str_c(cases[i].text), &bytes);
        if ((expected == NULL) != (cases[i].bytes >= 0) ||
            (expected == NULL && bytes != cases[i].bytes))
            fail_msg("%s gave %lld (%s)", cases[i].text, (long long)bytes,
                     expected != NULL ? expected : "accepted");
    }
    int64_t bytes;
    assert_string_equal(config_parse_size(arena, STR("1024"), &bytes),
                        "a size with its unit (B, KiB, MiB, GiB, KB, MB or GB); did you mean "
                        "\"1024B\"?");
}

static void times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds; /* -1 = refused */
    } cases[] = {
        {"1970-01-01", 0},
        {"2027-01-31", 1801353600},
        {"2027-01-31T00:00:00Z", 1801353600},
        {"2027-01-31t01:00:00+01:00", 1801353600},
        {"2027-01-30 18:30:00-05:30", 1801353600},
        {"2028-02-29", 1835395200},
        {"2016-12-31T23:59:60Z", 1483228800},
        {"2027-02-29", -1},
        {"2027-04-31", -1},
        {"2027-13-01", -1},
        {"2027-00-01", -1},
        {"2027-1-1", -1},
        {"27-01-01", -1},
        {"2027-01-31T24:00:00Z", -1},
        {"2027-01-31T10:60:00Z", -1},
        {"2027-01-31T10:00Z", -1},
        {"2027-01-31T10:00:00", -1},
        {"2027-01-31T10:00:00.Z", -1},
        {"2027-01-31T10:00:00Zx", -1},
        {"2027-01-31T10:00:00+25:00", -1},
        {"tomorrow", -1},
        {"", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ns = -2;
        const char *expected = config_parse_time(str_c(cases[i].text), &ns);
        if ((expected == NULL) != (cases[i].seconds >= 0) ||
            (expected == NULL && ns != cases[i].seconds * NS_PER_SEC))
            fail_msg("%s gave %lld (%s)", cases[i].text, (long long)ns,
                     expected != NULL ? expected : "accepted");
    }
    int64_t ns;
    assert_null(config_parse_time(STR("1970-01-01T00:00:01.25Z"), &ns));
    assert_int_equal(ns, 1250 * NS_PER_MS);
}

static void booleans(void **state)
{
    (void)state;
    bool value = false;
    assert_null(config_parse_bool(STR("true"), &value));
    assert_true(value);
    assert_null(config_parse_bool(STR("false"), &value));
    assert_false(value);
    assert_string_equal(config_parse_bool(STR("Yes"), &value),
                        "true or false; did you mean \"true\"?");
    assert_string_equal(config_parse_bool(STR("off"), &value),
                        "true or false; did you mean \"false\"?");
    assert_string_equal(config_parse_bool(STR(""), &value), "true or false");
}

static void written(void (*write)(struct buf *, int64_t), int64_t value, const char *expected)
{
    struct buf out = BUF_INIT;
    write(&out, value);
    buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, expected);
    buf_fini(&out);
}

static void values_are_written_with_the_unit_that_fits(void **state)
{
    (void)state;
    written(config_write_duration, 0, "0s");
    written(config_write_duration, 90 * NS_PER_SEC, "90s");
    written(config_write_duration, 7200 * NS_PER_SEC, "2h");
    written(config_write_duration, 86400 * NS_PER_SEC, "1d");
    written(config_write_duration, 250 * NS_PER_MS, "250ms");
    written(config_write_size, 0, "0B");
    written(config_write_size, 1000, "1000B");
    written(config_write_size, 65536, "64KiB");
    written(config_write_size, 1 << 30, "1GiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(sizes),
        cmocka_unit_test(times),
        cmocka_unit_test(booleans),
        cmocka_unit_test(values_are_written_with_the_unit_that_fits),
    };
    return cmocka_run_group_tests_name("control/config_value", tests, set_up, tear_down);
}
