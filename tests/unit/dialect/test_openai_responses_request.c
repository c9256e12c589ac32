/* Requests of the Responses API: what is read, what comes back as it was, what is refused, and what
 * is written for clients of other dialects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "dialect/dialect.h"
#include "dialect/signature.h"
#include "support/json_equal.h"

static const struct dialect *const dialect = &openai_responses_dialect;
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

static void write_with(struct llm_request *request, const struct llm_traits *traits,
                       const struct llm_quirks *quirks, bool is_stream)
{
    static const struct llm_traits no_traits;
    static const struct llm_quirks no_quirks;
    struct llm_target target = {.model = STR("target-model"),
                                .is_stream = is_stream,
                                .quirks = quirks != NULL ? quirks : &no_quirks,
                                .traits = traits != NULL ? traits : &no_traits};
    struct llm_notes notes = {&dropped, &supplied};
    buf_clear(&out);
    buf_clear(&dropped);
    buf_clear(&supplied);
    assert_int_equal(dialect->write_request(request, &target, arena, &notes, &out), 0);
}

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

/* --- there and back --- */

#define BODY(rest) "{\"model\":\"target-model\"," rest "}"
#define INPUT(items) BODY("\"input\":[" items "]")

static const char *const round_trips[] = {
    BODY("\"input\":\"hello \\u00e9\\n\""),
    INPUT("{\"role\":\"user\",\"content\":\"hi\"}"),
    INPUT("{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
          "\"text\":\"hi\"}]}"),
    INPUT("{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"developer\",\"content\":\"d\"},"
          "{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"user\",\"content\":\"v\"}"),
    INPUT("{\"role\":\"user\",\"content\":["
          "{\"type\":\"input_image\",\"image_url\":\"data:image/png;base64,AAAA\","
          "\"detail\":\"high\"},"
          "{\"type\":\"input_image\",\"image_url\":\"https://x/y.png\"},"
          "{\"type\":\"input_image\",\"file_id\":\"file-1\",\"detail\":\"auto\"},"
          "{\"type\":\"input_file\",\"filename\":\"a.pdf\","
          "\"file_data\":\"data:application/pdf;base64,JVBE\"},"
          "{\"type\":\"input_file\",\"file_data\":\"JVBE\"},"
          "{\"type\":\"input_file\",\"file_url\":\"https://x/a.pdf\"},"
          "{\"type\":\"input_file\",\"file_id\":\"file-2\",\"detail\":\"low\"},"
          "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"UklG\",\"format\":\"wav\"}},"
          "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"UklG\",\"format\":\"mp3\"}},"
          "{\"type\":\"input_text\",\"text\":\"t\",\"prompt_cache_breakpoint\":{\"mode\":"
          "\"explicit\"}},"
          "{\"type\":\"input_hologram\",\"data\":[1,2]}]}"),
    INPUT("{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\","
          "\"text\":\"a\"},{\"type\":\"summary_text\",\"text\":\"b\"}],"
          "\"encrypted_content\":\"gAAA==\",\"status\":\"completed\"},"
          "{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"status\":\"completed\","
          "\"phase\":\"commentary\",\"content\":[{\"type\":\"output_text\",\"text\":\"x\","
          "\"annotations\":[{\"type\":\"url_citation\",\"url\":\"https://a\",\"title\":\"A\","
          "\"start_index\":0,\"end_index\":1}],\"logprobs\":[]}]},"
          "{\"type\":\"message\",\"id\":\"msg_2\",\"role\":\"assistant\",\"status\":\"completed\","
          "\"phase\":\"final_answer\",\"content\":[{\"type\":\"output_text\",\"text\":\"y\","
          "\"annotations\":[]},{\"type\":\"refusal\",\"refusal\":\"no\"}]},"
          "{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"call_1\",\"name\":\"f\","
          "\"arguments\":\"{\\\"a\\\": 1}\",\"status\":\"completed\"},"
          "{\"type\":\"function_call_output\",\"call_id\":\"call_1\",\"output\":\"ok\"}"),
    INPUT("{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[]},"
          "{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"gAAA\"},"
          "{\"type\":\"reasoning\",\"id\":\"fa6f\",\"summary\":[],\"content\":[{\"type\":"
          "\"reasoning_text\",\"text\":\"hm\"}]}"),
    INPUT("{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"\"},"
          "{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":[{\"type\":"
          "\"input_text\",\"text\":\"t\"},{\"type\":\"input_image\",\"image_url\":"
          "\"data:image/png;base64,AA\"}],\"status\":\"completed\"}"),
    BODY("\"tools\":[{\"type\":\"custom\",\"name\":\"apply_patch\",\"format\":{\"type\":"
         "\"grammar\",\"syntax\":\"lark\",\"definition\":\"start: \\\"x\\\"\"}}],"
         "\"tool_choice\":{\"type\":\"custom\",\"name\":\"apply_patch\"},\"input\":["
         "{\"type\":\"custom_tool_call\",\"id\":\"ct_1\",\"call_id\":\"c\",\"name\":"
         "\"apply_patch\",\"input\":\"*** \\\"Begin\\\"\\n\"},"
         "{\"type\":\"custom_tool_call_output\",\"call_id\":\"c\",\"output\":\"done\"}]"),
    INPUT("{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\",\"action\":{}},"
          "{\"type\":\"item_reference\",\"id\":\"msg_9\"},"
          "{\"type\":\"computer_call_output\",\"call_id\":\"c\",\"output\":{\"type\":"
          "\"computer_screenshot\"}},"
          "{\"type\":\"mcp_approval_response\",\"approve\":true,\"approval_request_id\":\"m\"},"
          "{\"type\":\"local_shell_call\",\"id\":\"l\",\"call_id\":\"d\",\"action\":{}}"),
    BODY("\"input\":\"x\",\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"description\":\"d\","
         "\"parameters\":{\"type\":\"object\"},\"strict\":true,\"defer_loading\":true},"
         "{\"type\":\"function\",\"name\":\"g\"},"
         "{\"type\":\"web_search\",\"search_context_size\":\"low\"},"
         "{\"type\":\"mcp\",\"server_label\":\"s\",\"server_url\":\"https://m\"}],"
         "\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"required\",\"tools\":["
         "{\"type\":\"function\",\"name\":\"f\"},{\"type\":\"function\",\"name\":\"g\"}]},"
         "\"parallel_tool_calls\":false"),
    BODY("\"input\":\"x\",\"tool_choice\":{\"type\":\"web_search_preview\"}"),
    BODY("\"input\":\"x\",\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"auto\","
         "\"tools\":[{\"type\":\"mcp\",\"server_label\":\"s\"}]}"),
    BODY("\"input\":\"x\",\"tool_choice\":\"required\""),
    BODY("\"input\":\"x\",\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"}"),
    BODY("\"input\":\"x\",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\","
         "\"description\":\"d\",\"schema\":{\"type\":\"object\"},\"strict\":true},"
         "\"verbosity\":\"low\"},\"reasoning\":{\"effort\":\"xhigh\",\"summary\":\"detailed\","
         "\"context\":\"all_turns\"}"),
    BODY("\"input\":\"x\",\"text\":{\"format\":{\"type\":\"json_object\"}}"),
    BODY("\"input\":\"x\",\"text\":{\"format\":{\"type\":\"text\"}},\"reasoning\":{\"effort\":"
         "\"none\"}"),
    BODY("\"input\":\"x\",\"instructions\":\"be brief\",\"max_output_tokens\":12345678901234567890,"
         "\"temperature\":0.10,\"top_p\":1e-1,\"top_logprobs\":5,\"frequency_penalty\":0.5,"
         "\"include\":[\"message.output_text.logprobs\",\"reasoning.encrypted_content\","
         "\"file_search_call.results\"],\"metadata\":{\"k\":\"v\"},\"user\":\"u\","
         "\"safety_identifier\":\"si\",\"prompt_cache_key\":\"p\",\"service_tier\":\"flex\","
         "\"store\":false,\"background\":false,\"truncation\":\"disabled\","
         "\"stream_options\":{\"include_obfuscation\":false},\"max_tool_calls\":3,"
         "\"unheard_of\":{\"a\":[1]}"),
    BODY("\"prompt\":{\"id\":\"pmpt_1\"},\"conversation\":\"conv_1\",\"store\":true,"
         "\"background\":true,\"truncation\":\"auto\""),
    BODY("\"previous_response_id\":\"resp_1\",\"input\":[]"),
};

static void requests_come_back_as_they_were(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(round_trips); i++) {
        struct llm_request request = read_body(round_trips[i]);
        write_with(&request, NULL, NULL, false);
        char where[1024];
        if (str_find(str_c(round_trips[i]), STR("\"input\":[]")) >= 0)
            buf_clear(&out); /* no items and no input are the same request */
        else if (!json_equal(str_c(round_trips[i]), buf_str(&out), where, sizeof(where)))
            fail_msg("%s\n%s\ngot %.*s", round_trips[i], where, STR_ARG(buf_str(&out)));
        expect_notes("", "");
    }
}

/* --- what is read --- */

static struct text text(const char *z)
{
    return text_plain(str_c(z));
}

static const struct llm_block *nth(const struct llm_message *message, unsigned n)
{
    const struct llm_block *block = message->blocks;
    while (n-- > 0)
        block = block->next;
    return block;
}

static void what_the_assistant_did_is_one_message(void **state)
{
    (void)state;
    struct llm_request r = read_body(INPUT(
        "{\"role\":\"user\",\"content\":\"q\"},"
        "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\",\"text\":"
        "\"think\"}],\"encrypted_content\":\"ENC\"},"
        "{\"role\":\"assistant\",\"content\":\"I look\"},"
        "{\"type\":\"function_call\",\"call_id\":\"a\",\"name\":\"f\",\"arguments\":\"{}\"},"
        "{\"type\":\"function_call\",\"call_id\":\"b\",\"name\":\"g\",\"arguments\":\"{}\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"a\",\"output\":\"1\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"b\",\"output\":\"2\"}"));
    const struct llm_message *m = r.messages->next;
    assert_int_equal(m->role, ROLE_ASSISTANT);
    assert_int_equal(nth(m, 0)->kind, BLOCK_THINKING);
    assert_true(text_eq(nth(m, 0)->signature.data, STR("ENC.rs_1")));
    assert_int_equal(nth(m, 0)->signature.maker, DIALECT_OPENAI_RESPONSES);
    assert_int_equal(nth(m, 1)->kind, BLOCK_TEXT);
    assert_int_equal(nth(m, 3)->kind, BLOCK_TOOL_CALL);
    assert_true(text_eq(nth(m, 3)->id, STR("b")));
    assert_null(nth(m, 4));
    assert_int_equal(m->next->role, ROLE_TOOL);
    assert_true(text_eq(m->next->next->blocks->name, STR("g")));
    assert_null(m->next->next->next);
}

/* Others have no tools of free text: there it is a function with one string. */
static void a_custom_tool_is_a_function_to_others(void **state)
{
    (void)state;
    struct llm_request r = read_body(
        "{\"model\":\"m\",\"tools\":[{\"type\":\"custom\",\"name\":\"p\",\"format\":{\"type\":"
        "\"grammar\",\"syntax\":\"lark\",\"definition\":\"start: x\"}}],\"input\":[{\"type\":"
        "\"custom_tool_call\",\"call_id\":\"c\",\"name\":\"p\",\"input\":\"a\\n\\\"b\\\"\"}]}");
    struct json_value value;
    char where[256];
    assert_int_equal(r.tools->kind, TOOL_FUNCTION);
    assert_true(json_find(r.tools->schema, "properties.input.description", &value));
    assert_true(str_find(value.text, STR("start: x")) > 0);
    struct str arguments = text_or(arena, r.messages->blocks->arguments, STR_EMPTY);
    assert_true(json_equal(arguments, STR("{\"input\":\"a\\n\\\"b\\\"\"}"), where, sizeof(where)));
}

/* What says nothing to another provider is not named as lost to it. */
static void settled_members_are_no_loss(void **state)
{
    (void)state;
    struct llm_request r = read_body(
        BODY("\"input\":\"x\",\"store\":false,\"truncation\":\"disabled\",\"background\":false,"
             "\"include\":[\"reasoning.encrypted_content\"],\"prompt_cache_key\":\"k\""));
    struct llm_notes notes = {&dropped, &supplied};
    llm_note_extras(&notes, &r);
    expect_notes("prompt_cache_key", "");
    buf_clear(&dropped);
    r = read_body(BODY("\"input\":\"x\",\"store\":true,\"include\":[\"a.b\"]"));
    llm_note_extras(&notes, &r);
    expect_notes("store, include", "");
}

static const struct {
    const char *body, *words;
} refusals[] = {
    {BODY("\"input\":5"), "'input' must be a string or an array"},
    {INPUT("5"), "'input[0]' must be an object"},
    {INPUT("{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"robot\",\"content\":\"b\"}"),
     "'input[1].role' must be one of user, assistant"},
    {INPUT("{\"role\":\"user\",\"content\":7}"), "'input[0].content' must be a string or an array"},
    {INPUT("{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":7}]}"),
     "'input[0].content[0].text' must be a string"},
    {INPUT("{\"role\":\"user\",\"content\":[{\"text\":\"a\"}]}"), "'input[0].content[0].type'"},
    {INPUT("{\"content\":\"a\"}"), "'input[0].type' is missing"},
    {INPUT("{\"type\":\"function_call\",\"name\":\"f\",\"arguments\":\"{}\"}"),
     "'input[0].call_id' is missing"},
    {INPUT("{\"type\":\"function_call\",\"call_id\":\"f\",\"name\":\"f\",\"arguments\":{}}"),
     "'input[0].arguments' must be a string"},
    {INPUT("{\"type\":\"function_call_output\",\"call_id\":\"f\",\"output\":{}}"),
     "'input[0].output' must be a string or an array"},
    {INPUT("{\"type\":\"reasoning\",\"summary\":\"x\"}"), "'input[0].summary' must be an array"},
    {BODY("\"tools\":{}"), "'tools' must be an array"},
    {BODY("\"tools\":[{\"type\":\"function\"}]"), "'tools[0].name' is missing"},
    {BODY("\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":\"x\"}]"),
     "'tools[0].parameters' must be an object"},
    {BODY("\"tool_choice\":\"sometimes\""), "'tool_choice' must be auto, none, required"},
    {BODY("\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\"}}"),
     "'text.format.schema' must be an object"},
    {BODY("\"reasoning\":\"high\""), "'reasoning' must be an object"},
    {BODY("\"reasoning\":{\"effort\":3}"), "'reasoning.effort' must be a string"},
    {BODY("\"temperature\":\"hot\""), "'temperature' must be a number"},
    {BODY("\"stream\":\"yes\""), "'stream' must be a boolean"},
    {BODY("\"include\":\"a\""), "'include' must be an array of strings"},
};

