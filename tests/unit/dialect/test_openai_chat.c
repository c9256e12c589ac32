/* What is read from requests, answers and events of the OpenAI chat dialect, and what is spliced.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/err.h"
#include "dialect/openai_chat/request.h"
#include "dialect/openai_chat/response.h"
#include "dialect/openai_chat/stream.h"

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

static void assert_str(struct str got, const char *want)
{
    if (!str_eq(got, str_c(want)))
        fail_msg("got '%.*s', want '%s'", STR_ARG(got), want);
}

static struct openai_request scan(const char *body)
{
    struct openai_request request;
    assert_int_equal(openai_request_scan(str_c(body), 128, arena, &request), 0);
    return request;
}

static void expect_refusal(const char *body, const char *param, const char *words)
{
    struct openai_request request;
    assert_int_equal(openai_request_scan(str_c(body), 128, arena, &request), -ERR_INVALID);
    assert_str(request.bad_param, param);
    if (str_find(str_c(err_slot()->message), str_c(words)) < 0)
        fail_msg("message '%s' lacks '%s'", err_slot()->message, words);
}

static void test_a_request_tells_model_and_stream(void **state)
{
    (void)state;
    struct openai_request r = scan("{\"messages\":[{\"model\":\"no\"}],\"stream\":true,"
                                   "\"model\":\"gpt\\u002d4o\"}");
    assert_str(r.model, "gpt-4o");
    assert_true(r.is_stream);
    assert_false(r.includes_usage);
    r = scan("{\"model\":\"m\",\"stream\":null,\"stream_options\":{\"include_usage\":true}}");
    assert_false(r.is_stream);
    assert_true(r.includes_usage);
}

static void test_a_bad_request_names_the_field(void **state)
{
    (void)state;
    expect_refusal("{\"messages\":[]}", "model", "missing");
    expect_refusal("{\"model\":7}", "model", "must be a string");
    expect_refusal("{\"model\":\"\"}", "model", "empty");
    expect_refusal("{\"model\":\"a\",\"model\":\"b\"}", "model", "more than once");
    expect_refusal("{\"model\":\"a\",\"stream\":\"yes\"}", "stream", "boolean");
    expect_refusal("[1]", "", "");
    expect_refusal("{\"model\":\"a\"", "", "");
}

static struct str apply(const char *body, struct json_edit *edits, unsigned count)
{
    struct iovec iov[9];
    struct str parts[9];
    int n = json_splice_iov(str_c(body), edits, count, iov, ARRAY_LEN(iov));
    assert_true(n > 0);
    for (int i = 0; i < n; i++)
        parts[i] = str_n(iov[i].iov_base, iov[i].iov_len);
    return arena_concat(arena, parts, (size_t)n);
}

static void expect_edited(const char *body, const char *want)
{
    struct openai_request r = scan(body);
    struct json_edit edits[2];
    edits[0] = openai_edit_model(&r, arena, STR("x\"y"));
    unsigned count = openai_edit_include_usage(&r, arena, str_c(body), &edits[1]) ? 2 : 1;
    assert_str(apply(body, edits, count), want);
}

static void test_edits_change_their_spans_alone(void **state)
{
    (void)state;
    expect_edited("{ \"model\" : \"m\", \"n\":1e2 }",
                  "{\"stream_options\":{\"include_usage\":true}, \"model\" : \"x\\\"y\", "
                  "\"n\":1e2 }");
    expect_edited("{\"model\":\"m\",\"stream_options\":null}",
                  "{\"model\":\"x\\\"y\",\"stream_options\":{\"include_usage\":true}}");
    expect_edited("{\"stream_options\":{ },\"model\":\"m\"}",
                  "{\"stream_options\":{\"include_usage\":true },\"model\":\"x\\\"y\"}");
    expect_edited("{\"stream_options\":{\"include_usage\":false},\"model\":\"m\"}",
                  "{\"stream_options\":{\"include_usage\":true},\"model\":\"x\\\"y\"}");
    expect_edited("{\"stream_options\":{\"include_obfuscation\":false},\"model\":\"m\"}",
                  "{\"stream_options\":{\"include_usage\":true,\"include_obfuscation\":false},"
                  "\"model\":\"x\\\"y\"}");
    expect_edited("{\"stream_options\":\"all\",\"model\":\"m\"}",
                  "{\"stream_options\":\"all\",\"model\":\"x\\\"y\"}");
}

static void test_usage_is_read_in_all_its_shapes(void **state)
{
    (void)state;
    struct token_usage u = TOKEN_USAGE_NONE;
    openai_usage_read(STR("{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15,"
                          "\"prompt_tokens_details\":{\"cached_tokens\":4,\"audio_tokens\":1},"
                          "\"completion_tokens_details\":{\"reasoning_tokens\":3}}"),
                      &u);
    assert_int_equal(u.input, 10);
    assert_int_equal(u.output, 5);
    assert_int_equal(u.cache_read, 4);
    assert_int_equal(u.audio_input, 1);
    assert_int_equal(u.reasoning, 3);
    assert_int_equal(u.cache_write_5m, -1);
    assert_true(u.input_includes_cached);
    u = TOKEN_USAGE_NONE;
    openai_usage_read(STR("{\"prompt_tokens\":9,\"prompt_cache_hit_tokens\":8,"
                          "\"completion_tokens\":-3,\"prompt_tokens_details\":null}"),
                      &u);
    assert_int_equal(u.cache_read, 8);
    assert_int_equal(u.output, -1);
}

static struct openai_chunk chunk_of(const char *type, const char *data)
{
    struct openai_chunk chunk;
    assert_int_equal(openai_chunk_read(str_c(type), str_c(data), &chunk), 0);
    return chunk;
}

static void test_chunks_tell_content_finish_and_usage(void **state)
{
    (void)state;
    struct openai_chunk c =
        chunk_of("", "{\"model\":\"m\",\"choices\":[{\"index\":2,\"delta\":{\"role\":\"assistant\","
                     "\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}");
    assert_false(c.has_content);
    assert_false(c.has_usage);
    assert_int_equal(c.choices_seen, 4);
    assert_int_equal(c.choices_finished, 0);
    assert_str(c.model, "m");
    c = chunk_of("", "{\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}");
    assert_true(c.has_content);
    c = chunk_of("", "{\"choices\":[{\"index\":0,\"text\":\"t\",\"finish_reason\":\"stop\"}]}");
    assert_true(c.has_content);
    assert_int_equal(c.choices_finished, 1);
    assert_str(c.finish_reason, "stop");
    c = chunk_of("", "{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}");
    assert_true(c.has_empty_choices);
    assert_true(c.has_usage);
    assert_int_equal(c.usage.output, 2);
    c = chunk_of("", "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],"
                     "\"x_groq\":{\"usage\":{\"prompt_tokens\":7}}}");
    assert_true(c.has_usage);
    assert_int_equal(c.usage.input, 7);
    assert_true(chunk_of("", "[DONE]").is_done);
}

static bool is_plain(const char *data)
{
    /* As far as the end of its memory goes, so that a sanitizer sees a read beyond it. */
    size_t len = strlen(data);
    char *copy = malloc(len);
    memcpy(copy, data, len);
    bool result = openai_chunk_is_plain(STR(""), str_n(copy, len));
    free(copy);
    return result;
}

