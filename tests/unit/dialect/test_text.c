#include "dialect/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <yyjson.h>

#include "base/err.h"

static const struct {
    const char *what;
    struct text in;
    const char *json; /* as it is written, with its quotes */
    struct str plain; /* as it is read; ptr NULL = cannot be */
} texts[] = {
    {"plain",
     {STR_INIT("a\"b\\\n\x01"), false},
     "\"a\\\"b\\\\\\n\\u0001\"",
     STR_INIT("a\"b\\\n\x01")},
    {"escapes stay as they were",
     {STR_INIT("\\u00e9\\/\\n"), true},
     "\"\\u00e9\\/\\n\"",
     STR_INIT("\xc3\xa9/\n")},
    {"UTF-8 stays",
     {STR_INIT("\xc3\xa9\xf0\x9f\x98\x80"), true},
     "\"\xc3\xa9\xf0\x9f\x98\x80\"",
     STR_INIT("\xc3\xa9\xf0\x9f\x98\x80")},
    {"a raw control character is escaped",
     {STR_INIT("a\tb\n"), true},
     "\"a\\u0009b\\u000a\"",
     STR_INIT("a\tb\n")},
    {"bytes that are no UTF-8",
     {STR_INIT("a\xff\xc3z"), true},
     "\"a\xef\xbf\xbd\xef\xbf\xbdz\"",
     STR_INIT("a\xff\xc3z")},
    {"an overlong form",
     {STR_INIT("\xc0\xaf"), true},
     "\"\xef\xbf\xbd\xef\xbf\xbd\"",
     STR_INIT("\xc0\xaf")},
    {"a surrogate in UTF-8",
     {STR_INIT("\xed\xa0\x80"), true},
     "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"",
     STR_INIT("\xed\xa0\x80")},
    {"a wrong escape", {STR_INIT("a\\qb"), true}, "\"a\\\\qb\"", {NULL, 0}},
    {"a backslash at the end", {STR_INIT("a\\"), true}, "\"a\\\\\"", {NULL, 0}},
    {"half an escape by number", {STR_INIT("\\u00e"), true}, "\"\\\\u00e\"", {NULL, 0}},
    {"empty", {STR_INIT(""), true}, "\"\"", STR_INIT("")},
};

static void what_is_written_is_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct buf out = BUF_INIT;
        text_write(&out, texts[i].in);
        if (!str_eq(buf_str(&out), str_c(texts[i].json)))
            fail_msg("%s: %.*s", texts[i].what, STR_ARG(buf_str(&out)));
        yyjson_doc *doc = yyjson_read(out.ptr, out.len, 0);
        assert_non_null(doc);
        yyjson_doc_free(doc);
        buf_fini(&out);
    }
}

static void what_is_read_is_the_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct arena *arena = arena_new(512);
        struct buf out = BUF_INIT;
        struct str plain;
        bool can = texts[i].plain.ptr != NULL;
        int r = text_get(arena, texts[i].in, &plain);
        assert_int_equal(r, can ? 0 : -ERR_INVALID);
        if (can && !str_eq(plain, texts[i].plain))
            fail_msg("%s: %.*s", texts[i].what, STR_ARG(plain));
        assert_int_equal(text_append_plain(&out, texts[i].in), r);
        if (can) {
            assert_true(str_eq(buf_str(&out), texts[i].plain));
            assert_true(text_eq(texts[i].in, texts[i].plain));
        }
        assert_true(
            str_eq(text_or(arena, texts[i].in, STR("no")), can ? texts[i].plain : STR("no")));
        buf_fini(&out);
        arena_free(arena);
    }
}

static void none_is_not_empty(void **state)
{
    (void)state;
    struct arena *arena = arena_new(512);
    struct json_value string = {JSON_STRING, STR("\"\"")}, number = {JSON_NUMBER, STR("1")};
    assert_true(text_is_some(text_of(string)) && text_is_empty(text_of(string)));
    assert_false(text_is_some(text_of(number)));
    assert_false(text_is_some(text_dup(arena, TEXT_NONE)));
    assert_true(text_is_some(text_dup(arena, TEXT_LIT(""))));
    assert_false(text_eq(TEXT_NONE, STR("")));
    assert_true(str_eq(text_or(arena, TEXT_NONE, STR("else")), STR("else")));
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_json),
        cmocka_unit_test(what_is_read_is_the_text),
        cmocka_unit_test(none_is_not_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