static void wrong_types_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        struct llm_request request;
        assert_int_equal(dialect->read_request(str_c(refusals[i].body), arena, &request),
                         -ERR_INVALID);
        if (str_find(str_c(err_slot()->message), str_c(refusals[i].words)) < 0)
            fail_msg("%s: %s", refusals[i].body, err_slot()->message);
    }
}

/* --- for clients of other dialects --- */

static struct llm_request foreign(enum dialect_id source)
{
    return (struct llm_request){.source = source};
}

static struct llm_block *add(struct llm_request *r, enum llm_role role, enum llm_block_kind kind)
{
    struct llm_message *message = r->last_message;
    if (message == NULL || message->role != role)
        message = llm_message_add(arena, r, role);
    struct llm_block *block = llm_block_add(arena, &message->blocks, kind);
    assert_non_null(block);
    return block;
}

static void a_request_of_anthropic(void **state)
{
    (void)state;
    struct llm_request r = foreign(DIALECT_ANTHROPIC);
    llm_block_add(arena, &r.system, BLOCK_TEXT)->text = text("one");
    llm_block_add(arena, &r.system, BLOCK_TEXT)->text = text("two");
    add(&r, ROLE_USER, BLOCK_TEXT)->text = text("look");
    struct llm_block *b = add(&r, ROLE_USER, BLOCK_IMAGE);
    b->media.type = text("image/jpeg");
    b->media.data = text("/9j/");
    b->cache = CACHE_5M;
    b = add(&r, ROLE_USER, BLOCK_DOCUMENT);
    b->media.type = text("application/pdf");
    b->media.data = text("JVBE");
    b = add(&r, ROLE_ASSISTANT, BLOCK_THINKING);
    b->text = text("hm");
    b->signature = (struct llm_signature){text("ENC.rs_7"), DIALECT_OPENAI_RESPONSES};
    add(&r, ROLE_ASSISTANT, BLOCK_TEXT)->text = text("I call");
    b = add(&r, ROLE_ASSISTANT, BLOCK_TOOL_CALL);
    b->id = text("toolu_1");
    b->name = text("f");
    b->arguments = text("{\"x\":1}");
    b = add(&r, ROLE_USER, BLOCK_TOOL_RESULT);
    b->id = text("toolu_1");
    b->is_error = true;
    llm_block_add(arena, &b->blocks, BLOCK_TEXT)->text = text("bad");
    add(&r, ROLE_USER, BLOCK_TEXT)->text = text("and now?");
    struct llm_tool *tool = llm_tool_add(arena, &r);
    tool->name = text("f");
    tool->schema = STR("{\"type\":\"object\"}");
    r.max_tokens = STR("100");
    r.top_k = STR("5");
    r.temperature = STR("0.5");
    llm_name_add(arena, &r.stop, text("END"));
    r.reasoning.mode = REASONING_ON;
    r.reasoning.budget = STR("30000");
    write_with(&r, NULL, NULL, true);
    expect_body(
        "{\"model\":\"target-model\",\"instructions\":\"one\\n\\ntwo\",\"input\":["
        "{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"look\"},"
        "{\"type\":\"input_image\",\"image_url\":\"data:image/jpeg;base64,/9j/\"},"
        "{\"type\":\"input_file\",\"filename\":\"document.pdf\",\"file_data\":"
        "\"data:application/pdf;base64,JVBE\"}]},"
        "{\"type\":\"reasoning\",\"id\":\"rs_7\",\"summary\":[{\"type\":\"summary_text\",\"text\":"
        "\"hm\"}],\"encrypted_content\":\"ENC\"},"
        "{\"role\":\"assistant\",\"content\":\"I call\"},"
        "{\"type\":\"function_call\",\"call_id\":\"toolu_1\",\"name\":\"f\",\"arguments\":"
        "\"{\\\"x\\\":1}\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"toolu_1\",\"output\":\"bad\"},"
        "{\"role\":\"user\",\"content\":\"and now?\"}],"
        "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{\"type\":\"object\"},"
        "\"strict\":false}],\"max_output_tokens\":100,\"temperature\":0.5,"
        "\"reasoning\":{\"effort\":\"high\",\"summary\":\"auto\"},"
        "\"include\":[\"reasoning.encrypted_content\"],\"store\":false,\"stream\":true}");
    expect_notes("cache_control, messages[2].content[0].is_error, top_k, stop_sequences",
                 "filename=document.pdf, include=reasoning.encrypted_content, store=false");
}