static void test_only_plain_content_is_passed_unread(void **state)
{
    (void)state;
    assert_true(is_plain("{\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"usage\":null,"
                         "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},"
                         "\"finish_reason\":null}]}"));
    assert_true(is_plain("{\"choices\":[{\"index\": 0, \"delta\":{\"content\":\"say "
                         "\\\"usage\\\": 1\"}}]}"));
    assert_false(is_plain("{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"hi\"}}]}"));
    assert_false(is_plain("{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}"));
    assert_false(is_plain("{\"choices\":[{\"delta\":{},\"finish_reason\" : \"stop\"}]}"));
    assert_false(is_plain("{\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":1}}"));
    assert_false(is_plain("{\"delta\":1,\"error\":{\"message\":\"m\"}}"));
    assert_false(is_plain("{\"delta\":1,\"x_groq\":{}}"));
    assert_false(is_plain("{\"choices\":[]}"));
    assert_false(is_plain("[DONE]"));
    assert_false(is_plain("{\"delta\":"));
    assert_false(openai_chunk_is_plain(STR("error"), STR("{\"delta\":1}")));
}

static void test_errors_are_known_in_all_their_shapes(void **state)
{
    (void)state;
    struct openai_error e;
    assert_true(openai_error_read(STR("{\"error\":{\"message\":\"slow\",\"code\":429}}"), &e));
    assert_int_equal(e.status, 429);
    assert_str(e.message, "slow");
    assert_true(openai_error_read(STR("{\"error\":{\"code\":\"503\"}}"), &e));
    assert_int_equal(e.status, 503);
    assert_true(openai_error_read(STR("{\"error\":{\"type\":\"insufficient_quota\"}}"), &e));
    assert_int_equal(e.status, 429);
    assert_true(openai_error_read(STR("{\"code\":\"x\",\"error\":\"Incorrect API key\"}"), &e));
    assert_str(e.message, "Incorrect API key");
    assert_true(openai_error_read(
        STR("{\"object\":\"error\",\"message\":\"bad\",\"type\":\"invalid_request_error\"}"), &e));
    assert_str(e.message, "bad");
    assert_int_equal(e.status, 400);
    assert_true(openai_error_read(STR("{\"error\":{\"message\":\"m\",\"status_code\":400}}"), &e));
    assert_int_equal(e.status, 400);
    assert_false(openai_error_read(STR("{\"error\":null,\"choices\":[]}"), &e));
    assert_false(openai_error_read(STR("{\"choices\":[]}"), &e));
    struct openai_chunk c =
        chunk_of("", "{\"choices\":[],\"error\":{\"message\":\"m\",\"code\":502}}");
    assert_true(c.is_error);
    assert_int_equal(c.error.status, 502);
    c = chunk_of("error", "{\"error\":{\"message\":\"m\",\"status_code\":413}}");
    assert_true(c.is_error);
    assert_int_equal(c.error.status, 413);
}

