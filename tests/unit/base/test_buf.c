#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <yyjson.h>

#include "base/mem.h"

static void all_kinds_are_appended(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT;
    BUF_LIT(&buf, "lit ");
    buf_add_str(&buf, STR("str "));
    buf_add_str(&buf, STR_EMPTY);
    buf_add_char(&buf, 'c');
    buf_add_u64(&buf, UINT64_MAX);
    buf_add_char(&buf, ' ');
    buf_add_i64(&buf, INT64_MIN);
    buf_printf(&buf, " %s/%d", "p", 5);
    buf_printf(&buf, "%s", "");
    assert_true(buf_ok(&buf));
    assert_true(
        str_eq(buf_str(&buf), STR("lit str c18446744073709551615 -9223372036854775808 p/5")));
    buf_fini(&buf);
    assert_null(buf.ptr);
    buf_fini(&buf);
}

static void it_grows_and_consumes(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT;
    for (int i = 0; i < 100000; i++)
        buf_add_char(&buf, (char)('a' + i % 26));
    assert_int_equal(buf.len, 100000);
    for (size_t i = 0; i < buf.len; i++)
        assert_int_equal(buf.ptr[i], 'a' + (int)(i % 26));
    buf_consume(&buf, 99998);
    assert_true(str_eq(buf_str(&buf), STR("cd")));
    buf_consume(&buf, 0);
    buf_consume(&buf, 2);
    assert_int_equal(buf.len, 0);
    buf_fini(&buf);
}

static void a_limit_holds_exactly(void **state)
{
    (void)state;
    /* What fits to the last byte is taken, whatever the way in. */
    struct buf buf = BUF_INIT;
    buf.limit = 10;
    buf_printf(&buf, "%s", "0123456789");
    assert_true(buf_ok(&buf) && buf.len == 10);
    buf_clear(&buf);
    BUF_LIT(&buf, "0123456");
    buf_add_u64(&buf, 789);
    assert_true(buf_ok(&buf) && buf.len == 10);
    buf_add_char(&buf, 'x');
    assert_false(buf_ok(&buf));
    assert_true(str_eq(buf_str(&buf), STR("0123456789")));
    /* Nothing is added after a failure, not even what would fit. */
    buf_consume(&buf, 5);
    buf_add_char(&buf, 'y');
    assert_false(buf_ok(&buf));
    assert_int_equal(buf.len, 5);
    buf_clear(&buf);
    buf_printf(&buf, "%s", "01234567890");
    assert_false(buf_ok(&buf));
    assert_int_equal(buf.len, 0);
    buf_fini(&buf);
    assert_int_equal(buf.limit, 10);
}

static void no_memory_is_kept_in_mind(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT;
    mem_fail_at(1);
    buf_add_str(&buf, STR("lost"));
    buf_add_str(&buf, STR("not taken either"));
    mem_fail_at(0);
    assert_false(buf_ok(&buf));
    assert_int_equal(buf.len, 0);
    buf_clear(&buf);
    buf_add_str(&buf, STR("again"));
    assert_true(buf_ok(&buf));
    /* A sum beyond all memory is no small sum. */
    assert_false(buf_reserve(&buf, SIZE_MAX - 1));
    assert_false(buf_ok(&buf));
    buf_fini(&buf);
}

static void json_strings_are_always_json(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        const char *out;
    } cases[] = {
        {STR_INIT(""), "\"\""},
        {STR_INIT("plain"), "\"plain\""},
        {STR_INIT("\"\\\n\r\t"), "\"\\\"\\\\\\n\\r\\t\""},
        {STR_INIT("\0\x1f\x7f"), "\"\\u0000\\u001f\\u007f\""},
        {STR_INIT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
         "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        /* Broken: alone, overlong, a surrogate, beyond U+10FFFF, cut short. */
        {STR_INIT("\x80"), "\"\xef\xbf\xbd\""},
        {STR_INIT("\xc0\xaf"), "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {STR_INIT("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {STR_INIT("\xf4\x90\x80\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {STR_INIT("a\xe2\x82"), "\"a\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf buf = BUF_INIT;
        buf_add_json(&buf, cases[i].in);
        assert_true(str_eq(buf_str(&buf), str_c(cases[i].out)));
        yyjson_doc *doc = yyjson_read(buf.ptr, buf.len, 0);
        assert_non_null(doc);
        yyjson_doc_free(doc);
        buf_fini(&buf);
    }
    /* Every pair of bytes. */
    struct buf buf = BUF_INIT;
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            char pair[2] = {(char)a, (char)b};
            buf_clear(&buf);
            buf_add_json(&buf, str_n(pair, 2));
            yyjson_doc *doc = yyjson_read(buf.ptr, buf.len, 0);
            assert_non_null(doc);
            yyjson_doc_free(doc);
        }
    }
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_kinds_are_appended),       cmocka_unit_test(it_grows_and_consumes),
        cmocka_unit_test(a_limit_holds_exactly),        cmocka_unit_test(no_memory_is_kept_in_mind),
        cmocka_unit_test(json_strings_are_always_json),
    };
    return cmocka_run_group_tests_name("base/buf", tests, NULL, NULL);
}