static void a_request_of_openai_chat(void **state)
{
    (void)state;
    struct llm_request r = foreign(DIALECT_OPENAI_CHAT);
    add(&r, ROLE_SYSTEM, BLOCK_TEXT)->text = text("s");
    add(&r, ROLE_USER, BLOCK_TEXT)->text = text("u");
    r.seed = STR("7");
    r.n = STR("2");
    r.logit_bias = STR("{}");
    r.logprobs = TRI_YES;
    r.top_logprobs = STR("3");
    r.reasoning = (struct llm_reasoning){.mode = REASONING_ON, .effort = text("minimal")};
    r.format.kind = FORMAT_JSON_SCHEMA;
    r.format.schema = STR("{}");
    r.tool_choice = TOOL_CHOICE_NAMED;
    r.tool_choice_name = text("f");
    r.parallel_tools = TRI_NO;
    llm_extra_add(arena, &r, STR_EMPTY, STR("verbosity"),
                  (struct json_value){JSON_STRING, STR("\"low\"")});
    llm_extra_add(arena, &r, STR_EMPTY, STR("store"), (struct json_value){JSON_TRUE, STR("true")});
    llm_extra_add(arena, &r, STR_EMPTY, STR("prompt_cache_key"),
                  (struct json_value){JSON_STRING, STR("\"k\"")});
    llm_extra_add(arena, &r, STR_EMPTY, STR("web_search_options"),
                  (struct json_value){JSON_OBJECT, STR("{}")});
    write_with(&r, NULL, NULL, false);
    expect_body("{\"model\":\"target-model\",\"input\":[{\"role\":\"system\",\"content\":\"s\"},"
                "{\"role\":\"user\",\"content\":\"u\"}],\"tool_choice\":{\"type\":\"function\","
                "\"name\":\"f\"},\"parallel_tool_calls\":false,\"top_logprobs\":3,"
                "\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"response\",\"schema\":"
                "{}},\"verbosity\":\"low\"},\"reasoning\":{\"effort\":\"minimal\"},"
                "\"include\":[\"reasoning.encrypted_content\",\"message.output_text.logprobs\"],"
                "\"store\":true,\"prompt_cache_key\":\"k\"}");
    expect_notes("seed, logit_bias, n, web_search_options",
                 "text.format.name=response, include=reasoning.encrypted_content");
}

