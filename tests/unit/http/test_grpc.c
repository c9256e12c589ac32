#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "http/grpc.h"

static void content_types(void **state)
{
    (void)state;
    assert_true(grpc_is_content_type(STR("application/grpc")));
    assert_true(grpc_is_content_type(STR("application/grpc+proto")));
    assert_true(grpc_is_content_type(STR("Application/gRPC; charset=x")));
    assert_false(grpc_is_content_type(STR("application/grpc-web+proto")));
    assert_false(grpc_is_content_type(STR("application/json")));
    assert_false(grpc_is_content_type(STR_EMPTY));
}

static void deadlines(void **state)
{
    static const struct {
        struct str text;
        int64_t ns; /* -1 = refused */
    } rows[] = {
        {STR_INIT("1n"), 1},
        {STR_INIT("5u"), 5000},
        {STR_INIT("100m"), 100 * NS_PER_MS},
        {STR_INIT("10S"), 10 * NS_PER_SEC},
        {STR_INIT("2M"), 120 * NS_PER_SEC},
        {STR_INIT("3H"), 10800 * NS_PER_SEC},
        {STR_INIT("99999999H"), INT64_MAX / 2},
        {STR_INIT("100000000S"), -1},
        {STR_INIT("S"), -1},
        {STR_INIT("5"), -1},
        {STR_INIT("-5S"), -1},
        {STR_INIT("5s"), -1},
        {STR_INIT(""), -1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t ns = -1;
        assert_int_equal(grpc_timeout_read(rows[i].text, &ns), rows[i].ns >= 0);
        assert_int_equal(ns, rows[i].ns);
    }
}

/* What is written is never more than what is left, and at most a hundred-thousandth less. */
static void deadlines_written(void **state)
{
    (void)state;
    for (int64_t ns = 1; ns < INT64_MAX / 4; ns = ns * 3 + 1) {
        char text[GRPC_TIMEOUT_BYTES];
        int64_t back;
        size_t n = grpc_timeout_write(text, ns);
        assert_true(grpc_timeout_read(str_n(text, n), &back));
        assert_true(back <= ns && (double)back > (double)ns * 0.99);
    }
    char text[GRPC_TIMEOUT_BYTES];
    assert_int_equal(grpc_timeout_write(text, -5), 2);
    assert_memory_equal(text, "1n", 2);
}

static void codes(void **state)
{
    (void)state;
    assert_int_equal(grpc_code_read(STR("14")), GRPC_UNAVAILABLE);
    assert_int_equal(grpc_code_read(STR("17")), GRPC_UNKNOWN);
    assert_int_equal(grpc_code_read(STR("x")), GRPC_UNKNOWN);
    assert_int_equal(grpc_code_of_http(401), GRPC_UNAUTHENTICATED);
    assert_int_equal(grpc_code_of_http(418), GRPC_UNKNOWN);
    for (enum grpc_code code = GRPC_OK; code < GRPC_CODE_COUNT; code++) {
        assert_non_null(grpc_code_names[code]);
        assert_true(grpc_http_of_code(code) >= 200);
    }
}

static void messages_are_percent_encoded(void **state)
{
    struct buf out = BUF_INIT;
    (void)state;
    grpc_message_write(&out, STR("100% \xc3\xa4\n~"));
    assert_int_equal(out.len, 17);
    assert_memory_equal(out.ptr, "100%25 %C3%A4%0A~", 17);
    buf_fini(&out);
}

/* Two messages and an empty one, cut at every place. */
static void frames_at_every_cut(void **state)
{
    static const char wire[] = "\0\0\0\0\3abc\1\0\0\0\0\0\0\0\0\2xy";
    const size_t len = sizeof(wire) - 1;
    (void)state;
    for (size_t a = 0; a <= len; a++) {
        for (size_t b = a; b <= len; b++) {
            struct grpc_frames frames = {.limit = 3};
            const struct str cuts[] = {str_n(wire, a), str_n(wire + a, b - a),
                                       str_n(wire + b, len - b)};
            for (size_t i = 0; i < ARRAY_LEN(cuts); i++)
                assert_int_equal(grpc_frames_count(&frames, cuts[i]), 0);
            assert_int_equal(frames.messages, 3);
            assert_int_equal(frames.prefix_len, 0);
        }
    }
}

static void frames_that_are_none(void **state)
{
    struct grpc_frames large = {.limit = 2}, flagged = {.limit = 9};
    (void)state;
    assert_int_equal(grpc_frames_count(&large, str_n("\0\0\0\0\3", 5)), -ERR_LIMIT);
    assert_int_equal(grpc_frames_count(&flagged, str_n("\2\0\0\0\0", 5)), -ERR_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_types),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(deadlines_written),
        cmocka_unit_test(codes),
        cmocka_unit_test(messages_are_percent_encoded),
        cmocka_unit_test(frames_at_every_cut),
        cmocka_unit_test(frames_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
