/* Requests for chat completions: what comes back as it was, what is refused, and what is written
 * for clients of other dialects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "dialect/dialect.h"
#include "support/json_equal.h"

static const struct dialect *const dialect = &openai_chat_dialect;
static struct arena *arena;
static struct buf out, dropped, supplied;

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
    buf_fini(&out);
    buf_fini(&dropped);
    buf_fini(&supplied);
    return 0;
}

static struct llm_request read_body(const char *body)
{
    struct llm_request request;
    if (dialect->read_request(str_c(body), arena, &request) != 0)
        fail_msg("%s: %s", body, err_slot()->message);
    return request;
}

static void write_to(struct llm_request *request, const struct llm_target *target)
{
    struct llm_notes notes = {&dropped, &supplied};
    buf_clear(&out);
    buf_clear(&dropped);
    buf_clear(&supplied);
    assert_int_equal(dialect->write_request(request, target, arena, &notes, &out), 0);
}

static const struct llm_traits no_traits;
static const struct llm_quirks no_quirks;

static struct llm_target plain_target(void)
{
    return (struct llm_target){.model = STR("m"), .quirks = &no_quirks, .traits = &no_traits};
}

static void expect_body(const char *want)
{
    char where[1024];
    if (!json_equal(str_c(want), buf_str(&out), where, sizeof(where)))
        fail_msg("%s\ngot %.*s", where, STR_ARG(buf_str(&out)));
}

static void expect_dropped(const char *want)
{
    if (!str_eq(buf_str(&dropped), str_c(want)))
        fail_msg("dropped '%.*s', not '%s'", STR_ARG(buf_str(&dropped)), want);
}

#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define MESSAGES(list) "{\"model\":\"m\",\"messages\":[" list "]}"

static void requests_come_back_as_they_were(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"model\":\"m\"," USER ",\"temperature\":0.5,\"top_p\":1.0,\"top_k\":3,\"seed\":7,"
        "\"n\":2,\"logprobs\":true,\"top_logprobs\":2,\"logit_bias\":{\"5\":-100},"
        "\"frequency_penalty\":0,\"presence_penalty\":1e-1,\"max_tokens\":9}",
        "{\"model\":\"m\"," USER ",\"max_completion_tokens\":9,\"stop\":\"a\\nb\",\"user\":\"u\","
        "\"metadata\":{\"a\":\"b\"},\"service_tier\":\"flex\",\"store\":true,"
        "\"verbosity\":\"low\",\"prediction\":{\"type\":\"content\",\"content\":\"x\"},"
        "\"web_search_options\":{},\"modalities\":[\"text\",\"audio\"],"
        "\"audio\":{\"voice\":\"alloy\",\"format\":\"wav\"},\"prompt_cache_key\":\"k\"}",
        "{\"model\":\"m\"," USER ",\"stop\":[\"a\",\"b\"],\"reasoning_effort\":\"xhigh\"}",
        "{\"model\":\"m\"," USER ",\"reasoning\":{\"max_tokens\":2000,\"exclude\":true}}",
        "{\"model\":\"m\"," USER ",\"thinking\":{\"type\":\"disabled\",\"clear_thinking\":true}}",
        "{\"model\":\"m\"," USER ",\"response_format\":{\"type\":\"json_object\"}}",
        "{\"model\":\"m\"," USER ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{"
        "\"name\":\"n\",\"description\":\"d\",\"schema\":{\"type\":\"object\"},\"strict\":true}}}",
        "{\"model\":\"m\"," USER ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"description\":\"d\",\"parameters\":{\"type\":\"object\"},\"strict\":false}},"
        "{\"type\":\"custom\",\"custom\":{\"name\":\"c\",\"format\":{\"type\":\"text\"}}},"
        "{\"type\":\"web_search\"}],\"tool_choice\":{\"type\":\"custom\",\"custom\":{\"name\":"
        "\"c\"}},\"parallel_tool_calls\":false}",
        "{\"model\":\"m\"," USER ",\"functions\":[{\"name\":\"f\",\"parameters\":{}}],"
        "\"function_call\":{\"name\":\"f\"}}",
        "{\"model\":\"m\"," USER ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
        "\"f\"}}],\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":"
        "\"required\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}}}",
        MESSAGES(
            "{\"role\":\"developer\",\"content\":\"d\"},{\"role\":\"user\",\"name\":\"bob\","
            "\"content\":[{\"type\":\"text\",\"text\":\"a\\u00e9\"},{\"type\":\"image_url\","
            "\"image_url\":{\"url\":\"data:image/png;base64,AAAA\",\"detail\":\"low\"}},"
            "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AA==\",\"format\":\"mp3\"}},"
            "{\"type\":\"file\",\"file\":{\"file_id\":\"file-1\"}},{\"type\":\"file\",\"file\":"
            "{\"filename\":\"a.pdf\",\"file_data\":\"data:application/pdf;base64,AAAA\"}},"
            "{\"type\":\"video_url\",\"video_url\":{\"url\":\"https://a/b.mp4\"}},"
            "{\"type\":\"text\",\"text\":\"c\",\"cache_control\":{\"type\":\"ephemeral\"}}]}"),
        MESSAGES("{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":null,"
                 "\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":"
                 "\"f\",\"arguments\":\"{\\\"a\\\": 1}\"}},{\"id\":\"c2\",\"type\":\"custom\","
                 "\"custom\":{\"name\":\"g\",\"input\":\"free\"}}]},{\"role\":\"tool\","
                 "\"tool_call_id\":\"c1\",\"content\":\"1\"},{\"role\":\"tool\",\"tool_call_id\":"
                 "\"c2\",\"content\":[{\"type\":\"text\",\"text\":\"2\"}]}"),
        MESSAGES("{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":null,"
                 "\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"role\":\"function\","
                 "\"name\":\"f\",\"content\":\"1\"}"),
        MESSAGES(
            "{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"refusal\":\"no\","
            "\"content\":null},{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\","
            "\"refusal\":\"no\"}]},{\"role\":\"assistant\",\"content\":\"x\",\"prefix\":true}"),
        MESSAGES("{\"role\":\"user\",\"content\":\"a\",\"cache_control\":{\"type\":\"ephemeral\"}},"
                 "{\"role\":\"assistant\",\"content\":\"b\",\"reasoning\":\"t\","
                 "\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"t\",\"signature\":"
                 "\"sig\",\"format\":\"anthropic-claude-v1\",\"index\":0},{\"type\":"
                 "\"reasoning.encrypted\",\"data\":\"enc\",\"id\":\"rs_1\",\"format\":"
                 "\"openai-responses-v1\",\"index\":1}]},{\"role\":\"assistant\",\"content\":"
                 "\"c\",\"reasoning_content\":\"why\"}"),
    };
    struct llm_target target = plain_target();
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct llm_request request = read_body(bodies[i]);
        write_to(&request, &target);
        expect_body(bodies[i]);
        expect_dropped("");
    }
}

static void wrong_types_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *body, *words;
    } cases[] = {
        {"{\"model\":\"m\"}", "'messages' is missing"},
        {"{\"messages\":[]}", "'messages' must hold at least one message"},
        {"{\"messages\":{}}", "'messages' must be an array"},
        {MESSAGES("7"), "'messages[0]' must be an object"},
        {MESSAGES("{\"role\":\"king\",\"content\":\"\"}"), "'messages[0].role' must be one of"},
        {MESSAGES("{\"role\":\"user\",\"content\":7}"),
         "'messages[0].content' must be a string or"},
        {MESSAGES("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":1}]}"),
         "'messages[0].content[0].text' must be a string"},
        {MESSAGES("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}"),
         "'messages[0].content[0].image_url.url' is missing"},
        {MESSAGES("{\"role\":\"tool\",\"content\":\"\"}"), "'messages[0].tool_call_id' must be"},
        {MESSAGES("{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\"}]}"),
         "'messages[0].tool_calls[0].function' must be an object"},
        {"{" USER ",\"temperature\":\"hot\"}", "'temperature' must be a number"},
        {"{" USER ",\"stop\":7}", "'stop' must be a string or an array"},
        {"{" USER ",\"tools\":[{\"type\":\"function\"}]}", "'tools[0].function' is missing"},
        {"{" USER ",\"tool_choice\":\"maybe\"}", "'tool_choice' must be auto, none, required or"},
        {"{" USER ",\"parallel_tool_calls\":1}", "'parallel_tool_calls' must be a boolean"},
        {"{" USER ",\"response_format\":\"json\"}", "'response_format' must be an object"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct llm_request request;
        assert_int_equal(dialect->read_request(str_c(cases[i].body), arena, &request),
                         -ERR_INVALID);
        if (strstr(err_slot()->message, cases[i].words) != err_slot()->message)
            fail_msg("%s: %s", cases[i].body, err_slot()->message);
    }
}

/* A client that sends null for what it does not set has not set it. */
static void l_12_null_is_left_out(void **state)
{
    (void)state;
    struct llm_target target = plain_target();
    struct llm_request request =
        read_body("{\"model\":\"m\"," USER ",\"temperature\":null,\"stop\":null,\"tools\":null,"
                  "\"response_format\":null,\"stream_options\":null,\"encoding_format\":null}");
    write_to(&request, &target);
    expect_body("{\"model\":\"m\"," USER "}");
    assert_true(str_find(buf_str(&out), STR("null")) < 0);
}

