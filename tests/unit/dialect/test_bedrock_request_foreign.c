/* Requests of other dialects as Converse takes them: what is mended, mapped, supplied, and what is
 * noted because it has no place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dialect/dialect.h"
#include "support/json_equal.h"

static const struct dialect *const dialect = &bedrock_dialect;
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

static struct str betas;

static void write_for(struct llm_request *request, const char *model, enum llm_thinking thinking)
{
    static const struct llm_quirks quirks;
    const struct llm_traits traits = {.thinking = thinking};
    struct llm_target target = {
        .model = str_c(model), .betas = betas, .quirks = &quirks, .traits = &traits};
    struct llm_notes notes = {&dropped, &supplied};
    buf_clear(&out);
    buf_clear(&dropped);
    buf_clear(&supplied);
    assert_int_equal(dialect->write_request(request, &target, arena, &notes, &out), 0);
    struct json_scan scan;
    if (json_scan_object(buf_str(&out), 128, NULL, 0, &scan) != 0)
        fail_msg("no JSON: %.*s", STR_ARG(buf_str(&out)));
}

#define CLAUDE "anthropic.claude-sonnet-4-20250514-v1:0"
#define NOVA_2 "us.amazon.nova-2-lite-v1:0"

static void expect_body(const char *want)
{
    char where[1024];
    if (!json_equal(str_c(want), buf_str(&out), where, sizeof(where)))
        fail_msg("%s\ngot %.*s", where, STR_ARG(buf_str(&out)));
}

static void expect_notes(const char *want_dropped, const char *want_supplied)
{
    if (!str_eq(buf_str(&dropped), str_c(want_dropped)))
        fail_msg("dropped '%.*s', not '%s'", STR_ARG(buf_str(&dropped)), want_dropped);
    if (!str_eq(buf_str(&supplied), str_c(want_supplied)))
        fail_msg("supplied '%.*s', not '%s'", STR_ARG(buf_str(&supplied)), want_supplied);
}

#define USER(blocks) "{\"role\":\"user\",\"content\":[" blocks "]}"
#define MODEL(blocks) "{\"role\":\"assistant\",\"content\":[" blocks "]}"
#define MESSAGES(messages) "{\"messages\":[" messages "]}"
#define WITH(rest) "{\"messages\":[" USER("{\"text\":\"hi\"}") "]," rest "}"
#define CACHE "{\"cachePoint\":{\"type\":\"default\"}}"
#define CACHE_LONG "{\"cachePoint\":{\"type\":\"default\",\"ttl\":\"1h\"}}"
#define SPEC(rest) \
    "{\"toolSpec\":{\"name\":\"f\",\"inputSchema\":{\"json\":{\"type\":\"object\"}}" rest "}}"

/* --- for clients of other dialects --- */

static struct llm_request foreign(void)
{
    return (struct llm_request){.source = DIALECT_OPENAI_CHAT};
}

static struct llm_block *say(struct llm_request *request, enum llm_role role, const char *text)
{
    struct llm_message *message = llm_message_add(arena, request, role);
    struct llm_block *block = llm_block_add(arena, &message->blocks, BLOCK_TEXT);
    block->text = text_plain(str_c(text));
    return block;
}

static struct llm_block *call(struct llm_request *request, const char *id, const char *name)
{
    struct llm_message *message = llm_message_add(arena, request, ROLE_ASSISTANT);
    struct llm_block *block = llm_block_add(arena, &message->blocks, BLOCK_TOOL_CALL);
    if (id != NULL)
        block->id = text_plain(str_c(id));
    block->name = text_plain(str_c(name));
    block->arguments = TEXT_LIT("{\"a\":1}");
    return block;
}

static struct llm_block *result(struct llm_request *request, const char *id, const char *text)
{
    struct llm_message *message = llm_message_add(arena, request, ROLE_TOOL);
    struct llm_block *block = llm_block_add(arena, &message->blocks, BLOCK_TOOL_RESULT);
    if (id != NULL)
        block->id = text_plain(str_c(id));
    llm_block_add(arena, &block->blocks, BLOCK_TEXT)->text = text_plain(str_c(text));
    return block;
}

static void add_tool(struct llm_request *request, const char *name, const char *schema)
{
    struct llm_tool *tool = llm_tool_add(arena, request);
    tool->name = text_plain(str_c(name));
    tool->schema = str_c(schema);
}