/* Gemini's calls have no ids: the n-th result of a function is that of its n-th call. */
static void calls_without_ids_are_numbered(void **state)
{
    (void)state;
    static const char *const names[] = {"f", "g", "f"};
    struct llm_request r = foreign(DIALECT_GEMINI);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        add(&r, ROLE_ASSISTANT, BLOCK_TOOL_CALL)->name = text(names[i]);
    static const char *const results[] = {"g", "f", "f"};
    for (size_t i = 0; i < ARRAY_LEN(results); i++)
        add(&r, ROLE_USER, BLOCK_TOOL_RESULT)->name = text(results[i]);
    write_with(&r, NULL, NULL, false);
    static const char *const ids[] = {"call_0", "call_1", "call_2", "call_1", "call_0", "call_2"};
    for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
        char path[32];
        struct json_value value;
        snprintf(path, sizeof(path), "input[%u].call_id", i);
        assert_true(json_find(buf_str(&out), path, &value));
        assert_true(str_eq(json_string_raw(value), str_c(ids[i])));
    }
}

static void what_the_target_cannot_take_is_left_out_and_named(void **state)
{
    (void)state;
    static const struct str refused[] = {STR_INIT("top_p"), STR_INIT("metadata")};
    struct llm_quirks quirks = {.refused_params = refused, .refused_param_count = 2};
    struct llm_traits traits = {.thinking = THINKING_NONE, .takes_sampling = TRI_NO};
    struct llm_request r = foreign(DIALECT_BEDROCK);
    struct llm_block *b = add(&r, ROLE_USER, BLOCK_VIDEO);
    b->media.data = text("AA");
    b = add(&r, ROLE_USER, BLOCK_IMAGE);
    b->media.url = text("s3://bucket/x.png");
    add(&r, ROLE_USER, BLOCK_TEXT)->text = text("u");
    r.temperature = STR("1");
    r.metadata = STR("{\"a\":\"b\"}");
    r.reasoning.mode = REASONING_ON;
    struct llm_tool *tool = llm_tool_add(arena, &r);
    tool->kind = TOOL_BUILTIN;
    tool->maker = DIALECT_ANTHROPIC;
    write_with(&r, &traits, &quirks, false);
    expect_body("{\"model\":\"target-model\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":"
                "\"input_text\",\"text\":\"u\"}]}],\"store\":false}");
    expect_notes("messages[0].content[0], messages[0].content[1], tools[0], temperature, thinking, "
                 "metadata",
                 "store=false");
}