static void images_and_files_are_taken_apart(void **state)
{
    (void)state;
    struct llm_request request = read_body(MESSAGES(
        "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
        "\"data:image/webp;base64,QUJD\"}},{\"type\":\"image_url\",\"image_url\":\"https://a/b\"},"
        "{\"type\":\"file\",\"file\":{\"file_data\":\"data:application/pdf;base64,QUJD\","
        "\"filename\":\"x.pdf\"}}]}"));
    const struct llm_block *b = request.messages->blocks;
    assert_true(text_eq(b->media.type, STR("image/webp")));
    assert_true(text_eq(b->media.data, STR("QUJD")));
    assert_true(text_eq(b->next->media.url, STR("https://a/b")));
    assert_true(text_eq(b->next->next->media.type, STR("application/pdf")));
    assert_true(text_eq(b->next->next->media.name, STR("x.pdf")));
}

/* The same, as if a client of another dialect had said it. */
static struct llm_request foreign(const char *body)
{
    struct llm_request request = read_body(body);
    request.source = DIALECT_ANTHROPIC;
    for (struct llm_extra *e = request.extras; e != NULL; e = e->next)
        e->is_taken = true;
    return request;
}

static void quirks_of_providers_are_kept(void **state)
{
    (void)state;
    const struct llm_quirks quirks = {.max_tokens_field = STR_INIT("max_completion_tokens"),
                                      .reasoning_field = STR_INIT("reasoning"),
                                      .has_no_developer_role = true};
    struct llm_target target = plain_target();
    target.quirks = &quirks;
    target.is_stream = target.wants_usage = true;
    struct llm_request request = foreign(
        "{\"model\":\"x\",\"top_k\":4,\"max_tokens\":5,\"messages\":[{\"role\":\"developer\","
        "\"content\":\"d\"},{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
        "\"reasoning_content\":\"why\",\"content\":\"b\"}]}");
    write_to(&request, &target);
    expect_body("{\"model\":\"m\",\"max_completion_tokens\":5,\"stream\":true,\"stream_options\":"
                "{\"include_usage\":true},\"messages\":[{\"role\":\"system\",\"content\":\"d\"},"
                "{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"reasoning\":"
                "\"why\",\"content\":\"b\"}]}");
    expect_dropped("top_k");
}

