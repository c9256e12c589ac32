/* Which endpoint a path is, and in whose words it is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "gateway/operation.h"

struct found {
    const struct operation *operation;
    struct path_match match;
    enum dialect_id dialect;
    char allow[64];
};

static struct found find(enum http_method method, const char *path, const char *header)
{
    struct arena *arena = arena_new(1024);
    struct http_request http = {.method = method, .path = str_c(path)};
    struct found found = {0};
    struct str allow;
    if (header != NULL)
        http_headers_add(&http.headers, arena, str_c(header), STR("x"));
    found.operation = operation_find(&http, &found.match, &allow, &found.dialect, arena);
    snprintf(found.allow, sizeof(found.allow), "%.*s", STR_ARG(allow));
    arena_free(arena);
    return found;
}

static void test_every_sdks_path_is_known(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *name;
        enum dialect_id dialect;
        const char *model;
        enum operation_stream stream;
    } rows[] = {
        {"/v1/chat/completions", "chat", DIALECT_OPENAI_CHAT, "", STREAM_BY_BODY},
        {"/openai/v1/chat/completions", "chat", DIALECT_OPENAI_CHAT, "", STREAM_BY_BODY},
        {"/openai/deployments/gpt-4o/chat/completions", "chat", DIALECT_OPENAI_CHAT, "gpt-4o",
         STREAM_BY_BODY},
        {"/v1/responses", "chat", DIALECT_OPENAI_RESPONSES, "", STREAM_BY_BODY},
        {"/openai/responses", "chat", DIALECT_OPENAI_RESPONSES, "", STREAM_BY_BODY},
        {"/v1/messages", "chat", DIALECT_ANTHROPIC, "", STREAM_BY_BODY},
        {"/anthropic/v1/messages", "chat", DIALECT_ANTHROPIC, "", STREAM_BY_BODY},
        {"/v1/messages/count_tokens", "count_tokens", DIALECT_ANTHROPIC, "", STREAM_NEVER},
        {"/v1beta/models/gemini-2.5-pro:generateContent", "chat", DIALECT_GEMINI, "gemini-2.5-pro",
         STREAM_NEVER},
        {"/v1/models/openai/gpt-4o:streamGenerateContent", "chat", DIALECT_GEMINI, "openai/gpt-4o",
         STREAM_GEMINI},
        {"/genai/v1beta/models/g:countTokens", "count_tokens", DIALECT_GEMINI, "g", STREAM_NEVER},
        {"/v1/projects/p/locations/us-central1/publishers/google/models/g:generateContent", "chat",
         DIALECT_GEMINI, "g", STREAM_NEVER},
        {"/v1beta1/projects/p/locations/l/publishers/anthropic/models/claude@1:rawPredict", "chat",
         DIALECT_ANTHROPIC, "claude@1", STREAM_BY_BODY},
        {"/model/us.anthropic.claude-v1:0/converse", "chat", DIALECT_BEDROCK,
         "us.anthropic.claude-v1:0", STREAM_NEVER},
        {"/model/arn:aws:bedrock:us-east-1:1:inference-profile/us.x-v1:0/converse-stream", "chat",
         DIALECT_BEDROCK, "arn:aws:bedrock:us-east-1:1:inference-profile/us.x-v1:0", STREAM_ALWAYS},
        {"/model/arn%3Aaws%3Abedrock%2Fx/invoke", "chat", DIALECT_ANTHROPIC,
         "arn%3Aaws%3Abedrock%2Fx", STREAM_NEVER},
        {"/bedrock/model/m/invoke-with-response-stream", "chat", DIALECT_ANTHROPIC, "m",
         STREAM_ALWAYS},
        {"/v2/chat", "chat", DIALECT_COHERE, "", STREAM_BY_BODY},
        {"/cohere/v2/chat", "chat", DIALECT_COHERE, "", STREAM_BY_BODY},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct found found = find(METHOD_POST, rows[i].path, NULL);
        if (found.operation == NULL)
            print_message("%s\n", rows[i].path);
        assert_non_null(found.operation);
        assert_string_equal(found.operation->name, rows[i].name);
        assert_int_equal(found.operation->dialect, rows[i].dialect);
        assert_int_equal(found.operation->stream, rows[i].stream);
        assert_true(str_eq(found.match.model, str_c(rows[i].model)));
    }
}

static void test_a_refusal_is_in_the_words_of_who_asked(void **state)
{
    (void)state;
    assert_int_equal(find(METHOD_POST, "/v1beta/models/x:nothing", NULL).dialect, DIALECT_GEMINI);
    assert_int_equal(find(METHOD_POST, "/model/x/nothing", NULL).dialect, DIALECT_BEDROCK);
    assert_int_equal(find(METHOD_POST, "/v2/nothing", NULL).dialect, DIALECT_COHERE);
    assert_int_equal(find(METHOD_POST, "/v1/nothing", NULL).dialect, DIALECT_OPENAI_CHAT);
    assert_int_equal(find(METHOD_POST, "/v1/nothing", "anthropic-version").dialect,
                     DIALECT_ANTHROPIC);
    /* Invoke has Anthropic's bodies and AWS's errors. */
    assert_int_equal(find(METHOD_POST, "/model/x/invoke", NULL).dialect, DIALECT_BEDROCK);
}

static void test_model_lists_are_in_the_form_of_who_asked(void **state)
{
    (void)state;
    assert_int_equal(find(METHOD_GET, "/v1/models", NULL).dialect, DIALECT_OPENAI_CHAT);
    assert_int_equal(find(METHOD_GET, "/v1/models", "anthropic-version").dialect,
                     DIALECT_ANTHROPIC);
    assert_int_equal(find(METHOD_GET, "/anthropic/v1/models", NULL).dialect, DIALECT_ANTHROPIC);
    assert_int_equal(find(METHOD_GET, "/v1beta/models", NULL).dialect, DIALECT_GEMINI);
    assert_int_equal(find(METHOD_GET, "/v1/models", "x-goog-api-key").dialect, DIALECT_GEMINI);
}

static void test_a_wrong_method_is_told_the_right_ones(void **state)
{
    (void)state;
    struct found found = find(METHOD_PUT, "/v1/responses/resp_1", NULL);
    assert_null(found.operation);
    assert_string_equal(found.allow, "GET, HEAD, DELETE");
    assert_string_equal(find(METHOD_GET, "/v1/messages", NULL).allow, "POST");
    assert_string_equal(find(METHOD_GET, "/nothing", NULL).allow, "");
}

static void test_an_empty_model_is_none(void **state)
{
    (void)state;
    assert_null(find(METHOD_POST, "/v1beta/models/:generateContent", NULL).operation);
    assert_null(find(METHOD_POST, "/model//converse", NULL).operation);
    assert_null(find(METHOD_GET, "/v1/models/", NULL).operation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_sdks_path_is_known),
        cmocka_unit_test(test_a_refusal_is_in_the_words_of_who_asked),
        cmocka_unit_test(test_model_lists_are_in_the_form_of_who_asked),
        cmocka_unit_test(test_a_wrong_method_is_told_the_right_ones),
        cmocka_unit_test(test_an_empty_model_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