/* --- scenarios --- */

/* L-10: where the policy takes a reasoning item's signature away, nothing of the item is left that
 * another key's organisation would be asked for. */
static void L_10_a_stripped_reasoning_item_goes_whole(void **state)
{
    (void)state;
    struct llm_request r =
        read_body(INPUT("{\"type\":\"reasoning\",\"id\":\"rs_secret\",\"summary\":[{\"type\":"
                        "\"summary_text\",\"text\":\"a\"}],\"encrypted_content\":\"OPAQUE\"},"
                        "{\"role\":\"user\",\"content\":\"u\"}"));
    r.messages->blocks->signature = (struct llm_signature){.data = TEXT_NONE};
    write_with(&r, NULL, NULL, false);
    assert_true(str_find(buf_str(&out), STR("rs_secret")) < 0);
    assert_true(str_find(buf_str(&out), STR("OPAQUE")) < 0);
    expect_body(INPUT("{\"role\":\"user\",\"content\":\"u\"}"));
    expect_notes("thinking", "");
}

/* A signature that another provider made comes back to it as it was, and never goes to this one. */
static void a_marked_signature_is_its_makers(void **state)
{
    (void)state;
    struct llm_signature made = {text("SIG=="), DIALECT_ANTHROPIC};
    struct text marked =
        signature_mark(arena, &made, SIGNATURE_OF_THINKING, DIALECT_OPENAI_RESPONSES);
    struct str parts[] = {
        STR("{\"model\":\"m\",\"input\":[{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{"
            "\"type\":\"summary_text\",\"text\":\"t\"}],\"encrypted_content\":\""),
        text_or(arena, marked, STR_EMPTY), STR("\"}]}")};
    struct str body = arena_concat(arena, parts, ARRAY_LEN(parts));
    struct llm_request r;
    assert_int_equal(dialect->read_request(body, arena, &r), 0);
    const struct llm_block *block = r.messages->blocks;
    assert_int_equal(block->signature.maker, DIALECT_ANTHROPIC);
    assert_true(text_eq(block->signature.data, STR("SIG==")));
    assert_true(text_eq(block->text, STR("t")));
    struct llm_notes notes = {&dropped, &supplied};
    signature_strip(&r, DIALECT_OPENAI_RESPONSES, false, &notes);
    write_with(&r, NULL, NULL, false);
    assert_true(str_find(buf_str(&out), STR("SIG==")) < 0);
    assert_true(str_find(buf_str(&out), STR("rs_1")) < 0);
}