static void short_ids_are_the_same_for_call_and_result(void **state)
{
    (void)state;
    const struct llm_quirks quirks = {.has_short_tool_ids = true};
    struct llm_target target = plain_target();
    struct json_value call, result;
    target.quirks = &quirks;
    struct llm_request request = foreign(
        MESSAGES("{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"tool_calls\":[{"
                 "\"id\":\"toolu_01ABCDEFGHIJK\",\"function\":{\"name\":\"f\",\"arguments\":"
                 "\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"toolu_01ABCDEFGHIJK\","
                 "\"content\":\"1\"}"));
    write_to(&request, &target);
    assert_true(json_find(buf_str(&out), "messages[1].tool_calls[0].id", &call));
    assert_true(json_find(buf_str(&out), "messages[2].tool_call_id", &result));
    assert_true(str_eq(call.text, result.text));
    assert_int_equal(call.text.len, 11);
}

/* What a tool gave besides text goes to the user's side, after all of the turn's results. */
static void pictures_of_tools_follow_the_results(void **state)
{
    (void)state;
    struct llm_target target = plain_target();
    struct llm_request request = foreign(
        MESSAGES("{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"tool_calls\":[{"
                 "\"id\":\"1\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"2\","
                 "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]},{\"role\":\"tool\","
                 "\"tool_call_id\":\"1\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
                 "\"url\":\"https://a/b\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"2\","
                 "\"content\":\"2\"}"));
    write_to(&request, &target);
    expect_body(MESSAGES(
        "{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":null,"
        "\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"{}\"}},{\"id\":\"2\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"\"},"
        "{\"role\":\"tool\",\"tool_call_id\":\"2\",\"content\":\"2\"},{\"role\":\"user\","
        "\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://a/b\"}}]}"));
}

