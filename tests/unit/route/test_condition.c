/* Which requests a condition holds for, and what is said of conditions that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "route/condition.h"

static struct http_header header_items[] = {
    {STR_INIT("X-Tier"), STR_INIT("gold")},
    {STR_INIT("x-score"), STR_INIT("7.5")},
    {STR_INIT("x-empty"), STR_INIT("")},
};
static const struct http_headers headers = {header_items, 3, 3};

static const struct route_facts facts = {
    .model = STR_INIT("gpt-4o"),
    .user = STR_INIT("u-17"),
    .key_name = STR_INIT("ci"),
    .is_stream = true,
    .headers = &headers,
    .metadata = STR_INIT("{\"plan\": \"pro\", \"level\": \"12\", \"n\": 3, \"beta\": true, "
                         "\"gone\": null, \"city\": \"M\\u00fcnchen\", \"list\": [1], "
                         "\"a\": {\"b\": \"in\"}, \"a.c\": \"flat\"}"),
    .input_tokens = 5000,
    .output_tokens = -1,
};

static bool holds(const char *json)
{
    struct arena *arena = arena_new(4096);
    const struct condition *c = condition_parse(arena, str_c(json));
    if (c == NULL)
        fail_msg("%s: %s", json, err_slot()->message);
    bool result = condition_holds(c, &facts, arena);
    arena_free(arena);
    return result;
}

static const struct {
    const char *json;
    bool holds;
} table[] = {
    /* Bare values. */
    {"{\"model\": \"gpt-4o\"}", true},
    {"{\"model\": \"gpt-4\"}", false},
    {"{\"stream\": true}", true},
    {"{\"stream\": false}", false},
    {"{\"metadata.n\": 3}", true},
    {"{\"metadata.n\": 3.0}", true},
    {"{\"metadata.n\": \"3\"}", true},
    {"{\"metadata.beta\": true}", true},
    {"{\"metadata.level\": 12}", true},
    {"{\"headers.x-tier\": \"gold\"}", true},
    {"{\"headers.X-TIER\": \"Gold\"}", false},
    {"{\"key.name\": \"ci\", \"user\": \"u-17\"}", true},
    {"{\"key.name\": \"ci\", \"user\": \"u-18\"}", false},
    /* Operators. */
    {"{\"model\": {\"$eq\": \"gpt-4o\"}}", true},
    {"{\"model\": {\"$ne\": \"gpt-4o\"}}", false},
    {"{\"model\": {\"$ne\": \"o3\"}}", true},
    {"{\"model\": {\"$in\": [\"o3\", \"gpt-4o\"]}}", true},
    {"{\"model\": {\"$in\": [\"o3\"]}}", false},
    {"{\"model\": {\"$nin\": [\"o3\", \"gpt-4o\"]}}", false},
    {"{\"model\": {\"$nin\": [\"o3\"]}}", true},
    {"{\"model\": {\"$regex\": \"^gpt-[0-9]\"}}", true},
    {"{\"model\": {\"$regex\": \"4\"}}", true},
    {"{\"model\": {\"$regex\": \"^4\"}}", false},
    {"{\"model\": {\"$regex\": \"^(o3|gpt-4o)$\"}}", true},
    {"{\"metadata.city\": {\"$regex\": \"^M.+chen$\"}}", true},
    {"{\"input_tokens\": {\"$gt\": 4999}}", true},
    {"{\"input_tokens\": {\"$gt\": 5000}}", false},
    {"{\"input_tokens\": {\"$gte\": 5000, \"$lt\": 6000}}", true},
    {"{\"input_tokens\": {\"$gte\": 5000, \"$lt\": 5000}}", false},
    {"{\"input_tokens\": {\"$lte\": \"5000\"}}", true},
    {"{\"headers.x-score\": {\"$gt\": 7}}", true},
    {"{\"headers.x-score\": {\"$gt\": 10}}", false},
    {"{\"headers.x-tier\": {\"$gt\": 10}}", false},
    {"{\"metadata.level\": {\"$gt\": 9}}", true},
    {"{\"metadata.level\": {\"$gt\": \"9\"}}", false}, /* as text */
    {"{\"metadata.plan\": {\"$lt\": \"pros\"}}", true},
    {"{\"metadata.plan\": {\"$exists\": true}}", true},
    {"{\"metadata.plan\": {\"$exists\": false}}", false},
    /* Names in metadata. */
    {"{\"metadata.city\": \"M\xc3\xbcnchen\"}", true},
    {"{\"metadata.city\": {\"$in\": [\"M\\u00fcnchen\"]}}", true},
    {"{\"metadata.city\": {\"$lt\": \"N\"}}", true},
    {"{\"metadata.a.b\": \"in\"}", true},
    {"{\"metadata.a.c\": \"flat\"}", true},
    {"{\"metadata.a\": {\"$exists\": true}}", true},
    {"{\"metadata.a\": {\"$ne\": \"x\"}}", true},
    {"{\"metadata.list\": 1}", false},
    {"{\"metadata.list\": {\"$regex\": \"1\"}}", false},
    /* What is missing: absent, empty, null. */
    {"{\"metadata.none\": \"x\"}", false},
    {"{\"metadata.none\": {\"$gt\": 0}}", false},
    {"{\"metadata.none\": {\"$lt\": 0}}", false},
    {"{\"metadata.none\": {\"$gte\": 0}}", false},
    {"{\"metadata.none\": {\"$lte\": 0}}", false},
    {"{\"metadata.none\": {\"$in\": [\"\"]}}", false},
    {"{\"metadata.none\": {\"$regex\": \".*\"}}", false},
    {"{\"metadata.none\": {\"$exists\": true}}", false},
    {"{\"metadata.none\": {\"$exists\": false}}", true},
    {"{\"metadata.none\": {\"$ne\": \"x\"}}", true},
    {"{\"metadata.none\": {\"$nin\": [\"x\"]}}", true},
    {"{\"metadata.none.deeper\": {\"$exists\": false}}", true},
    {"{\"metadata.gone\": {\"$exists\": false}}", true},
    {"{\"headers.x-empty\": {\"$exists\": false}}", true},
    {"{\"key.team\": {\"$exists\": false}}", true},
    /* Groups. */
    {"{\"$and\": [{\"model\": \"gpt-4o\"}, {\"stream\": true}]}", true},
    {"{\"$and\": [{\"model\": \"gpt-4o\"}, {\"stream\": false}]}", false},
    {"{\"$or\": [{\"model\": \"o3\"}, {\"stream\": true}]}", true},
    {"{\"$or\": [{\"model\": \"o3\"}, {\"stream\": false}]}", false},
    {"{\"$not\": {\"model\": \"o3\"}}", true},
    {"{\"$not\": {\"metadata.none\": \"x\"}}", true},
    {"{\"model\": {\"$not\": {\"$regex\": \"^gpt\"}}}", false},
    {"{\"model\": {\"$not\": {\"$regex\": \"^o\", \"$ne\": \"x\"}}}", true},
    {"{\"user\": \"u-17\", \"$or\": [{\"$and\": [{\"stream\": true}, {\"$not\": {\"model\": "
     "\"x\"}}]}]}",
     true},
};