static void test_turns_alternate_and_the_user_begins(void **state)
{
    (void)state;
    struct llm_request request = foreign();
    say(&request, ROLE_SYSTEM, "s");
    say(&request, ROLE_ASSISTANT, "a");
    say(&request, ROLE_USER, "b");
    say(&request, ROLE_USER, "c");
    say(&request, ROLE_DEVELOPER, "d");
    say(&request, ROLE_USER, " \n");
    write_for(&request, CLAUDE, THINKING_UNKNOWN);
    expect_body("{\"system\":[{\"text\":\"s\"},{\"text\":\"d\"}],\"messages\":["
                "{\"role\":\"user\",\"content\":[{\"text\":\"Continue.\"}]},"
                "{\"role\":\"assistant\",\"content\":[{\"text\":\"a\"}]},"
                "{\"role\":\"user\",\"content\":[{\"text\":\"b\"},{\"text\":\"c\"}]}]}");
    expect_notes("messages[4].role", "messages[0]=Continue.");
}

/* L-09 (a): what the user says beside a tool's result stands in one turn, after it. */
static void test_l09_text_and_result_in_one_turn(void **state)
{
    (void)state;
    struct llm_request request = foreign();
    say(&request, ROLE_USER, "q");
    call(&request, "call_1", "f");
    call(&request, "call_2", "g");
    say(&request, ROLE_USER, "and then");
    result(&request, "call_1", "one");
    result(&request, "call_2", "two")->is_error = true;
    add_tool(&request, "f", "{\"type\":\"object\"}");
    write_for(&request, CLAUDE, THINKING_UNKNOWN);
    expect_body("{\"messages\":[" USER("{\"text\":\"q\"}") "," MODEL(
        "{\"toolUse\":{\"toolUseId\":\"call_1\",\"name\":\"f\",\"input\":{\"a\":1}}},"
        "{\"toolUse\":{\"toolUseId\":\"call_2\",\"name\":\"g\",\"input\":{\"a\":1}}}") "," USER("{\"toolResult\":{\"toolUseId\":\"call_1\",\"content\":[{\"text\":\"one\"}]}},"
                                                                                                "{\"toolResult\":{\"toolUseId\":\"call_2\",\"content\":[{\"text\":\"two\"}],\"status\":"
                                                                                                "\"error\"}},{\"text\":\"and then\"}") "],"
                                                                                                                                       "\"toolConfig\":{\"tools\":[" SPEC(
                                                                                                                                           "") "]}}");
    expect_notes("", "");
}

/* L-09 (b): a history of calls without tools gets them from the calls. */
static void test_l09_calls_without_tools(void **state)
{
    (void)state;
    struct llm_request request = foreign();
    say(&request, ROLE_USER, "q");
    call(&request, "call_1", "f");
    result(&request, "call_1", "one");
    call(&request, "call_2", "f");
    result(&request, "call_2", "two");
    request.tool_choice = TOOL_CHOICE_NONE;
    write_for(&request, CLAUDE, THINKING_UNKNOWN);
    struct json_value config;
    assert_true(json_find(buf_str(&out), "toolConfig", &config));
    assert_true(str_eq(config.text,
                       STR("{\"tools\":[{\"toolSpec\":{\"name\":\"f\",\"inputSchema\":{\"json\":{"
                           "\"type\":\"object\",\"properties\":{}}}}}]}")));
    expect_notes("", "toolConfig.tools=1");
}

