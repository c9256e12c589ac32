#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void a_fake_clock_stands_until_moved(void **state)
{
    (void)state;
    clock_fake(5, 7);
    assert_int_equal(clock_mono_ns(), 5);
    assert_int_equal(clock_wall_ns(), 7);
    clock_fake_advance(10);
    assert_int_equal(clock_mono_ns(), 15);
    assert_int_equal(clock_wall_ns(), 17);
    clock_real();
    int64_t a = clock_mono_ns(), b = clock_mono_ns();
    assert_true(a > 15 && b >= a);
    assert_true(clock_wall_ns() > INT64_C(1700000000) * NS_PER_SEC);
}

static void deadlines_do_not_overflow(void **state)
{
    (void)state;
    assert_int_equal(clock_add_ns(3, 4), 7);
    assert_int_equal(clock_add_ns(CLOCK_NEVER, 1), CLOCK_NEVER);
    assert_int_equal(clock_add_ns(1, CLOCK_NEVER), CLOCK_NEVER);
}

static void times_are_written_as_people_read_them(void **state)
{
    (void)state;
    static const struct {
        int64_t wall_ns;
        const char *iso, *http;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"},
        {INT64_C(1795233503123) * NS_PER_MS + 999999, "2026-11-21T03:58:23.123Z",
         "Sat, 21 Nov 2026 03:58:23 GMT"},
        {INT64_C(951868799999) * NS_PER_MS, "2000-02-29T23:59:59.999Z",
         "Tue, 29 Feb 2000 23:59:59 GMT"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char iso[CLOCK_ISO_LEN + 1], http[CLOCK_HTTP_LEN + 1];
        clock_format_iso(cases[i].wall_ns, iso);
        clock_format_http(cases[i].wall_ns, http);
        assert_string_equal(iso, cases[i].iso);
        assert_string_equal(http, cases[i].http);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fake_clock_stands_until_moved),
        cmocka_unit_test(deadlines_do_not_overflow),
        cmocka_unit_test(times_are_written_as_people_read_them),
    };
    return cmocka_run_group_tests_name("base/clock", tests, NULL, NULL);
}