static void b_09_tool_choice(void **state)
{
    (void)state;
    static const struct {
        enum llm_tool_choice choice;
        enum tri parallel;
        bool is_among;
        const char *members;
    } cases[] = {
        {TOOL_CHOICE_AUTO, TRI_UNSET, false, "\"tool_choice\":\"auto\""},
        {TOOL_CHOICE_NONE, TRI_UNSET, false, "\"tool_choice\":\"none\""},
        {TOOL_CHOICE_REQUIRED, TRI_NO, false,
         "\"tool_choice\":\"required\",\"parallel_tool_calls\":false"},
        {TOOL_CHOICE_NAMED, TRI_YES, false,
         "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
         "\"parallel_tool_calls\":true"},
        {TOOL_CHOICE_REQUIRED, TRI_UNSET, true,
         "\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"required\","
         "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}}"},
        {TOOL_CHOICE_UNSET, TRI_NO, false, "\"parallel_tool_calls\":false"},
    };
    static const char tools[] =
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}]";
    struct llm_target target = plain_target();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char body[1024];
        snprintf(body, sizeof(body), "{\"model\":\"m\"," USER ",%s}", tools);
        struct llm_request request = foreign(body);
        request.tool_choice = cases[i].choice;
        request.parallel_tools = cases[i].parallel;
        if (cases[i].choice == TOOL_CHOICE_NAMED)
            request.tool_choice_name = TEXT_LIT("f");
        if (cases[i].is_among)
            assert_true(llm_name_add(arena, &request.allowed_tools, TEXT_LIT("f")));
        write_to(&request, &target);
        snprintf(body, sizeof(body), "{\"model\":\"m\"," USER ",%s,%s}", tools, cases[i].members);
        expect_body(body);
    }
}

static void the_same_dialect_is_only_spliced(void **state)
{
    (void)state;
    struct llm_scan scan;
    struct llm_fit fit;
    struct llm_target target = plain_target();
    struct str body = STR("{\"model\":\"a\",\"stream\":true,\"x\":1}");
    struct iovec parts[8];
    target.model = STR("b");
    assert_int_equal(dialect->scan(body, 16, arena, &scan), 0);
    assert_true(scan.is_stream && !scan.includes_usage);
    dialect->fit(&scan, body, &target, true, arena, &fit);
    assert_true(fit.strips_usage && !fit.no_memory);
    int n = json_splice_iov(body, fit.edits, fit.count, parts, ARRAY_LEN(parts));
    for (int i = 0; i < n; i++)
        buf_add(&out, parts[i].iov_base, parts[i].iov_len);
    expect_body("{\"model\":\"b\",\"stream\":true,\"x\":1,\"stream_options\":{\"include_usage\":"
                "true}}");
    target.model = STR("a");
    dialect->fit(&scan, body, &target, false, arena, &fit);
    assert_int_equal(fit.count, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(requests_come_back_as_they_were),
        CASE(wrong_types_are_named),
        CASE(l_12_null_is_left_out),
        CASE(images_and_files_are_taken_apart),
        CASE(quirks_of_providers_are_kept),
        CASE(short_ids_are_the_same_for_call_and_result),
        CASE(pictures_of_tools_follow_the_results),
        CASE(b_09_tool_choice),
        CASE(the_same_dialect_is_only_spliced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