static void test_tool_choice(void **state)
{
    (void)state;
    static const struct {
        enum llm_tool_choice choice;
        const char *config;
    } rows[] = {
        {TOOL_CHOICE_UNSET, "{\"tools\":[" SPEC("") "]}"},
        {TOOL_CHOICE_AUTO, "{\"tools\":[" SPEC("") "],\"toolChoice\":{\"auto\":{}}}"},
        {TOOL_CHOICE_REQUIRED, "{\"tools\":[" SPEC("") "],\"toolChoice\":{\"any\":{}}}"},
        {TOOL_CHOICE_NAMED,
         "{\"tools\":[" SPEC("") "],\"toolChoice\":{\"tool\":{\"name\":\"f\"}}}"},
        {TOOL_CHOICE_NONE, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct llm_request request = foreign();
        struct json_value config;
        say(&request, ROLE_USER, "q");
        add_tool(&request, "f", "{\"type\":\"object\"}");
        request.tool_choice = rows[i].choice;
        request.tool_choice_name = TEXT_LIT("f");
        write_for(&request, CLAUDE, THINKING_UNKNOWN);
        bool has_config = json_find(buf_str(&out), "toolConfig", &config);
        assert_int_equal(has_config, rows[i].config != NULL);
        if (has_config && !str_eq(config.text, str_c(rows[i].config)))
            fail_msg("%.*s", STR_ARG(config.text));
        expect_notes("", "");
    }
}

static void test_some_of_the_tools(void **state)
{
    (void)state;
    struct llm_request request = foreign();
    struct json_value tools;
    say(&request, ROLE_USER, "q");
    add_tool(&request, "a", "");
    add_tool(&request, "b", "");
    request.tools->cache = CACHE_5M;
    assert_true(llm_name_add(arena, &request.allowed_tools, TEXT_LIT("a")));
    request.parallel_tools = TRI_NO;
    struct llm_tool *builtin = llm_tool_add(arena, &request);
    builtin->kind = TOOL_BUILTIN;
    builtin->raw = STR("{\"type\":\"web_search\"}");
    write_for(&request, CLAUDE, THINKING_UNKNOWN);
    assert_true(json_find(buf_str(&out), "toolConfig.tools", &tools));
    assert_true(str_eq(tools.text, STR("[{\"toolSpec\":{\"name\":\"a\",\"inputSchema\":{\"json\":{"
                                       "\"type\":\"object\",\"properties\":{}}}}}," CACHE "]")));
    expect_notes("parallel_tool_calls, tools[2]", "");
}

/* The same id becomes the same one in call and result, and in later turns. */
static void test_ids_of_calls(void **state)
{
    (void)state;
    struct json_value first, second, third;
    struct llm_request request = foreign();
    say(&request, ROLE_USER, "q");
    call(&request, "functions.f:0", "f");
    result(&request, "functions.f:0", "one");
    call(&request, "0123456789012345678901234567890123456789012345678901234567890123456789", "f");
    result(&request, "0123456789012345678901234567890123456789012345678901234567890123456789", "x");
    add_tool(&request, "f", "");
    write_for(&request, CLAUDE, THINKING_UNKNOWN);
    assert_true(json_find(buf_str(&out), "messages[1].content[0].toolUse.toolUseId", &first));
    assert_true(json_find(buf_str(&out), "messages[2].content[0].toolResult.toolUseId", &second));
    assert_true(json_find(buf_str(&out), "messages[3].content[0].toolUse.toolUseId", &third));
    assert_true(str_eq(first.text, second.text));
    assert_false(str_eq(first.text, third.text));
    assert_true(json_string_raw(first).len <= 64);
    assert_true(str_find(first.text, STR(":")) < 0 && str_find(first.text, STR(".")) < 0);
}

/* Gemini's calls have no ids: results find theirs by name and order. */
static void test_ids_are_made_where_there_are_none(void **state)
{
    (void)state;
    static const char *const paths[][2] = {
        {"messages[1].content[0].toolUse.toolUseId", "messages[2].content[1].toolResult.toolUseId"},
        {"messages[1].content[1].toolUse.toolUseId", "messages[2].content[0].toolResult.toolUseId"},
        {"messages[1].content[2].toolUse.toolUseId", "messages[2].content[2].toolResult.toolUseId"},
    };
    struct llm_request request = foreign();
    request.source = DIALECT_GEMINI;
    say(&request, ROLE_USER, "q");
    call(&request, NULL, "f");
    call(&request, NULL, "g");
    call(&request, NULL, "f");
    result(&request, NULL, "g's")->name = TEXT_LIT("g");
    result(&request, NULL, "f's")->name = TEXT_LIT("f");
    result(&request, NULL, "f's second")->name = TEXT_LIT("f");
    write_for(&request, CLAUDE, THINKING_UNKNOWN);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct json_value a, b;
        assert_true(json_find(buf_str(&out), paths[i][0], &a));
        assert_true(json_find(buf_str(&out), paths[i][1], &b));
        assert_true(str_eq(a.text, b.text));
    }
}

static struct llm_block *show(struct llm_request *request, enum llm_block_kind kind,
                              const char *type, const char *data, const char *url)
{
    struct llm_block *block = llm_block_add(arena, &request->messages->blocks, kind);
    block->media.type = type != NULL ? text_plain(str_c(type)) : TEXT_NONE;
    block->media.data = data != NULL ? text_plain(str_c(data)) : TEXT_NONE;
    block->media.url = url != NULL ? text_plain(str_c(url)) : TEXT_NONE;
    return block;
}