static void test_conditions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (holds(table[i].json) != table[i].holds)
            fail_msg("%s should%s hold", table[i].json, table[i].holds ? "" : " not");
    }
}

static void test_no_facts_at_all(void **state)
{
    (void)state;
    const struct route_facts none = {.input_tokens = -1};
    struct arena *arena = arena_new(4096);
    const struct condition *c = condition_parse(
        arena, STR("{\"headers.a\": {\"$exists\": false}, \"metadata.b\": {\"$exists\": false}, "
                   "\"input_tokens\": {\"$exists\": false}, \"model\": {\"$ne\": \"x\"}}"));
    assert_true(condition_holds(c, &none, arena));
    assert_true(condition_holds(NULL, &none, arena));
    arena_free(arena);
}

static const struct {
    const char *json;
    const char *says;
} refused[] = {
    {"", "expected an object"},
    {"[]", "expected an object"},
    {"{", "expected an object"},
    {"{\"model\": \"x\"} x", "expected an object"},
    {"{}", "says nothing"},
    {"{\"modell\": \"x\"}", "no field \"modell\"; expected one of model"},
    {"{\"headers.\": \"x\"}", "no field \"headers.\""},
    {"{\"model\": {}}", "no operator behind \"model\""},
    {"{\"model\": {\"$eqq\": 1}}", "no operator \"$eqq\""},
    {"{\"$nor\": [{\"model\": 1}]}", "there is no \"$nor\""},
    {"{\"model\": null}", "$exists"},
    {"{\"model\": [\"a\"]}", "use $in"},
    {"{\"model\": {\"$in\": \"a\"}}", "expected a list"},
    {"{\"model\": {\"$in\": []}}", "expected a list"},
    {"{\"model\": {\"$in\": [{}]}}", "expected text"},
    {"{\"model\": {\"$exists\": 1}}", "expected true or false"},
    {"{\"model\": {\"$regex\": 1}}", "expected a pattern"},
    {"{\"model\": {\"$regex\": \"\"}}", "1 to 512 bytes"},
    {"{\"model\": {\"$regex\": \"(\"}}", "not a POSIX extended regular expression"},
    {"{\"model\": {\"$regex\": \"(a)\\\\1\"}}", "back references"},
    {"{\"model\": {\"$not\": \"x\"}}", "expected operators"},
    {"{\"$and\": {}}", "expected a list of conditions"},
    {"{\"$or\": []}", "expected a list of conditions"},
    {"{\"$not\": 3}", "expected an object"},
};