static void test_an_answer_is_read_whole(void **state)
{
    (void)state;
    struct openai_answer a;
    assert_int_equal(
        openai_answer_read(STR("{\"model\":\"m-1\",\"choices\":[{\"finish_reason\":\"length\"}],"
                               "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}"),
                           &a),
        0);
    assert_false(a.is_error);
    assert_str(a.finish_reason, "length");
    assert_str(a.model, "m-1");
    assert_int_equal(a.usage.output, 4);
    assert_int_equal(openai_answer_read(STR("{\"error\":{\"code\":429}}"), &a), 0);
    assert_true(a.is_error);
    assert_true(openai_answer_read(STR("<html>"), &a) < 0);
}

static void test_an_error_is_written_in_openais_shape(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    openai_error_write(&out, STR("server_error"), STR_EMPTY, STR("c"), STR("a \"b\"\n\xff"));
    assert_str(buf_str(&out), "{\"error\":{\"message\":\"a \\\"b\\\"\\n\xef\xbf\xbd\",\"type\":"
                              "\"server_error\",\"param\":null,\"code\":\"c\"}}");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_tells_model_and_stream),
        cmocka_unit_test(test_a_bad_request_names_the_field),
        cmocka_unit_test(test_edits_change_their_spans_alone),
        cmocka_unit_test(test_usage_is_read_in_all_its_shapes),
        cmocka_unit_test(test_chunks_tell_content_finish_and_usage),
        cmocka_unit_test(test_only_plain_content_is_passed_unread),
        cmocka_unit_test(test_errors_are_known_in_all_their_shapes),
        cmocka_unit_test(test_an_answer_is_read_whole),
        cmocka_unit_test(test_an_error_is_written_in_openais_shape),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