static void test_files(void **state)
{
    (void)state;
    struct llm_request request = foreign();
    say(&request, ROLE_USER, "look");
    show(&request, BLOCK_IMAGE, "image/jpg", "AAAA", NULL)->media.detail = TEXT_LIT("high");
    show(&request, BLOCK_IMAGE, NULL, NULL, "https://x/y.png");
    show(&request, BLOCK_IMAGE, NULL, NULL, "s3://b/y.png");
    show(&request, BLOCK_IMAGE, "image/bmp", "AAAA", NULL);
    show(&request, BLOCK_DOCUMENT, "application/pdf", "JVBE", NULL)->media.name =
        TEXT_LIT("r\xc3\xa9sum\xc3\xa9_2024.pdf");
    show(&request, BLOCK_DOCUMENT, "application/pdf", "JVBE", NULL)->wants_citations = true;
    show(&request, BLOCK_DOCUMENT, "application/pdf", "JVBE", NULL);
    show(&request, BLOCK_DOCUMENT, NULL, NULL, NULL)->text = TEXT_LIT("plain");
    show(&request, BLOCK_AUDIO, "audio/wav", "AAAA", NULL);
    show(&request, BLOCK_VIDEO, "video/mp4", NULL, "s3://b/v");
    write_for(&request, NOVA_2, THINKING_UNKNOWN);
    expect_body(MESSAGES(USER(
        "{\"text\":\"look\"},{\"image\":{\"format\":\"jpeg\",\"source\":{\"bytes\":\"AAAA\"}}},"
        "{\"image\":{\"format\":\"png\",\"source\":{\"s3Location\":{\"uri\":\"s3://b/y.png\"}}}},"
        "{\"document\":{\"format\":\"pdf\",\"name\":\"r-sum-2024-pdf\",\"source\":{\"bytes\":\"JVBE\"}}},"
        "{\"document\":{\"format\":\"pdf\",\"name\":\"document\",\"source\":{\"bytes\":\"JVBE\"},\"citations\":{"
        "\"enabled\":true}}},"
        "{\"document\":{\"format\":\"pdf\",\"name\":\"document (3)\",\"source\":{\"bytes\":\"JVBE\"}}},"
        "{\"document\":{\"format\":\"txt\",\"name\":\"document (4)\",\"source\":{\"text\":\"plain\"}}},"
        "{\"audio\":{\"format\":\"wav\",\"source\":{\"bytes\":\"AAAA\"}}},"
        "{\"video\":{\"format\":\"mp4\",\"source\":{\"s3Location\":{\"uri\":\"s3://b/v\"}}}}")));
    expect_notes("messages[0].content[1].detail, messages[0].content[2], messages[0].content[4]",
                 "messages[0].content[5].document.name=r-sum-2024-pdf, "
                 "messages[0].content[6].document.name=document, "
                 "messages[0].content[7].document.name=document_(3), "
                 "messages[0].content[8].document.name=document_(4)");
}

/* C9: hints to cache, on the system prompt, text, tools and results of tools, become cachePoints.
 */
static void test_c9_cache_hints_become_cache_points(void **state)
{
    (void)state;
    struct llm_request request = foreign();
    request.source = DIALECT_ANTHROPIC;
    struct llm_block *block = llm_block_add(arena, &request.system, BLOCK_TEXT);
    block->text = TEXT_LIT("s");
    block->cache = CACHE_1H;
    say(&request, ROLE_USER, "q")->cache = CACHE_5M;
    call(&request, "call_1", "f");
    block = result(&request, "call_1", "one");
    block->cache = CACHE_5M;
    /* What is empty goes, its hint stays. */
    say(&request, ROLE_USER, "x");
    say(&request, ROLE_USER, "");
    request.last_message->blocks->cache = CACHE_5M;
    add_tool(&request, "f", "{\"type\":\"object\"}");
    request.tools->cache = CACHE_5M;
    write_for(&request, CLAUDE, THINKING_UNKNOWN);
    expect_body(
        "{\"system\":[{\"text\":\"s\"}," CACHE_LONG
        "],\"messages\":[" USER("{\"text\":\"q\"}," CACHE) "," MODEL("{\"toolUse\":{\"toolUseId\":\"call_1\",\"name\":\"f\",\"input\":{\"a\":1}}}") "," USER(
            "{\"toolResult\":{\"toolUseId\":\"call_1\",\"content\":[{\"text\":\"one\"}]}}," CACHE
            ",{\"text\":\"x\"}") "],\"toolConfig\":{\"tools\":[" SPEC("") "," CACHE "]}}");
}