static void test_what_is_no_condition(void **state)
{
    (void)state;
    struct arena *arena = arena_new(4096);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (condition_parse(arena, str_c(refused[i].json)) != NULL)
            fail_msg("%s is taken", refused[i].json);
        if (strstr(err_slot()->message, refused[i].says) == NULL)
            fail_msg("%s: %s", refused[i].json, err_slot()->message);
    }
    arena_free(arena);
}

/* Takes `levels` objects around one comparison. */
static const struct condition *parse_nested(struct arena *arena, unsigned levels)
{
    struct buf json = BUF_INIT;
    for (unsigned i = 0; i < levels; i++)
        BUF_LIT(&json, "{\"$not\":");
    BUF_LIT(&json, "{\"model\":\"gpt-4o\"}");
    for (unsigned i = 0; i < levels; i++)
        buf_add_char(&json, '}');
    const struct condition *c = condition_parse(arena, buf_str(&json));
    buf_fini(&json);
    return c;
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    struct arena *arena = arena_new(4096);
    const struct condition *c = parse_nested(arena, CONDITION_DEPTH_MAX - 1);
    assert_non_null(c);
    assert_false(condition_holds(c, &facts, arena)); /* an odd number of negations */
    assert_null(parse_nested(arena, CONDITION_DEPTH_MAX));
    assert_non_null(strstr(err_slot()->message, "16 deep"));
    arena_free(arena);
}

static void test_long_text_matches_no_pattern(void **state)
{
    (void)state;
    struct arena *arena = arena_new(4096);
    const struct condition *c = condition_parse(arena, STR("{\"user\": {\"$regex\": \"a\"}}"));
    char *text = mem_alloc(CONDITION_SUBJECT_MAX + 1);
    memset(text, 'a', CONDITION_SUBJECT_MAX + 1);
    struct route_facts long_user = {.user = str_n(text, CONDITION_SUBJECT_MAX)};
    assert_true(condition_holds(c, &long_user, arena));
    long_user.user.len++;
    assert_false(condition_holds(c, &long_user, arena));
    mem_free(text);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_no_facts_at_all),
        cmocka_unit_test(test_what_is_no_condition),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_long_text_matches_no_pattern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
