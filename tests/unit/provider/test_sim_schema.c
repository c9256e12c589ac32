#include "provider/sim_answer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <yyjson.h>

static struct buf out = BUF_INIT;

static struct str instance(struct str schema)
{
    buf_clear(&out);
    sim_schema_instance(&out, schema);
    assert_true(buf_ok(&out));
    yyjson_doc *doc = yyjson_read(out.ptr, out.len, 0);
    if (doc == NULL)
        fail_msg("%.*s gave %.*s", STR_ARG(str_head(schema, 200)),
                 STR_ARG(str_head(buf_str(&out), 200)));
    yyjson_doc_free(doc);
    return buf_str(&out);
}

static void an_instance_fits_its_schema(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *instance;
    } cases[] = {
        {"{}", "{}"},
        {"{\"type\":\"object\"}", "{}"},
        {"{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"},"
         "\"days\":{\"type\":\"integer\",\"minimum\":3},\"note\":{\"type\":\"string\"}},"
         "\"required\":[\"city\",\"days\"]}",
         "{\"city\": \"Paris\", \"days\": 3}"},
        {"{\"properties\":{\"a\":{\"type\":\"boolean\"},\"b\":{\"type\":\"number\"}}}",
         "{\"a\": true, \"b\": 1.5}"},
        {"{\"type\":\"object\",\"properties\":{\"unit\":{\"enum\":[\"c\",\"f\"]},"
         "\"k\":{\"const\":{\"x\":[1]}},\"d\":{\"type\":\"integer\",\"default\":7}}}",
         "{\"unit\": \"c\", \"k\": {\"x\":[1]}, \"d\": 7}"},
        {"{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"minItems\":2}",
         "[\"example\", \"example\"]"},
        {"{\"type\":[\"null\",\"integer\"]}", "1"},
        {"{\"type\":\"integer\",\"exclusiveMinimum\":5}", "6"},
        {"{\"type\":\"integer\",\"maximum\":-2}", "-2"},
        {"{\"type\":\"number\",\"minimum\":0.25}", "0.25"},
        {"{\"type\":\"string\",\"minLength\":9}", "\"examplexx\""},
        {"{\"type\":\"string\",\"maxLength\":3}", "\"exa\""},
        {"{\"type\":\"string\",\"format\":\"date-time\"}", "\"2026-01-01T12:00:00Z\""},
        {"{\"anyOf\":[{\"type\":\"boolean\"},{\"type\":\"null\"}]}", "true"},
        {"{\"$defs\":{\"P\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"integer\"}}}},"
         "\"type\":\"object\",\"properties\":{\"p\":{\"$ref\":\"#/$defs/P\"}}}",
         "{\"p\": {\"x\": 1}}"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/nowhere\"}}}", "{\"a\": null}"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"https://example.com/x\"}}}",
         "{\"a\": null}"},
        {"{\"type\":\"object\",\"properties\":{\"a \\\"b\\\"\":{\"type\":\"boolean\"}}}",
         "{\"a \\\"b\\\"\": true}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str got = instance(str_c(cases[i].schema));
        if (!str_eq(got, str_c(cases[i].instance)))
            fail_msg("%s gave %.*s", cases[i].schema, STR_ARG(got));
    }
    buf_fini(&out);
}

static void a_hostile_schema_is_cut_short(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"$ref\":\"#\"}",
        "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}}}",
        "{\"properties\":{\"a\":{\"$ref\":\"#\"},\"b\":{\"$ref\":\"#\"},\"c\":{\"$ref\":\"#\"}}}",
        "{\"type\":\"array\",\"minItems\":99999999999,\"items\":{\"$ref\":\"#\"}}",
        "{\"type\":\"string\",\"minLength\":99999999999}",
        "{\"type\":\"string\",\"maxLength\":-5}",
        "{\"type\":\"integer\",\"exclusiveMinimum\":9223372036854775807}",
        "{\"anyOf\":[{\"$ref\":\"#\"}]}",
        "{\"type\":\"nonsense\"}",
        "{\"type\":\"object\",\"properties\":[]}",
        "{\"enum\":[]}",
        "[]",
        "true",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(instance(str_c(bad[i])).len <= 128 * 1024);

    /* Deep and wide. */
    struct buf schema = BUF_INIT;
    for (unsigned i = 0; i < 100; i++)
        BUF_LIT(&schema, "{\"type\":\"array\",\"items\":");
    BUF_LIT(&schema, "{}");
    for (unsigned i = 0; i < 100; i++)
        buf_add_char(&schema, '}');
    instance(buf_str(&schema));
    buf_clear(&schema);
    BUF_LIT(&schema, "{\"type\":\"object\",\"properties\":{\"a0\":{}");
    for (unsigned i = 1; i < 20000; i++)
        buf_printf(&schema, ",\"a%u\":{}", i);
    BUF_LIT(&schema, "}}");
    assert_true(instance(buf_str(&schema)).len < 64 * 1024);
    buf_fini(&schema);
    buf_fini(&out);
}

static void tokens_make_up_the_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned tokens;
    } cases[] = {
        {"", 0},
        {"one", 1},
        {"one two  three\n", 4},
        {" ", 1},
        {"abcdefghijklmnopqrstuvwxyz", 2},
        {"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe3\x81\xae\xe6\x96\x87\xe7\xab\xa0\xe3\x81\xa7", 2},
        {"                                        x", 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str rest = str_c(cases[i].text), token;
        assert_int_equal(sim_count_tokens(rest), cases[i].tokens);
        size_t at = 0;
        while (sim_next_token(&rest, &token)) {
            assert_ptr_equal(token.ptr, cases[i].text + at);
            assert_true(((unsigned char)token.ptr[0] & 0xc0) != 0x80);
            at += token.len;
        }
        assert_int_equal(at, strlen(cases[i].text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_instance_fits_its_schema),
        cmocka_unit_test(a_hostile_schema_is_cut_short),
        cmocka_unit_test(tokens_make_up_the_text),
    };
    return cmocka_run_group_tests_name("provider/sim_schema", tests, NULL, NULL);
}