/* --- parameters --- */

static void test_what_converse_has_no_place_for_is_noted(void **state)
{
    (void)state;
    struct llm_request request = foreign();
    say(&request, ROLE_USER, "q");
    request.seed = STR("1");
    request.n = STR("2");
    request.logprobs = TRI_YES;
    request.frequency_penalty = STR("0.5");
    request.presence_penalty = STR("0");
    request.logit_bias = STR("{}");
    request.user = TEXT_LIT("u");
    request.metadata = STR("{\"k\":\"\xc3\xa9\"}");
    request.service_tier = TEXT_LIT("scale");
    request.format.kind = FORMAT_JSON_OBJECT;
    assert_true(llm_extra_add(arena, &request, STR_EMPTY, STR("verbosity"),
                              (struct json_value){JSON_STRING, STR("\"low\"")}));
    write_for(&request, CLAUDE, THINKING_UNKNOWN);
    expect_body(MESSAGES(USER("{\"text\":\"q\"}")));
    expect_notes("response_format, service_tier, metadata, frequency_penalty, n, seed, logprobs, "
                 "logit_bias, user, verbosity",
                 "");
}

static void test_parameters(void **state)
{
    (void)state;
    struct llm_request request = foreign();
    say(&request, ROLE_USER, "hi");
    request.max_tokens = STR("100");
    request.temperature = STR("1.70");
    request.top_p = STR("0.9");
    request.top_k = STR("5");
    assert_true(llm_name_add(arena, &request.stop, TEXT_LIT("END")));
    request.metadata = STR("{\"team\":\"a b\"}");
    request.service_tier = TEXT_LIT("flex");
    request.format = (struct llm_response_format){
        .kind = FORMAT_JSON_SCHEMA, .name = TEXT_LIT("n"), .schema = STR("{\"type\":\"object\"}")};
    write_for(&request, NOVA_2, THINKING_UNKNOWN);
    expect_body(WITH(
        "\"inferenceConfig\":{\"maxTokens\":100,\"temperature\":1.70,\"topP\":0.9,\"stopSequences\":[\"END\"]},"
        "\"additionalModelRequestFields\":{\"inferenceConfig\":{\"topK\":5}},"
        "\"outputConfig\":{\"textFormat\":{\"type\":\"json_schema\",\"structure\":{\"jsonSchema\":{\"name\":\"n\","
        "\"schema\":\"{\\\"type\\\":\\\"object\\\"}\"}}}},\"serviceTier\":{\"type\":\"flex\"},"
        "\"requestMetadata\":{\"team\":\"a b\"}"));
    expect_notes("", "");
}

/* --- reasoning --- */

static const struct {
    const char *model;
    enum llm_thinking trait;
    struct llm_reasoning wish;
    const char *max_tokens;
    const char *fields; /* NULL = none */
    const char *dropped, *supplied;
} reasoning_rows[] = {
    {CLAUDE,
     THINKING_BUDGET,
     {.mode = REASONING_ON, .effort = {STR_INIT("low"), false}},
     "",
     "{\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048}}",
     "",
     ""},
    {CLAUDE,
     THINKING_UNKNOWN,
     {.mode = REASONING_ON, .budget = STR_INIT("4000")},
     "",
     "{\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":4000}}",
     "",
     ""},
    {CLAUDE,
     THINKING_BUDGET,
     {.mode = REASONING_ON, .effort = {STR_INIT("high"), false}},
     "5000",
     "{\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":4999}}",
     "",
     "thinking.budget_tokens=4999"},
    {CLAUDE,
     THINKING_BUDGET,
     {.mode = REASONING_ON, .effort = {STR_INIT("high"), false}},
     "1000",
     NULL,
     "reasoning_effort",
     ""},
    {CLAUDE, THINKING_BUDGET, {.mode = REASONING_OFF}, "", NULL, "", ""},
    {CLAUDE,
     THINKING_BUDGET,
     {.mode = REASONING_ON, .effort = {STR_INIT("none"), false}},
     "",
     NULL,
     "",
     ""},
    {"anthropic.claude-opus-4-6-v1",
     THINKING_ADAPTIVE,
     {.mode = REASONING_ON, .effort = {STR_INIT("medium"), false}},
     "",
     "{\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{\"effort\":\"medium\"}}",
     "",
     ""},
    {"arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc",
     THINKING_UNKNOWN,
     {.mode = REASONING_ON, .budget = STR_INIT("2000")},
     "",
     "{\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000}}",
     "",
     ""},
    {NOVA_2,
     THINKING_UNKNOWN,
     {.mode = REASONING_ON, .effort = {STR_INIT("low"), false}},
     "",
     "{\"reasoningConfig\":{\"type\":\"enabled\",\"maxReasoningEffort\":\"low\"}}",
     "",
     ""},
    {NOVA_2,
     THINKING_UNKNOWN,
     {.mode = REASONING_ON, .effort = {STR_INIT("xhigh"), false}},
     "",
     "{\"reasoningConfig\":{\"type\":\"enabled\",\"maxReasoningEffort\":\"high\"}}",
     "",
     "reasoningConfig.maxReasoningEffort=high"},
    {"openai.gpt-oss-120b-1:0",
     THINKING_UNKNOWN,
     {.mode = REASONING_ON, .effort = {STR_INIT("high"), false}},
     "",
     "{\"reasoning_effort\":\"high\"}",
     "",
     ""},
    {"amazon.nova-lite-v1:0",
     THINKING_UNKNOWN,
     {.mode = REASONING_ON, .effort = {STR_INIT("high"), false}},
     "",
     NULL,
     "reasoning_effort",
     ""},
    {"meta.llama3-1-8b-instruct-v1:0",
     THINKING_UNKNOWN,
     {.mode = REASONING_ON, .effort = {STR_INIT("high"), false}},
     "",
     NULL,
     "reasoning_effort",
     ""},
};