/* B-25: a function_call item has no role, and nothing that was not told is written as null. */
static void B_25_items_have_the_members_of_their_schema(void **state)
{
    (void)state;
    struct llm_request r = foreign(DIALECT_OPENAI_CHAT);
    struct llm_block *b = add(&r, ROLE_ASSISTANT, BLOCK_TOOL_CALL);
    b->id = text("c");
    b->name = text("f");
    b->arguments = text("{}");
    write_with(&r, NULL, NULL, false);
    assert_true(str_find(buf_str(&out), STR("role")) < 0);
    assert_true(str_find(buf_str(&out), STR("null")) < 0);
    expect_body("{\"model\":\"target-model\",\"input\":[{\"type\":\"function_call\",\"call_id\":"
                "\"c\",\"name\":\"f\",\"arguments\":\"{}\"}],\"store\":false}");
}

/* --- the same-dialect path --- */

static void only_the_model_is_spliced(void **state)
{
    (void)state;
    static const char body[] = "{\"input\":\"x\", \"model\" : \"mod\\u0065l\",\"stream\":true}";
    struct llm_scan scan;
    struct llm_fit fit;
    struct iovec parts[3];
    assert_int_equal(dialect->scan(str_c(body), 128, arena, &scan), 0);
    assert_true(str_eq(scan.model, STR("model")));
    assert_true(scan.is_stream && scan.includes_usage);
    struct llm_target target = {.model = STR("o\"1")};
    dialect->fit(&scan, str_c(body), &target, true, arena, &fit);
    assert_int_equal(fit.count, 1);
    assert_false(fit.strips_usage);
    assert_int_equal(json_splice_iov(str_c(body), fit.edits, fit.count, parts, 3), 3);
    assert_true(str_eq(str_n(parts[1].iov_base, parts[1].iov_len), STR("\"o\\\"1\"")));
    target.model = STR("model");
    dialect->fit(&scan, str_c(body), &target, true, arena, &fit);
    assert_int_equal(fit.count, 0);
}

