#include "base/str.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void comparing(void **state)
{
    (void)state;
    assert_true(str_eq(STR("abc"), str_c("abc")));
    assert_false(str_eq(STR("abc"), STR("abd")));
    assert_false(str_eq(STR("abc"), STR("ab")));
    assert_true(str_eq(STR(""), STR_EMPTY));
    assert_true(str_eq(str_c(NULL), STR("")));
    assert_true(str_eq(STR("a\0b"), STR("a\0b")));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
    assert_true(str_ieq(STR("Content-TYPE"), STR("content-type")));
    assert_false(str_ieq(STR("content-type"), STR("content_type")));
    /* ASCII only: the Kelvin sign is not a k, '@' is not '`'. */
    assert_false(str_ieq(STR("\xe2\x84\xaa"), STR("k")));
    assert_false(str_ieq(STR("@["), STR("`{")));
    assert_true(str_eq_secret(STR("key"), STR("key")));
    assert_false(str_eq_secret(STR("key"), STR("kez")));
    assert_false(str_eq_secret(STR("key"), STR("keyy")));
    assert_true(str_eq_secret(STR_EMPTY, STR("")));

    assert_true(str_cmp(STR("a"), STR("b")) < 0);
    assert_true(str_cmp(STR("b"), STR("a")) > 0);
    assert_true(str_cmp(STR("a"), STR("ab")) < 0);
    assert_int_equal(str_cmp(STR("ab"), STR("ab")), 0);
    assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
    assert_true(str_cmp(STR_EMPTY, STR("a")) < 0);
}

static void beginnings_and_ends(void **state)
{
    (void)state;
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_true(str_starts(STR("abc"), STR("")));
    assert_false(str_starts(STR("ab"), STR("abc")));
    assert_true(str_ends(STR("abc"), STR("bc")));
    assert_true(str_ends(STR("abc"), STR_EMPTY));
    assert_false(str_ends(STR("bc"), STR("abc")));
    assert_true(str_istarts(STR("ABc"), STR("aB")));
    assert_false(str_istarts(STR("A"), STR("aB")));
    assert_true(str_eq(str_skip(STR("abc"), 1), STR("bc")));
    assert_int_equal(str_skip(STR("abc"), 3).len, 0);
    assert_int_equal(str_skip(STR("abc"), 9).len, 0);
    assert_true(str_eq(str_head(STR("abc"), 2), STR("ab")));
    assert_true(str_eq(str_head(STR("abc"), 9), STR("abc")));
}

static void finding(void **state)
{
    (void)state;
    assert_int_equal(str_index(STR("a,b,c"), ','), 1);
    assert_int_equal(str_rindex(STR("a,b,c"), ','), 3);
    assert_int_equal(str_index(STR("abc"), ','), -1);
    assert_int_equal(str_rindex(STR_EMPTY, ','), -1);
    assert_int_equal(str_index(STR_EMPTY, ','), -1);
    assert_int_equal(str_find(STR("hello"), STR("l")), 2);
    assert_int_equal(str_find(STR("hello"), STR("lo")), 3);
    assert_int_equal(str_find(STR("hello"), STR("")), 0);
    assert_int_equal(str_find(STR("hello"), STR("hello!")), -1);
    assert_int_equal(str_find(STR_EMPTY, STR("x")), -1);
    assert_int_equal(str_ifind(STR("Keep-ALIVE"), STR("alive")), 5);
    assert_int_equal(str_ifind(STR("Keep"), STR("keeper")), -1);
    assert_int_equal(str_ifind(STR("abc"), STR("")), 0);
}

static void trimming(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {{"", ""}, {" ", ""}, {" \t a b\t ", "a b"}, {"a", "a"}, {"\ra\n", "\ra\n"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_true(str_eq(str_trim(str_c(cases[i].in)), str_c(cases[i].out)));
}

static void lists(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *items[5]; /* up to the first NULL */
    } cases[] = {
        {"a", {"a"}},      {"a,b", {"a", "b"}}, {"a,,b", {"a", "", "b"}},          {"", {""}},
        {"a,", {"a", ""}}, {",", {"", ""}},     {"a,b,c,d", {"a", "b", "c", "d"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str rest = str_c(cases[i].in), item;
        size_t n = 0;
        while (str_next(&rest, ',', &item)) {
            assert_non_null(cases[i].items[n]);
            assert_true(str_eq(item, str_c(cases[i].items[n])));
            n++;
        }
        assert_true(n == 5 || cases[i].items[n] == NULL);
    }
    struct str rest = STR_EMPTY, item;
    assert_false(str_next(&rest, ',', &item));

    struct str s = STR("key=value=x"), head;
    assert_true(str_cut(&s, '=', &head));
    assert_true(str_eq(head, STR("key")) && str_eq(s, STR("value=x")));
    s = STR("key");
    assert_false(str_cut(&s, '=', &head));
    assert_true(str_eq(head, STR("key")) && s.len == 0);
}

static void whole_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        bool is_ok;
        uint64_t value;
    } cases[] = {
        {"0", true, 0},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"99999999999999999999", false, 0},
        {"000000000000000000001", false, 0},
        {"", false, 0},
        {"+1", false, 0},
        {"-1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1a", false, 0},
        {"0x10", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t v = 77;
        assert_int_equal(str_to_u64(str_c(cases[i].in), &v), cases[i].is_ok);
        assert_true(v == (cases[i].is_ok ? cases[i].value : 77));
    }
    int64_t s = 77;
    assert_true(str_to_i64(STR("-9223372036854775808"), &s) && s == INT64_MIN);
    assert_true(str_to_i64(STR("9223372036854775807"), &s) && s == INT64_MAX);
    assert_true(str_to_i64(STR("-0"), &s) && s == 0);
    assert_false(str_to_i64(STR("9223372036854775808"), &s));
    assert_false(str_to_i64(STR("-9223372036854775809"), &s));
    assert_false(str_to_i64(STR("-"), &s));
    assert_false(str_to_i64(STR("--1"), &s));
    assert_int_equal(s, 0);
}

static void json_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        bool is_ok;
        double value;
    } cases[] = {
        {"0", true, 0},        {"-0.5", true, -0.5},      {"1e3", true, 1000}, {"1E+2", true, 100},
        {"2.5e-1", true, .25}, {"1e400", true, HUGE_VAL}, {"", false, 0},      {"-", false, 0},
        {"01", false, 0},      {"1.", false, 0},          {".5", false, 0},    {"1e", false, 0},
        {"1e+", false, 0},     {"+1", false, 0},          {"0x10", false, 0},  {"inf", false, 0},
        {"nan", false, 0},     {" 1", false, 0},          {"1 ", false, 0},    {"1,5", false, 0},
        {"--1", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double v = 77;
        assert_int_equal(str_to_double(str_c(cases[i].in), &v), cases[i].is_ok);
        assert_true(v == (cases[i].is_ok ? cases[i].value : 77));
    }
    char long_number[80];
    memset(long_number, '1', sizeof(long_number));
    double v = 77;
    assert_false(str_to_double(str_n(long_number, sizeof(long_number)), &v));
}