static void test_reasoning_is_the_models_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(reasoning_rows); i++) {
        struct llm_request request = foreign();
        struct json_value fields = {JSON_NONE, STR_EMPTY};
        say(&request, ROLE_USER, "q");
        request.reasoning = reasoning_rows[i].wish;
        request.max_tokens = str_c(reasoning_rows[i].max_tokens);
        write_for(&request, reasoning_rows[i].model, reasoning_rows[i].trait);
        bool has_fields = json_find(buf_str(&out), "additionalModelRequestFields", &fields);
        if (has_fields != (reasoning_rows[i].fields != NULL) ||
            (has_fields && !str_eq(fields.text, str_c(reasoning_rows[i].fields))))
            fail_msg("row %zu: %.*s", i, STR_ARG(buf_str(&out)));
        expect_notes(reasoning_rows[i].dropped, reasoning_rows[i].supplied);
    }
}

/* Claude refuses these beside thinking. */
static void test_what_rules_out_thinking_and_what_it_rules_out(void **state)
{
    (void)state;
    struct json_value value;
    struct llm_request request = foreign();
    say(&request, ROLE_USER, "q");
    request.reasoning = (struct llm_reasoning){.mode = REASONING_ON, .effort = TEXT_LIT("low")};
    request.temperature = STR("0.2");
    request.top_k = STR("5");
    write_for(&request, CLAUDE, THINKING_BUDGET);
    assert_true(json_find(buf_str(&out), "additionalModelRequestFields.thinking", &value));
    assert_false(json_find(buf_str(&out), "inferenceConfig", &value));
    expect_notes("temperature, top_k", "");

    add_tool(&request, "f", "");
    request.tool_choice = TOOL_CHOICE_REQUIRED;
    write_for(&request, CLAUDE, THINKING_BUDGET);
    assert_false(json_find(buf_str(&out), "additionalModelRequestFields.thinking", &value));
    assert_true(json_find(buf_str(&out), "toolConfig.toolChoice.any", &value));
    expect_notes("reasoning_effort", "");

    betas = STR("a,b");
    write_for(&request, CLAUDE, THINKING_BUDGET);
    assert_true(json_find(buf_str(&out), "additionalModelRequestFields.anthropic_beta", &value));
    assert_true(str_eq(value.text, STR("[\"a\",\"b\"]")));
    write_for(&request, NOVA_2, THINKING_UNKNOWN);
    assert_true(str_find(buf_str(&out), STR("anthropic_beta")) < 0);
    betas = STR_EMPTY;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_turns_alternate_and_the_user_begins, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_l09_text_and_result_in_one_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_l09_calls_without_tools, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_choice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_some_of_the_tools, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ids_of_calls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ids_are_made_where_there_are_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_c9_cache_hints_become_cache_points, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_converse_has_no_place_for_is_noted, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_parameters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reasoning_is_the_models_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_rules_out_thinking_and_what_it_rules_out, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