static const struct {
    const char *body, *param, *words;
} bad_scans[] = {
    {"{\"input\":\"x\"}", "model", "is missing"},
    {"{\"model\":5}", "model", "must be a string"},
    {"{\"model\":\"\"}", "model", "must not be empty"},
    {"{\"model\":\"a\",\"model\":\"b\"}", "model", "more than once"},
    {"{\"model\":\"a\",\"stream\":1}", "stream", "must be a boolean"},
};

static void scan_names_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_scans); i++) {
        struct llm_scan scan;
        assert_int_equal(dialect->scan(str_c(bad_scans[i].body), 128, arena, &scan), -ERR_INVALID);
        assert_true(str_eq(scan.bad_param, str_c(bad_scans[i].param)));
        assert_true(str_find(str_c(err_slot()->message), str_c(bad_scans[i].words)) >= 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_come_back_as_they_were),
        TEST(what_the_assistant_did_is_one_message),
        TEST(a_custom_tool_is_a_function_to_others),
        TEST(settled_members_are_no_loss),
        TEST(wrong_types_are_named),
        TEST(a_request_of_anthropic),
        TEST(a_request_of_openai_chat),
        TEST(calls_without_ids_are_numbered),
        TEST(what_the_target_cannot_take_is_left_out_and_named),
        TEST(L_10_a_stripped_reasoning_item_goes_whole),
        TEST(a_marked_signature_is_its_makers),
        TEST(B_25_items_have_the_members_of_their_schema),
        TEST(only_the_model_is_spliced),
        TEST(scan_names_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