static void hex(void **state)
{
    (void)state;
    uint8_t bytes[3];
    char text[7] = "";
    assert_true(str_from_hex(STR("00aFf0"), bytes, 3));
    assert_memory_equal(bytes, "\x00\xaf\xf0", 3);
    str_to_hex(bytes, 3, text);
    assert_string_equal(text, "00aff0");
    assert_false(str_from_hex(STR("00aff"), bytes, 3));
    assert_false(str_from_hex(STR("00aff00"), bytes, 3));
    assert_false(str_from_hex(STR("00agf0"), bytes, 3));
}

static void globs(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *s;
        bool matches;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "a/b", true},
        {"a*", "abc", true},
        {"a*", "ba", false},
        {"*c", "abc", true},
        {"a*c", "abcbc", true},
        {"a*c", "abcb", false},
        {"a**c", "ac", true},
        {"*a*b*", "xxaxxbxx", true},
        {"*a*b*", "xxbxxaxx", false},
        {"gpt-*", "gpt-4o", true},
        {"gpt-*", "GPT-4o", false},
        {"a?c", "abc", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(str_glob(str_c(cases[i].pattern), str_c(cases[i].s)), cases[i].matches);
    /* Many stars against a long text that just does not match must not take for ever. */
    static char text[20000];
    memset(text, 'a', sizeof(text));
    assert_false(str_glob(STR("*a*a*a*a*a*a*a*a*b"), str_n(text, sizeof(text))));
}

static void hashes(void **state)
{
    (void)state;
    assert_true(str_hash(STR("a")) != str_hash(STR("b")));
    assert_true(str_hash(STR("ab")) != str_hash(STR("ba")));
    assert_true(str_hash(STR("A")) != str_hash(STR("a")));
    assert_true(str_ihash(STR("HOST")) == str_ihash(STR("host")));
    assert_true(str_hash(STR("a\0")) != str_hash(STR("a")));
    /* Low bits are used for tables: names that differ in one character must spread. */
    unsigned used[64] = {0}, buckets = 0;
    for (int i = 0; i < 256; i++) {
        char name[16];
        int n = snprintf(name, sizeof(name), "key-%03d", i);
        buckets += used[str_hash(str_n(name, (size_t)n)) % 64]++ == 0;
    }
    assert_true(buckets > 55);
}

static void the_nearest_word(void **state)
{
    (void)state;
    static const char *const words[] = {"listen", "providers", "timeout", "keys", NULL};
    assert_string_equal(str_nearest(STR("lisen"), words), "listen");
    assert_string_equal(str_nearest(STR("provider"), words), "providers");
    assert_string_equal(str_nearest(STR("TIMEOUT"), words), "timeout");
    assert_null(str_nearest(STR("completely-else"), words));
    assert_null(str_nearest(STR(""), words));
    static const char *const none[] = {NULL};
    assert_null(str_nearest(STR("x"), none));
    char long_word[200];
    memset(long_word, 'a', sizeof(long_word));
    assert_null(str_nearest(str_n(long_word, sizeof(long_word)), words));
}

static void putting_numbers(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, 9, 10, 12345, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        char out[20];
        uint64_t back;
        assert_true(str_to_u64(str_n(out, str_put_u64(out, values[i])), &back));
        assert_true(back == values[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comparing),
        cmocka_unit_test(beginnings_and_ends),
        cmocka_unit_test(finding),
        cmocka_unit_test(trimming),
        cmocka_unit_test(lists),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(json_numbers),
        cmocka_unit_test(hex),
        cmocka_unit_test(globs),
        cmocka_unit_test(hashes),
        cmocka_unit_test(the_nearest_word),
        cmocka_unit_test(putting_numbers),
    };
    return cmocka_run_group_tests_name("base/str", tests, NULL, NULL);
}
